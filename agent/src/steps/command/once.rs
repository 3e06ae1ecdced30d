//! `once: release` and `once: fleet`: a command that one instance of a fleet runs for all.

use super::{Command, CommandError, Once};
use crate::host::Invocation;
use crate::host::state::{Entry, EntryState};
use crate::step::fields::Excerpt;
use crate::step::{Claiming, Context};
use crate::steps::claiming::{self, ClaimingError, OF_A_FLEET, OF_A_RELEASE, Scope};

impl Command {
    pub(super) fn scope(&self) -> Option<Scope> {
        match self.once {
            Once::Release => Some(Scope::Release),
            Once::Fleet => Some(Scope::Fleet),
            Once::Instance | Once::Boot | Once::Always => None,
        }
    }

    pub(super) fn claiming(&self) -> Option<Claiming> {
        Some(match self.scope()? {
            Scope::Release => Claiming { says: Some("`once: release`"), values: OF_A_RELEASE },
            Scope::Fleet => Claiming { says: Some("`once: fleet`"), values: OF_A_FLEET },
        })
    }

    /// Distinguishes its record from that of another release.
    pub(super) fn mark(&self, cx: &Context<'_>) -> Option<String> {
        // If this is unknown, nothing is claimed either.
        self.scope()?.mark(cx).ok()
    }

    /// Whether a record is about the current work, so that S3 does not have to be queried again.
    pub(super) fn is_of_now(&self, entry: &Entry, cx: &Context<'_>) -> bool {
        self.scope().is_none() || entry.detail == self.mark(cx)
    }

    /// Runs the command unless another instance does, and waits for that instance otherwise.
    pub(super) async fn run_once(&self, scope: Scope, invocation: Invocation, cx: &Context<'_>) -> Result<(), CommandError> {
        let work = async |lease| {
            let invocation = Invocation { lease: Some(lease), timeout: claiming::time_left(cx), ..invocation };
            self.run(&invocation, cx).await
        };
        claiming::once(cx.address.as_str(), scope, cx, work, CommandError::said).await?;
        // Recorded only after the others have been informed, because they would run it again.
        self.record(EntryState::Done, cx).await
    }
}

impl CommandError {
    /// The exit code and output of the program, if it ran.
    fn said(&self) -> (Option<i32>, Option<&Excerpt>) {
        match self {
            Self::Exited { status, said, .. } => (Some(*status), Some(said)),
            Self::Signalled { said, .. } | Self::TimedOut { said, .. } => (None, Some(said)),
            Self::Render(_) | Self::Host(_) | Self::Claiming(_) => (None, None),
        }
    }
}

impl From<ClaimingError> for CommandError {
    fn from(source: ClaimingError) -> Self {
        Self::Claiming(source)
    }
}
