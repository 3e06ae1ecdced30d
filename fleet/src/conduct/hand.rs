//! What is known of the instances of a deployment in place while it is followed, and what comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::late::Late;
use crate::aws::records::Kept;
use crate::deployment::record::{Record, Release};

/// How often a command is looked at.
pub(super) const BRIEF: Duration = Duration::from_millis(250);

/// How often the group is looked at meanwhile: who has left it does not answer any more.
pub(super) const RARELY: Duration = Duration::from_secs(5);

/// What instances are told, and what they answer.
#[derive(Debug, Default)]
pub(super) struct Hand {
    pub(super) batch: Option<Batch>,
    /// The record as it was last written here.
    pub(super) kept: Option<Kept>,
    /// Those whose boot was cut off, each time.
    pub(super) cut_off: Vec<String>,
    /// Those that were replaced: the group shows them for a while.
    pub(super) replaced: BTreeSet<String>,
    /// Whether one of a batch cannot be reached.
    pub(super) is_one_by_one: bool,
    /// Since when an instance that has to be reached cannot be.
    pub(super) out_of_reach: Option<Instant>,
    /// What may still be on its way, and whether that is waited for.
    pub(super) late: Late,
    pub(super) waits: bool,
}

/// A command that goes on.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) command: String,
    pub(super) ids: Vec<String>,
    /// What is to be noted of those that have done it.
    pub(super) number: u64,
    pub(super) release: Release,
    pub(super) way: Way,
    pub(super) since: Instant,
    pub(super) patience: Duration,
    /// When the group was looked at last.
    pub(super) looked: Instant,
}

/// What becomes of an instance that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All go back.
    On,
    /// It is replaced.
    Along,
    Back,
}

/// Whoever follows a deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whither {
    /// Whether it is to be ended.
    pub(super) goes_back: bool,
    /// Whether the update that sets the release has begun.
    pub(super) has_begun: bool,
    /// Whether who follows it has begun it.
    pub(super) is_own: bool,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Turned {
    /// What the stack says: the instances are as they are to be.
    Through,
    /// Another look.
    Again,
    /// The update that goes on is to end.
    Cancel,
    Ended(Box<Record>),
}

impl Hand {
    /// Whether instances are waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.batch.is_some()
    }
}
