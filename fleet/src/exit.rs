//! The exit codes of ingot-fleet, which are those of ingot.

use std::process;

/// How a run of ingot-fleet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The command did not reach its goal.
    Failed,
    /// The command line is wrong, or names what does not exist.
    Usage,
    /// What was begun is still under way.
    UnderWay,
    /// AWS did not answer, or not usefully, even after retries.
    Unreachable,
    /// fleet.yaml or a boot document is wrong.
    Document,
}

impl From<Exit> for process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::UnderWay => 4,
            Exit::Unreachable => 75,
            Exit::Document => 78,
        })
    }
}
