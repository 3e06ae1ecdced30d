//! Why nothing watches for the end of the machine.

use super::settings::UNIT;
use crate::failure::{Failure, Objection};
use crate::host::HostError;
use crate::step::fields::Excerpt;
use crate::template::TemplateError;

/// Why nothing watches for the end of the machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    #[error("cannot render a field of the drain")]
    Render(#[source] TemplateError),
    #[error("{}", .0.message)]
    Target(Objection),
    #[error("systemd has no unit {UNIT} ({load})")]
    NoUnit { load: String },
    #[error("{UNIT} did not start: {source}")]
    NotStarted {
        source: HostError,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{UNIT} does not stay up: it is {state}")]
    Ended { state: String },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for DrainError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Render(source) => return source.hint(),
            Self::Target(objection) => objection.hint.clone(),
            Self::NoUnit { .. } => format!("install {UNIT} of the release in /usr/lib/systemd/system"),
            Self::NotStarted { .. } | Self::Ended { .. } => format!("run `journalctl -b -u {UNIT}` for its full output"),
            Self::Host(source) => return source.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}
