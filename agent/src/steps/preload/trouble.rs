//! Why a volume was not preloaded, and what to do about it.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::host::HostError;
use crate::template::TemplateError;

/// Why a volume was not preloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreloadError {
    #[error("nothing is mounted at {}", mount.display())]
    NotMounted { mount: PathBuf },
    #[error("cannot fill in a path")]
    Render(#[source] TemplateError),
    #[error("`{path}` is not a path or pattern below {}: {why}", mount.display())]
    Path { path: String, mount: PathBuf, why: String },
    #[error("all {failed} reads failed: {first}")]
    AllFailed { failed: u64, first: String },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for PreloadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotMounted { mount } => Some(format!("see with `ingot status` why mounts.{} was not mounted", mount.display())),
            Self::Render(source) => source.hint(),
            Self::Path { mount, .. } => Some(format!("write it relative to {}", mount.display())),
            Self::AllFailed { .. } => Some("see `journalctl -k` for what the disk said".into()),
            Self::Host(source) => source.hint(),
        }
    }
}
