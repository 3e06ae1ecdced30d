//! The health of this instance in target groups, for display.

use std::fmt;
use std::time::Duration;

use crate::aws::arn::Arn;
use crate::aws::balancers::TargetHealth;

/// The health of this instance in a target group. Displays as `web is unhealthy (Target.Timeout: Request timed out)`.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(super) group: String,
    pub(super) health: TargetHealth,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.group, self.health)
    }
}

impl Seen {
    /// What to do about a target group that does not report this instance healthy.
    pub(super) fn hint(&self) -> &'static str {
        let TargetHealth { state, reason, .. } = &self.health;
        match (state.as_str(), reason.as_deref()) {
            (_, Some("Target.NotInUse")) => "attach the target group to a listener of a load balancer",
            ("unused", _) => "attach the target group to the Auto Scaling group of this instance, or remove it from `targets`",
            ("unhealthy", _) => "compare the health check of the target group, its path, port and codes, with what this instance answers",
            ("initial", _) => "give the signal a longer `timeout:`, or the target group a shorter interval or a lower threshold",
            ("draining" | "unhealthy.draining", _) => {
                "look up DeregisterTargets in CloudTrail to see what removes this instance from the target group"
            }
            _ => "see what the target group waits for: `aws elbv2 describe-target-health --target-group-arn ARN`",
        }
    }
}

/// The name in the ARN of a target group.
pub(super) fn name(group: &str) -> String {
    let name = Arn::parse(group).and_then(|arn| arn.resource.split('/').nth(1));
    name.unwrap_or(group).to_owned()
}

pub(super) fn after(waited: Duration) -> String {
    if waited.is_zero() { String::new() } else { format!(" after {waited:?}") }
}

pub(super) fn listed(seen: &[Seen]) -> String {
    seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
