//! Auto Scaling, as far as its lifecycle hooks wait for instances, and as far as it replaces them.

pub(super) mod live;

use std::time::Duration;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, Service};

/// The name of Auto Scaling in IAM, and what its errors mean.
pub(crate) const SERVICE: &Service = &Service::plain("autoscaling");

/// The tag by which Auto Scaling tells an instance the name of its group.
pub(crate) const GROUP_TAG: &str = "aws:autoscaling:groupName";

/// What Auto Scaling knows of an instance, and is told of it.
#[async_trait(?Send)]
pub(crate) trait AutoScaling {
    /// DescribeAutoScalingInstances: the group of an instance. `None` if it belongs to none.
    async fn group_of(&self, instance: &str) -> Result<Option<String>, AwsError>;

    /// DescribeLifecycleHooks: every launch hook of a group.
    async fn launch_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError>;

    /// DescribeLifecycleHooks: every hook of a group that waits for instances that are to end.
    async fn leaving_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError>;

    /// CompleteLifecycleAction. See [`no_action`] for where there is none.
    async fn complete(&self, action: &LifecycleAction, result: ActionResult) -> Result<(), AwsError>;

    /// RecordLifecycleActionHeartbeat: the hook's timeout begins again. As [`complete`](AutoScaling::complete).
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), AwsError>;

    /// SetInstanceHealth: the group replaces an instance, unless its grace period is not over.
    async fn set_unhealthy(&self, instance: &str) -> Result<(), AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) name: String,
    /// How long Auto Scaling waits without a heartbeat: 30 to 7200 seconds.
    pub(crate) heartbeat_timeout: Duration,
}

/// What a group waits for. The instance names it as well as the token that only a notification holds.
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
    /// The instance goes on into service, or into the pool.
    Continue,
    /// The group ends the instance, and launches another.
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

/// Whether the group waits for nothing: the action was completed, its time was over, or there never was one.
///
/// There is no code for it, only words: "No active Lifecycle Action found with instance ID i-…".
pub(crate) fn no_action(error: &AwsError) -> bool {
    error.service == SERVICE && error.what.to_ascii_lowercase().contains("no active lifecycle action")
}
