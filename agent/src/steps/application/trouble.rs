//! Why an application does not serve.

use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
use crate::host::HostError;
use crate::step::fields::{Excerpt, rounded};
use crate::template::TemplateError;

/// Why an application does not serve, or not in the release that is wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplicationError {
    #[error("cannot render {what}")]
    Render { what: String, source: TemplateError },
    #[error("`environment.{name}` {why}")]
    Variable { name: String, why: &'static str },
    #[error("the release {version} has no process `web`: `run` is not set, and {} has no Procfile", release.display())]
    NoProcesses { version: String, release: PathBuf },
    /// `kept` is the version that goes on serving, if there is one.
    #[error("{process} of {version} {what}{}", going_on(kept.as_ref()))]
    Ended { process: String, version: String, unit: String, what: String, kept: Option<String>, #[source] said: Excerpt },
    #[error("{version} was not ready after {:?}: {last}{}", rounded(*waited), going_on(kept.as_ref()))]
    NotReady { version: String, unit: String, waited: Duration, last: String, kept: Option<String>, #[source] said: Excerpt },
    #[error(transparent)]
    Host(HostError),
}

fn going_on(kept: Option<&String>) -> String {
    kept.map_or_else(String::new, |kept| format!("; {kept} goes on serving"))
}

impl ApplicationError {
    /// The same, with the version that goes on serving.
    pub(super) fn keeping(mut self, version: Option<String>) -> Self {
        if let Self::Ended { kept, .. } | Self::NotReady { kept, .. } = &mut self {
            *kept = version;
        }
        self
    }
}

impl Failure for ApplicationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render { source, .. } => source.hint(),
            Self::Variable { .. } => Some("pass the value in a file, and its path in the environment".into()),
            Self::NoProcesses { .. } => {
                Some("add a Procfile with a line `web: COMMAND` to the release, or `run:` to the application".into())
            }
            Self::Ended { unit, .. } | Self::NotReady { unit, .. } => Some(format!("run `journalctl -b -u {unit}` for all it said")),
            Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}
