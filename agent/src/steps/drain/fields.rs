//! The fields of a drain, and their validation before anything is contacted.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::aws::arn::check_target_group;
use crate::failure::Objection;
use crate::step::fields::TimeLimit;
use crate::text::Text;

/// The time that EC2 leaves a Spot Instance after its notice.
const GRACE: Duration = Duration::from_secs(120);

const DEREGISTRATION: Duration = Duration::from_secs(30);

/// The longest time for which a lifecycle hook can be kept waiting.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html>
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// The end of the machine: work in hand is finished, requests are served until no one sends any, and the lifecycle hook is
/// completed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drain {
    /// Termination lifecycle hook of the Auto Scaling group, which is kept waiting and completed last.
    pub(super) lifecycle_hook: Option<HookFields>,
    /// How long work in hand and requests may take, from the sign of the end on: 48h at most. Default: 2m.
    pub(super) grace: Option<TimeLimit>,
    /// How long requests are served at least where `targets` does not tell when they end. Default: 30s.
    pub(super) deregistration: Option<TimeLimit>,
    /// ARNs of target groups. Requests are served until none of them lists this instance. Default: none.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Text>>")]
    pub(super) targets: Vec<Text>,
    /// Whether an interruption of a Spot Instance drains it. Default: true.
    #[serde(default)]
    pub(super) spot: Option<bool>,
    /// Whether a rebalance recommendation drains the instance. Default: false.
    #[serde(default)]
    pub(super) rebalance: Option<bool>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TerminationHook")]
pub(super) struct HookFields {
    /// Name of the hook. Default: the only termination hook of the group.
    pub(super) name: Option<Text>,
    /// Name of the group. Default: the group of this instance.
    pub(super) group: Option<Text>,
}

impl Drain {
    /// The value of the field, or its default.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.map_or(GRACE, |limit| limit.0)
    }

    pub(super) fn deregistration(&self) -> Duration {
        self.deregistration.map_or(DEREGISTRATION.min(self.grace()), |limit| limit.0)
    }

    /// All strings that may contain references.
    pub(super) fn texts(&self) -> Vec<&Text> {
        let hook = self.lifecycle_hook.iter().flat_map(|hook| hook.name.iter().chain(&hook.group));
        self.targets.iter().chain(hook).collect()
    }

    /// What is wrong with the fields, taken by themselves.
    pub(super) fn wrong(&self, secret: bool) -> Vec<Objection> {
        let plain = self.targets.iter().filter(|target| target.is_plain());
        let mut found: Vec<Objection> = plain.filter_map(|target| check_target_group(target.raw()).err()).collect();
        if secret {
            let message = "a hook or a target group holds a secret, and everybody on the machine can read the settings of a drain";
            found.push(Objection::new(message, "write their names into the document"));
        }
        if self.grace() > LONGEST {
            found.push(Objection::new("`grace` is longer than 48h, and no lifecycle hook waits longer than that", "shorten it"));
        }
        if self.deregistration() > self.grace() {
            found.push(Objection::new("`deregistration` is longer than `grace`", "make `grace` longer: it bounds the whole drain"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(fields: serde_json::Value) -> String {
        let drain: Drain = serde_json::from_value(fields).unwrap();
        drain.wrong(false).into_iter().map(|objection| objection.message).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn it_needs_no_field() {
        let drain: Drain = serde_json::from_value(json!({})).unwrap();
        assert_eq!((drain.grace().as_secs(), drain.deregistration().as_secs()), (120, 30));
        assert!(drain.wrong(false).is_empty() && drain.wrong(true).len() == 1);
        let short: Drain = serde_json::from_value(json!({"grace": "10s"})).unwrap();
        assert_eq!(short.deregistration().as_secs(), 10);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        insta::assert_snapshot!([
            wrong(json!({ "grace": "49h" })),
            wrong(json!({ "grace": "1m", "deregistration": "2m" })),
            wrong(json!({ "targets": ["arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web"] })),
        ].join("\n"), @"
        `grace` is longer than 48h, and no lifecycle hook waits longer than that
        `deregistration` is longer than `grace`
        `arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web` is not the ARN of a target group
        ");
        assert!(serde_json::from_value::<Drain>(json!({ "lifecycle_hook": { "nome": "x" } })).is_err());
    }
}
