//! State of the instances while an in-place deployment is followed, and what comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::late::Late;
use crate::aws::records::Kept;
use crate::deployment::record::{Record, Release};

/// Polling interval of a command.
pub(super) const BRIEF: Duration = Duration::from_millis(250);

/// Polling interval of the group while a command runs: an instance that has left the group never answers.
pub(super) const RARELY: Duration = Duration::from_secs(5);

/// The commands sent to instances, and their results.
#[derive(Debug, Default)]
pub(super) struct Hand {
    pub(super) batch: Option<Batch>,
    /// The record as this process last wrote it.
    pub(super) kept: Option<Kept>,
    /// Instances whose boot was cut off, one entry per time.
    pub(super) cut_off: Vec<String>,
    /// Replaced instances, which the group still lists for a while.
    pub(super) replaced: BTreeSet<String>,
    /// Whether to send to one instance at a time, because one of a batch is unreachable.
    pub(super) is_one_by_one: bool,
    /// Since when a required instance has been unreachable.
    pub(super) out_of_reach: Option<Instant>,
    /// The request that may still be in flight, and whether it is being waited for.
    pub(super) late: Late,
    pub(super) waits: bool,
}

/// A running command.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) command: String,
    pub(super) ids: Vec<String>,
    /// Deployment with which instances are tagged once they have booted.
    pub(super) number: u64,
    pub(super) release: Release,
    pub(super) way: Way,
    pub(super) since: Instant,
    pub(super) patience: Duration,
    /// When the group was last read.
    pub(super) looked: Instant,
}

/// Purpose of a batch, which decides what happens if an instance fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Brings the release to the instances; a failure takes all of them back.
    On,
    /// Updates instances launched meanwhile; a failed one is replaced.
    Along,
    Back,
}

/// What the follower of a deployment wants and knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whither {
    /// Whether the deployment is to be undone.
    pub(super) goes_back: bool,
    /// Whether the update that sets the release has begun.
    pub(super) has_begun: bool,
    /// Whether the follower began the deployment.
    pub(super) is_own: bool,
}

/// The next step.
#[derive(Debug)]
pub(super) enum Turned {
    /// The instances are as required: continue with the stack.
    Through,
    /// Look again.
    Again,
    /// Cancel the running update.
    Cancel,
    Ended(Box<Record>),
}

impl Hand {
    /// Returns whether a command is running.
    pub(super) fn is_busy(&self) -> bool {
        self.batch.is_some()
    }
}
