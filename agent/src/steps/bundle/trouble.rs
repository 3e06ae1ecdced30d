//! Why a bundle could not be made ready.

use std::path::PathBuf;
use std::time::Duration;

use crate::aws::AwsError;
use crate::failure::{Failure, Objection};
use crate::host::HostError;
use crate::host::unpack::UnpackError;
use crate::template::TemplateError;

/// Why a bundle could not be made ready. `current` has not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("cannot make `{field}` of the bundle")]
    Field { field: &'static str, source: TemplateError },
    #[error("{0}")]
    Wrong(Objection),
    #[error(transparent)]
    Fetch(AwsError),
    #[error("cannot unpack {from}")]
    Unpack { from: String, source: UnpackError },
    #[error("{} already exists, and was not created by ingot", at.display())]
    InTheWay { at: PathBuf },
    #[error("{} is in use by an application, and the document makes another release of the same name", at.display())]
    InUse { at: PathBuf },
    #[error("{from} is of {length} bytes, and the filesystem of {} has room for {free}", at.display())]
    NoRoom { from: String, length: u64, free: u64, at: PathBuf },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for BundleError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Field { source, .. } => source.hint(),
            Self::Wrong(objection) => Some(objection.hint.clone()),
            Self::Fetch(source) => source.hint(),
            Self::Unpack { source, .. } => source.hint(),
            Self::InTheWay { at } => Some(format!("move {} away, or give the bundle another `into` or `version`", at.display())),
            Self::InUse { .. } => Some("give the bundle another `version`".into()),
            Self::NoRoom { length, free, at, .. } => Some(format!(
                "free {} bytes and what comes of the archive on the filesystem of {}, or make it larger",
                length.saturating_sub(*free),
                at.display()
            )),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Fetch(source) => source.is_transient(),
            Self::Unpack { source, .. } => source.is_transient(),
            Self::Host(source) => source.is_transient(),
            _ => false,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Fetch(source) if source.is_unreachable())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Fetch(source) => source.retry_after(),
            _ => None,
        }
    }

    fn is_paced(&self) -> bool {
        matches!(self, Self::Fetch(source) if source.is_paced())
    }
}
