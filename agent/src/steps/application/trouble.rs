//! Why an application does not serve.

use std::net::SocketAddr;
use std::time::Duration;

use super::remark::Remark;
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
    /// What is wrong with the release itself.
    #[error("the release {version} cannot run: {}{}", remarks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), going_on(kept.as_deref()))]
    Release { version: String, remarks: Vec<Remark>, kept: Option<Box<str>> },
    #[error("cannot read nginx's version{}", if why.is_empty() { String::new() } else { format!(": {why}") })]
    NoProxy { why: String },
    #[error("port {port} is in use by {by}{}", going_on(kept.as_deref()))]
    PortTaken { port: u16, by: String, kept: Option<Box<str>> },
    #[error("the proxy does not serve: {why}")]
    Proxy {
        why: String,
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
    #[error("{what} cannot be carried out{}", going_on(kept.as_deref()))]
    Entry { what: String, kept: Option<Box<str>>, source: HostError },
    #[error("{what} has changed /opt/elasticbeanstalk/deployment/env, and no process reads what it wrote{}", going_on(kept.as_deref()))]
    Appended { what: String, kept: Option<Box<str>> },
    /// `kept` is the version that goes on serving, if there is one.
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
    /// It listens on another port than its `$PORT`.
    #[error("web of {version} listens on {at} and not on {}{}", if at.port() == *port { format!("127.0.0.1:{port}") } else { format!("$PORT, which is {port}") }, going_on(kept.as_deref()))]
    Elsewhere {
        version: String,
        at: SocketAddr,
        port: u16,
        kept: Option<Box<str>>,
        #[source]
        said: Box<Excerpt>,
    },
    /// Nothing is known of what serves.
    #[error("a release serves of which ingot's record is gone or cannot be read")]
    Lost,
    #[error(transparent)]
    Host(HostError),
}

/// `105ms` and not `105.746886ms`.
fn in_milliseconds(waited: Duration) -> Duration {
    rounded(Duration::from_millis(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)))
}

fn going_on(kept: Option<&str>) -> String {
    kept.map_or_else(String::new, |kept| format!("; {kept} keeps serving"))
}

impl ApplicationError {
    /// The same, with the version that goes on serving.
    pub(super) fn keeping(mut self, version: Option<String>) -> Self {
        if let Self::Release { kept, .. }
        | Self::PortTaken { kept, .. }
        | Self::Ended { kept, .. }
        | Self::NotReady { kept, .. }
        | Self::Program { kept, .. }
        | Self::Entry { kept, .. }
        | Self::Appended { kept, .. }
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
            Self::PortTaken { .. } => Some("stop what listens there, or choose another `port` or, for the proxy, another `listen`".into()),
            Self::Proxy { said, .. } => Some(to_correct(&said.to_string()).into()),
            Self::Program { .. } => Some("run it by hand in the directory of the release, as the same user".into()),
            Self::Ended { unit, .. } | Self::NotReady { unit, .. } => Some(format!("run `journalctl -b -u {unit}` for all it said")),
            Self::Elsewhere { at, port, .. } if at.port() == *port => Some("have it listen on 127.0.0.1, or on all addresses".into()),
            Self::Elsewhere { at, .. } => {
                Some(format!("have it listen on $PORT; if it cannot, set `port: {}` and `overlap: false`", at.port()))
            }
            Self::Lost => Some("stop its units, remove its link below /run/ingot/proxy, and run `ingot boot`".into()),
            Self::Appended { .. } => {
                Some("set the variable under `environment:` of the application, as a reference where it is a secret".into())
            }
            Self::Entry { source, .. } | Self::Host(source) => source.hint(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Host(source) if source.is_transient())
    }
}

/// What to do about a configuration that nginx refuses, by its last lines.
fn to_correct(said: &str) -> &'static str {
    let refused = |signs: &[&str]| said.lines().any(|line| line.contains("[emerg]") && signs.iter().any(|sign| line.contains(sign)));
    if refused(&["SSL_CTX_", "cannot load certificate"]) {
        "correct `certificate` and `key` of `tls`: both in PEM, and the key that of the first certificate"
    } else if refused(&["bind() to", "duplicate listen"]) {
        "give the proxy another `listen`, or stop what listens there"
    } else {
        "run `journalctl -b -u ingot-proxy.service`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_refuses_is_told_with_the_field_to_correct() {
        for (said, hint) in [
            ("nginx: [emerg] SSL_CTX_use_PrivateKey(\"/run/a.key\") failed (SSL: key values mismatch)", "correct `certificate` and `key`"),
            ("nginx: [emerg] cannot load certificate \"/run/a.crt\": PEM_read_bio_X509_AUX() failed", "correct `certificate` and `key`"),
            ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", "give the proxy another `listen`"),
            (
                "nginx: [emerg] duplicate listen options for 0.0.0.0:80 in /run/ingot/proxy/sites/b.conf:3",
                "give the proxy another `listen`",
            ),
            ("upstream said: cannot load certificate", "run `journalctl"),
        ] {
            let said = Box::new(["ready".to_owned(), said.to_owned()].into_iter().collect());
            let error = ApplicationError::Proxy { why: "it failed".into(), said };
            assert!(error.hint().unwrap().starts_with(hint), "{error:?}: {:?}", error.hint());
        }
    }
}
