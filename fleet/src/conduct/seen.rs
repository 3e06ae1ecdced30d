//! What is known about a deployment while it is followed, and its direction.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::hand::{BRIEF, Hand, Whither};
use super::late::{Late, SKEW};
use super::order::Plan;
use crate::aws::records::Kept;
use crate::deployment::course::{Next, Operation, Standing, Tokens, Wanted, next};
use crate::deployment::record::Record;

/// Polling intervals: the short one while the deployment waits for the result, the long one while AWS does not answer
/// or another operation runs on the stack. A look is two calls of CloudFormation, whose undocumented rate limits are
/// shared by the whole account.
const PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONG: Duration = Duration::from_secs(2);

/// Direction of a deployment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    /// Forward, by this plan.
    On(&'a Plan<'a>),
    /// Back.
    Back { stack: &'a str },
}

/// Operations that CloudFormation finishes unattended.
pub(super) const LAST: [Operation; 2] = [Operation::Create, Operation::SetRelease];

/// What was observed while following a deployment.
#[derive(Debug)]
pub(super) struct Seen {
    /// The record as it is currently stored.
    pub(super) kept: Kept,
    pub(super) begun: Tokens,
    /// Since when events are read, and since when they are reported.
    pub(super) since: Timestamp,
    pub(super) told: Timestamp,
    pub(super) had_stack: bool,
    pub(super) waits: bool,
    /// Whether CloudFormation has accepted the last operation, whose event comes later.
    pub(super) is_ordered: bool,
    /// The request that may still be in flight.
    pub(super) late: Late,
    pub(super) silent_since: Option<Instant>,
    pub(super) hand: Hand,
}

impl Seen {
    pub(super) fn of(kept: &Kept) -> Self {
        let (kept, began) = (kept.clone(), kept.record.began);
        let since = began.checked_sub(SKEW).unwrap_or(began);
        let (begun, late) = (Tokens::new(), Late::default());
        Self {
            kept,
            begun,
            since,
            told: began,
            had_stack: false,
            waits: false,
            is_ordered: false,
            late,
            silent_since: None,
            hand: Hand::default(),
        }
    }

    /// Returns the time until the next look.
    pub(super) fn pause(&self) -> Duration {
        if self.hand.is_busy() && self.silent_since.is_none() {
            return BRIEF;
        }
        if self.silent_since.is_some() || self.waits || self.hand.waits { LONG } else { PAUSE }
    }

    /// Returns whether CloudFormation can finish the deployment, or roll it back, unattended.
    pub(super) fn goes_on(&self, record: &Record) -> bool {
        self.is_ordered || LAST.iter().any(|operation| self.begun.contains(&operation.token(record)))
    }
}

impl Way<'_> {
    pub(super) fn whither(&self, record: &Record, seen: &Seen) -> Whither {
        Whither {
            goes_back: matches!(self, Self::Back { .. }),
            has_begun: seen.begun.contains(&Operation::SetRelease.token(record)),
            is_own: matches!(self, Self::On(plan) if plan.is_own),
        }
    }

    pub(super) fn stack(&self) -> &str {
        match self {
            Self::On(plan) => &plan.stack,
            Self::Back { stack } => stack,
        }
    }

    pub(super) fn next(&self, record: &Record, standing: Option<&Standing>, begun: &Tokens) -> Next {
        match self {
            Self::On(plan) => next(record, &plan.wanted, standing, begun),
            Self::Back { .. } => next(record, &Wanted::of(record), standing, begun),
        }
    }
}
