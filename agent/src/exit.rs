//! Every exit code of ingot. They are part of its interface: scripts and units depend on them.

use std::process;

/// How a run of ingot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is as the document says, whether anything had to be changed or not. Also for a
    /// degraded boot, in which only optional steps failed.
    Done,
    /// The command failed: a required step failed, or the machine is not fit to be imaged. For
    /// `status`: the boot failed.
    Failed,
    /// The command line is wrong (clap uses 2 itself), names a file that does not exist, or needs Linux elsewhere.
    Usage,
    /// `status` only: the boot is degraded.
    Degraded,
    /// `dry-run --detailed-exit-code` only: a file differs.
    Differs,
    /// `status` only: a boot is running.
    Running,
    /// `status` only: no boot ever ran.
    NeverRan,
    /// `status` only: the boot had no document, so nothing was configured.
    NoDocument,
    /// A bug in ingot.
    Bug,
    /// AWS or the instance metadata service could not be reached in time.
    Unreachable,
    /// The document is wrong, or the release that was given to a dry run.
    Document,
}

impl Exit {
    /// The number; those above 63 are the ones of sysexits(3).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            // Two meanings. Only `status` has both, and a wrong command line prints nothing on stdout.
            Self::Usage | Self::Degraded => 2,
            // Of different commands, so they cannot be confused.
            Self::Running | Self::Differs => 3,
            // In both cases, nothing has configured the machine.
            Self::NeverRan | Self::NoDocument => 4,
            Self::Bug => 70,
            Self::Unreachable => 75,
            Self::Document => 78,
        }
    }
}

impl From<Exit> for process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
