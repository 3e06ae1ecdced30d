//! Every exit code of ingot. They are part of its interface: scripts and units act on them.

use std::process;

/// How a run of ingot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything is as the document says, whether anything had to be changed or not. Also a boot that is degraded:
    /// what failed was not required.
    Done,
    /// What was asked for did not come about: a required step failed, or the image is not fit to be one. For `status`: the
    /// boot failed.
    Failed,
    /// The command line was wrong (clap uses 2 itself), or named a file that is not there.
    Usage,
    /// `status` only: the boot is degraded.
    Degraded,
    /// `status` only: a boot is running.
    Running,
    /// `status` only: no boot ever ran.
    NeverRan,
    /// A bug of ingot.
    Bug,
    /// AWS or the instance metadata service could not be reached in time.
    Unreachable,
    /// The document is wrong.
    Document,
}

impl Exit {
    /// The number; those above 63 are the ones of sysexits(3).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            // One number for two things, of which no command knows both: systemd and scripts read 2 of `status` as degraded.
            Self::Usage | Self::Degraded => 2,
            Self::Running => 3,
            Self::NeverRan => 4,
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
