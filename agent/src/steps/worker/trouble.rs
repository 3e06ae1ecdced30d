//! Why a worker does not run.

use super::cron::FILE;
use crate::address::Address;
use crate::failure::{Explanation, Failure, Objection};
use crate::host::HostError;
use crate::step::fields::Excerpt;
use crate::steps::application::remark::Remark;
use crate::steps::claiming::ClaimingError;
use crate::template::TemplateError;

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("cannot render `queue`")]
    Render(#[source] TemplateError),
    #[error("{}", .0.message)]
    Queue(Objection),
    #[error("the HTTP address of {application} is unknown")]
    NoDoor { application: Address },
    #[error("systemd has no unit {unit} ({load})")]
    NoUnit { unit: String, load: String },
    #[error("{unit} did not start: {source}")]
    NotStarted {
        unit: String,
        source: HostError,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{unit} does not stay up: it is {state}")]
    Ended { unit: String, state: String },
    #[error("{} of this release is not valid: {}", FILE, said(.remarks))]
    Tasks { remarks: Vec<Remark> },
    #[error(transparent)]
    Claims(ClaimingError),
    #[error("{}", .0.message)]
    Zone(Explanation),
    #[error(transparent)]
    Host(HostError),
}

fn said(remarks: &[Remark]) -> String {
    remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Failure for WorkerError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Render(source) => return source.hint(),
            Self::Queue(objection) => objection.hint.clone(),
            Self::NoDoor { .. } => "give `to` a URL such as http://127.0.0.1:8080".into(),
            Self::NoUnit { .. } => "install ingot-worker@.service of the release in /usr/lib/systemd/system".into(),
            Self::NotStarted { unit, .. } | Self::Ended { unit, .. } => format!("run `journalctl -b -u {unit}` for its full output"),
            Self::Tasks { remarks } => return remarks.first().map(|remark| remark.objection.hint.clone()),
            Self::Claims(source) => return source.hint(),
            Self::Zone(why) => return why.hint.clone(),
            Self::Host(source) => return source.hint(),
        })
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}
