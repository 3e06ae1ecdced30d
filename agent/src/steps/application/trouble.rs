//! Why an application does not serve.

use std::net::SocketAddr;
use std::time::Duration;

use super::container::trouble::ContainerError;
use super::remark::Remark;
use crate::failure::Failure;
use crate::host::HostError;
use crate::step::fields::{Excerpt, rounded};
use crate::steps::claiming::ClaimingError;
use crate::template::TemplateError;

/// Why an application does not serve, or not the wanted release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplicationError {
    #[error("cannot render {what}")]
    Render { what: String, source: TemplateError },
    #[error("`environment.{name}` {why}")]
    Variable { name: String, why: &'static str },
    /// What is wrong with the release itself.
    #[error("the release {version} cannot run: {}{}", remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), going_on(kept.as_deref()))]
    Release { version: String, remarks: Vec<Remark>, kept: Option<Box<str>> },
    #[error("cannot run `nginx -v`{}{}", if why.is_empty() { String::new() } else { format!(": {why}") }, going_on(kept.as_deref()))]
    NoProxy { why: String, kept: Option<Box<str>> },
    #[error("port {port} is in use by {by}{}", going_on(kept.as_deref()))]
    PortTaken { port: u16, by: String, kept: Option<Box<str>> },
    /// About a port that is only known from the release.
    #[error("the release's platform uses port {port}, and so does {by}")]
    Clash { port: u16, by: String },
    #[error("nginx rejects the configuration of the proxy{}", going_on(kept.as_deref()))]
    Rejected {
        hint: &'static str,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("the proxy does not serve: {why}{}", going_on(kept.as_deref()))]
    Proxy {
        why: String,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{what} {how}{}", going_on(kept.as_deref()))]
    Program {
        what: String,
        how: String,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    /// An entry of `.ebextensions`, by its file and line.
    #[error("{what} cannot be applied{}", going_on(kept.as_deref()))]
    Entry { what: String, kept: Option<Box<str>>, source: HostError },
    #[error("{what} has changed /opt/elasticbeanstalk/deployment/env, but no process would see the change{}", going_on(kept.as_deref()))]
    Appended { what: String, kept: Option<Box<str>> },
    /// `kept` is the version that keeps serving, if there is one.
    #[error("{process} of {version} {what}{}", going_on(kept.as_deref()))]
    Ended {
        process: String,
        version: String,
        unit: String,
        what: String,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{version} was not ready after {:?}: {last}{}", in_milliseconds(*waited), going_on(kept.as_deref()))]
    NotReady {
        version: String,
        unit: String,
        waited: Duration,
        last: String,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    /// It listens on a port other than its `$PORT`.
    #[error("web of {version} listens on {at} and not on {}{}", if at.port() == *port { format!("127.0.0.1:{port}") } else { format!("$PORT, which is {port}") }, going_on(kept.as_deref()))]
    Elsewhere {
        version: String,
        at: SocketAddr,
        port: u16,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    #[error("{source}{}", going_on(kept.as_deref()))]
    Container { source: Box<ContainerError>, kept: Option<Box<str>> },
    /// About work that only one application does at a time.
    #[error("another application {what} took longer than this one can wait")]
    Turn { what: &'static str },
    /// Nothing is recorded about the serving generation.
    #[error("a release is serving, but ingot's record of it is missing or unreadable")]
    Lost,
    /// About work that one instance does for all.
    #[error("{source}{}", going_on(kept.as_deref()))]
    Claiming { source: Box<ClaimingError>, kept: Option<Box<str>> },
    #[error(transparent)]
    Host(HostError),
}

impl From<ClaimingError> for ApplicationError {
    fn from(source: ClaimingError) -> Self {
        Self::Claiming { source: Box::new(source), kept: None }
    }
}

impl From<ContainerError> for ApplicationError {
    fn from(source: ContainerError) -> Self {
        Self::Container { source: Box::new(source), kept: None }
    }
}

/// Prints `105ms`, not `105.746886ms`.
fn in_milliseconds(waited: Duration) -> Duration {
    rounded(Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)))
}

fn going_on(kept: Option<&str>) -> String {
    kept.map_or_else(String::new, |kept| format!("; {kept} keeps serving"))
}

impl ApplicationError {
    /// The same error, with the version that keeps serving.
    pub(super) fn keeping(mut self, version: Option<String>) -> Self {
        if let Self::Release { kept, .. }
        | Self::PortTaken { kept, .. }
        | Self::NoProxy { kept, .. }
        | Self::Rejected { kept, .. }
        | Self::Proxy { kept, .. }
        | Self::Ended { kept, .. }
        | Self::NotReady { kept, .. }
        | Self::Program { kept, .. }
        | Self::Entry { kept, .. }
        | Self::Appended { kept, .. }
        | Self::Container { kept, .. }
        | Self::Claiming { kept, .. }
        | Self::Elsewhere { kept, .. } = &mut self
        {
            *kept = version.map(Into::into);
        }
        self
    }
}

impl Failure for ApplicationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render { source, .. } => source.hint(),
            Self::Variable { .. } => Some("pass the value in a file, and its path in the environment".into()),
            Self::Release { remarks, .. } => remarks.first().map(|remark| remark.objection.hint.clone()),
            Self::NoProxy { .. } => Some("install nginx in the image, or set `proxy: none`".into()),
            Self::PortTaken { port, .. } => Some(match port {
                // Only such a port can be that of a slot.
                10_000.. => {
                    "stop what listens there, or choose another `port`: with `overlap`, releases listen 10000 and 20000 above it".into()
                }
                _ => "stop what listens there, or choose another `port` or, for the proxy, another `listen`".into(),
            }),
            Self::Clash { .. } => Some("give one of the two another `port`, or the proxy another `listen`".into()),
            Self::Rejected { hint, .. } => Some((*hint).into()),
            Self::Proxy { .. } => Some("run `journalctl -b -u ingot-proxy.service`".into()),
            Self::Program { .. } => Some("run the program in the directory of the release, as the same user".into()),
            Self::Ended { unit, .. } | Self::NotReady { unit, .. } => Some(format!("run `journalctl -b -u {unit}` for its full output")),
            Self::Elsewhere { at, port, .. } if at.port() == *port => Some("have it listen on 127.0.0.1, or on all addresses".into()),
            Self::Elsewhere { at, .. } => {
                Some(format!("have it listen on $PORT; if it cannot, set `port: {}` and `overlap: false`", at.port()))
            }
            Self::Container { source, .. } => source.hint(),
            Self::Turn { .. } => {
                Some("give this application a longer `timeout:`, or fix what the other one waits for: `ingot status` shows it".into())
            }
            Self::Claiming { source, .. } => source.hint(),
            Self::Lost => Some("stop its units, remove its link below /run/ingot/proxy, and run `ingot boot`".into()),
            Self::Appended { .. } => {
                Some("set the variable under `environment:` of the application, as a reference where it is a secret".into())
            }
            Self::Entry { source, .. } | Self::Host(source) => source.hint(),
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Claiming { source, .. } if source.is_unreachable())
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Host(source) => source.is_transient(),
            Self::Container { source, .. } => source.is_transient(),
            _ => false,
        }
    }
}
