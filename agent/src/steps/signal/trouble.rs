//! Why a signal was not sent.

use std::time::Duration;

use super::seen::{self, Seen};
use crate::aws::{AwsError, AwsErrorKind};
use crate::failure::{Failure, Objection};
use crate::template::TemplateError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SignalError {
    #[error("cannot render the target of the signal")]
    Render(#[source] TemplateError),
    #[error("this instance has no tag {tag}")]
    NoTag { tag: &'static str },
    #[error("cannot read the tags of this instance")]
    FindTags(#[source] AwsError),
    #[error("{instance} is not in an Auto Scaling group")]
    NoGroup { instance: String },
    #[error("cannot find the Auto Scaling group of this instance")]
    FindGroup(#[source] AwsError),
    #[error("the group {group} has {} launch hooks{}", names.len(), listed(names))]
    WhichHook { group: String, names: Vec<String> },
    #[error("the group {group} has no launch hook {name}")]
    NoHook { group: String, name: String },
    #[error("cannot read the launch hooks of the group")]
    FindHook(#[source] AwsError),
    #[error("no heartbeat was sent")]
    Heartbeat(#[source] AwsError),
    #[error("cannot find out whether this instance is healthy behind its load balancer")]
    FindHealth(#[source] AwsError),
    #[error("this instance is not healthy behind its load balancer{}: {}", seen::after(*waited), seen::listed(seen))]
    Unhealthy { waited: Duration, seen: Vec<Seen> },
    #[error("{}", .0.message)]
    Place(Objection),
    #[error("the evidence is {size} bytes long without any journal, more than 1 MiB")]
    TooLarge { size: usize },
    #[error(transparent)]
    Refused(AwsError),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

impl SignalError {
    fn aws(&self) -> Option<&AwsError> {
        match self {
            Self::FindTags(error)
            | Self::FindGroup(error)
            | Self::FindHook(error)
            | Self::FindHealth(error)
            | Self::Heartbeat(error)
            | Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}

impl Failure for SignalError {
    fn hint(&self) -> Option<String> {
        let denied = self.aws().is_some_and(|error| error.kind == AwsErrorKind::Denied);
        Some(match self {
            Self::Render(source) => return source.hint(),
            Self::NoTag { .. } => "launch it from a stack, or give `stack` and `resource` in the document".into(),
            Self::FindTags(_) if denied => {
                "launch the instance with InstanceMetadataTags=enabled, or allow ec2:DescribeTags on * in its role".into()
            }
            Self::NoGroup { .. } => "launch it from a group, or give `group` in the document".into(),
            Self::FindGroup(_) if denied => {
                "launch the instance with InstanceMetadataTags=enabled, or allow autoscaling:DescribeAutoScalingInstances on * in its role"
                    .into()
            }
            Self::WhichHook { names, .. } if names.is_empty() => "give the group a launch hook, or remove this signal".into(),
            Self::WhichHook { .. } => "name one of them: `lifecycle_hook: { name: … }`".into(),
            Self::Unhealthy { seen, .. } => return seen.first().map(|seen| seen.hint().into()),
            Self::Place(objection) => objection.hint.clone(),
            Self::TooLarge { .. } => "make the document smaller, or remove the evidence".into(),
            Self::NoHook { .. } => "correct the name of the hook in the document".into(),
            Self::FindHook(_) if denied => "allow autoscaling:DescribeLifecycleHooks on * in the instance's role".into(),
            // A presigned URL is independent of the instance's role.
            Self::Refused(error) if error.operation == "PUT" && denied => {
                "check the age of the wait condition: its URL is valid for 12 hours, and for this stack only".into()
            }
            Self::Refused(error) if error.operation == "PUT" && error.kind == AwsErrorKind::NoEndpoint => {
                "set it to the `Ref` of the wait condition's handle".into()
            }
            Self::FindTags(error)
            | Self::FindGroup(error)
            | Self::FindHook(error)
            | Self::FindHealth(error)
            | Self::Heartbeat(error)
            | Self::Refused(error) => return error.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        self.aws().is_some_and(Failure::is_transient)
    }

    fn is_unreachable(&self) -> bool {
        self.aws().is_some_and(Failure::is_unreachable)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.aws().and_then(Failure::retry_after)
    }
}
