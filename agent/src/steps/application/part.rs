//! What [`beanstalk`](super::beanstalk) provides on a machine, and how a plan displays it. Pure.

use std::fmt;
use std::path::PathBuf;

/// One thing that scripts expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Directory(PathBuf),
    Link {
        at: PathBuf,
        to: PathBuf,
    },
    File {
        path: PathBuf,
        mode: u32,
    },
    /// A process whose log is written, and the unit that writes it.
    Log(String, String),
    /// A process that is gone, and the unit that still writes its log.
    NoLog(String, String),
    /// Removes everything, after the document stopped asking for it.
    Nothing(Vec<PathBuf>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "create directory {}", path.display()),
            Self::Link { at, to } => write!(f, "link {} to {}", at.display(), to.display()),
            Self::File { path, mode } => write!(f, "write {} (mode {mode:04o})", path.display()),
            Self::Log(process, unit) => write!(f, "write the log of {process} to {} by {unit}", log(process)),
            Self::NoLog(process, unit) => write!(f, "stop {unit}, which writes {}", log(process)),
            Self::Nothing(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "remove what was compatible with Elastic Beanstalk: {}", paths.join(", "))
            }
        }
    }
}

/// The path of the log of a process.
pub(super) fn log(process: &str) -> String {
    format!("/var/log/{process}.stdout.log")
}

/// The unit that writes it.
pub(super) fn log_unit(application: &str, process: &str) -> String {
    format!("ingot-log-{application}.{process}.service")
}
