//! Why a drain fails.

use std::path::PathBuf;

use crate::aws::{AwsError, AwsErrorKind, ImdsError};
use crate::failure::{Failure, Objection};
use crate::host::HostError;
use crate::host::lock::LockError;

/// Why a drain fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    #[error("no drain is set up: {} does not exist", path.display())]
    NoSettings { path: PathBuf },
    #[error("{} is not valid: {why}", path.display())]
    Settings { path: PathBuf, why: String },
    #[error("{instance} is not in an Auto Scaling group")]
    NoGroup { instance: String },
    #[error("the group {group} has {} termination hooks{}", names.len(), listed(names))]
    WhichHook { group: String, names: Vec<String> },
    #[error("the drain was canceled")]
    GivenUp,
    #[error("the lifecycle hook was not completed")]
    Hook(#[source] AwsError),
    #[error("cannot find the Auto Scaling group and its termination hook")]
    FindHook(#[source] AwsError),
    #[error("cannot find out which instance this is")]
    Instance(#[source] ImdsError),
    #[error("the evidence was not written")]
    Evidence(#[source] AwsError),
    #[error("{}", .0.message)]
    Place(Objection),
    #[error(transparent)]
    Lock(LockError),
    #[error(transparent)]
    Host(HostError),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

impl DrainError {
    fn aws(&self) -> Option<&AwsError> {
        match self {
            Self::Hook(error) | Self::FindHook(error) | Self::Evidence(error) => Some(error),
            _ => None,
        }
    }
}

impl Failure for DrainError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSettings { .. } => "run `ingot boot` with a document that has `drains:`".into(),
            Self::Settings { .. } => "run `ingot boot`, which writes it".into(),
            Self::GivenUp => "run `ingot boot`, which starts what was stopped".into(),
            Self::NoGroup { .. } => "launch it from an Auto Scaling group, or set `lifecycle_hook.group` in the document".into(),
            Self::WhichHook { names, .. } if names.is_empty() => {
                "add a hook for EC2_INSTANCE_TERMINATING to the group, or remove `lifecycle_hook`".into()
            }
            Self::WhichHook { .. } => "name one of them: `lifecycle_hook: { name: … }`".into(),
            Self::FindHook(error) if error.kind == AwsErrorKind::Denied => {
                format!("allow autoscaling:{} on * in the instance's role, or name the group and the hook in the document", error.operation)
            }
            Self::Hook(error) | Self::FindHook(error) | Self::Evidence(error) => return error.hint(),
            Self::Instance(error) => return error.hint(),
            Self::Place(objection) => objection.hint.clone(),
            Self::Lock(error) => return error.hint(),
            Self::Host(error) => return error.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        self.aws().is_some_and(AwsError::is_transient)
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        self.aws().and_then(|error| error.retry_after)
    }

    fn is_unreachable(&self) -> bool {
        match self {
            Self::Instance(error) => error.is_unreachable(),
            _ => self.aws().is_some_and(Failure::is_unreachable),
        }
    }
}
