//! Elastic Load Balancing: whether an instance is healthy behind its load balancer.

pub(super) mod live;

use std::fmt;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, AwsErrorKind, Service};

/// The name of Elastic Load Balancing in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service { name: "elasticloadbalancing", hint, is_transient: |_| false };

/// The state of a target that receives requests.
const HEALTHY: &str = "healthy";

/// What target groups know about an instance.
#[async_trait(?Send)]
pub(crate) trait Balancers {
    /// DescribeTargetHealth: how a target group, named by its ARN, sees an instance. The call goes to the group's
    /// region.
    async fn health(&self, group: &str, instance: &str) -> Result<TargetHealth, AwsError>;
}

/// How a target group sees an instance. Displayed for people: `unhealthy (Target.Timeout: Request timed out)`.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetHealth {
    /// `initial`, `healthy`, `unhealthy`, `unhealthy.draining`, `unused`, `draining`, `unavailable`.
    pub(crate) state: String,
    /// The reason code. `None` if the target is healthy.
    pub(crate) reason: Option<String>,
    /// The reason in words.
    pub(crate) description: Option<String>,
}

impl TargetHealth {
    pub(crate) fn is_healthy(&self) -> bool {
        self.state == HEALTHY
    }

    /// Whether the target receives no more requests. With `sick`, a target that the balancer found unhealthy counts
    /// too.
    pub(crate) fn lets_go(&self, sick: bool) -> bool {
        self.state == "unused" || (sick && self.state == "unhealthy")
    }

    /// The health of an instance that is not registered with the group.
    pub(crate) fn not_registered() -> Self {
        Self { state: "unused".into(), reason: Some("Target.NotRegistered".into()), description: None }
    }
}

impl fmt::Display for TargetHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state)?;
        match (&self.reason, &self.description) {
            (Some(reason), Some(description)) => write!(f, " ({reason}: {description})"),
            (Some(text), None) | (None, Some(text)) => write!(f, " ({text})"),
            (None, None) => Ok(()),
        }
    }
}

/// The hint for an error of Elastic Load Balancing; `None` if the common hint applies.
fn hint(error: &AwsError) -> Option<String> {
    match (error.code.as_str(), error.kind) {
        ("TargetGroupNotFound", _) => Some("create the target group, or correct its ARN in the document".into()),
        // DescribeTargetHealth does not support resource-level permissions.
        (_, AwsErrorKind::Denied) => Some(format!("allow elasticloadbalancing:{} on * in the instance's role", error.operation)),
        _ => None,
    }
}
