//! Auto Scaling: the lifecycle hooks that wait for instances, and the replacement of unhealthy instances.

pub(super) mod live;

use std::time::Duration;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, Service};

/// The name of Auto Scaling in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service::plain("autoscaling");

/// The tag that names an instance's Auto Scaling group; Auto Scaling sets it.
pub(crate) const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// What Auto Scaling knows about an instance, and what it can be told about one.
#[async_trait(?Send)]
pub(crate) trait AutoScaling {
    /// DescribeAutoScalingInstances: the group of an instance. `None` if it belongs to none.
    async fn group_of(&self, instance: &str) -> Result<Option<String>, AwsError>;

    /// DescribeLifecycleHooks: every launch hook of a group.
    async fn launch_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError>;

    /// DescribeLifecycleHooks: every terminating hook of a group.
    async fn leaving_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError>;

    /// CompleteLifecycleAction. [`no_action`] recognizes the error returned when no action is active.
    async fn complete(&self, action: &LifecycleAction, result: ActionResult) -> Result<(), AwsError>;

    /// RecordLifecycleActionHeartbeat: restarts the hook's timeout. Errors as for [`complete`](AutoScaling::complete).
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), AwsError>;

    /// SetInstanceHealth: the group replaces the instance, unless its health check grace period is still running.
    async fn set_unhealthy(&self, instance: &str) -> Result<(), AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    /// How long Auto Scaling waits without a heartbeat: 30 to 7200 seconds.
    pub(crate) heartbeat_timeout: Duration,
}

/// The lifecycle action a group is waiting on. The instance id identifies it as well as the action token, which only a
/// notification carries.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html>.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LifecycleAction {
    pub(crate) group: String,
    pub(crate) hook: String,
    pub(crate) instance: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ActionResult {
    /// The instance proceeds into service, or into the warm pool.
    Continue,
    /// The group terminates the instance and launches another.
    Abandon,
}

impl ActionResult {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

/// Whether the group is not waiting for anything: the action was completed, has timed out, or never existed.
///
/// AWS has no error code for this, only the message "No active Lifecycle Action found with instance ID i-…".
pub(crate) fn no_action(error: &AwsError) -> bool {
    error.service == SERVICE && error.what.to_ascii_lowercase().contains("no active lifecycle action")
}
