//! One message in hand, and until when it is hidden from other receivers.

use std::time::Duration;

use crate::aws::sqs::{HIDDEN_AT_MOST, Message};

/// How far to stay below the limit of twelve hours: the duration of a call, plus the fractions
/// of seconds that SQS does not count.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) receipt: String,
    /// Counts the receipts: the result of a call with an older receipt does not apply.
    pub(super) generation: u32,
    pub(super) sent_ms: Option<i64>,
    /// The trial of the application in which the message was posted.
    pub(super) trial: u32,
    /// The earliest time at which it was received, which is the start of the reception: that may have waited long.
    received: Duration,
    /// When other receivers may see it again, unless it is hidden again: the earliest and the latest time.
    hidden_until: Duration,
    hidden_at_most: Duration,
    /// When to hide it again. Computed in advance, because it is checked between any two events.
    put_off_at: Option<Duration>,
    /// The call in flight that hides it again, or gives it back.
    pub(super) changing: Option<Changing>,
    pub(super) doing: Doing,
}

/// A change of visibility in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing {
    pub(super) generation: u32,
    pub(super) is_return: bool,
}

/// What is being done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is waiting for the application to be ready.
    Waiting,
    Handling,
    /// It was handled, and will be deleted.
    Handled {
        since: Duration,
    },
    /// It is being deleted, with the receipt of this generation.
    Deleting {
        generation: u32,
    },
    /// It is being returned, and will be visible after this.
    Returning {
        after: Duration,
    },
}

impl Held {
    /// A message that was requested at `asked`.
    pub(super) fn new(message: &Message, asked: Duration, now: Duration, visibility: Duration) -> Self {
        let held = Self {
            id: message.id.clone(),
            receipt: message.receipt.clone(),
            generation: 0,
            sent_ms: message.sent_ms(),
            trial: 0,
            received: asked,
            hidden_until: asked + visibility,
            hidden_at_most: now + visibility,
            put_off_at: None,
            changing: None,
            doing: Doing::Waiting,
        };
        Self { put_off_at: held.put_off_at(visibility), ..held }
    }

    /// Notes that the message was received again: only the newest receipt is valid.
    pub(super) fn again(&mut self, message: &Message, asked: Duration, now: Duration, visibility: Duration) {
        self.receipt.clone_from(&message.receipt);
        self.generation += 1;
        (self.received, self.hidden_until, self.hidden_at_most) = (asked, asked + visibility, now + visibility);
        self.put_off_at = self.put_off_at(visibility);
    }

    /// When to hide it again: after a third of the time has passed, so that there is time for
    /// retries if a call hangs or fails.
    fn put_off_at(&self, visibility: Duration) -> Option<Duration> {
        // SQS hides no message for longer than the limit, so there is nothing left to do.
        let is_over = self.hidden_until + MARGIN * 2 >= self.received + HIDDEN_AT_MOST;
        (!is_over).then(|| self.hidden_until.saturating_sub(visibility * 2 / 3))
    }

    pub(super) fn is_returning(&self) -> bool {
        matches!(self.doing, Doing::Returning { .. })
    }

    /// Notes that the message is hidden for `length`, by a call that was made at `asked` and answered now.
    pub(super) fn hide(&mut self, asked: Duration, length: Duration, now: Duration, visibility: Duration) {
        (self.hidden_until, self.hidden_at_most) = (asked + length, now + length);
        self.put_off_at = self.put_off_at(visibility);
    }

    /// Notes that the message can no longer be hidden again.
    pub(super) fn is_lost(&mut self) {
        self.put_off_at = None;
    }

    /// Whether the message is certainly visible to others.
    pub(super) fn is_seen(&self, now: Duration) -> bool {
        now >= self.hidden_at_most
    }

    /// When to change its visibility; `None` during a change, or if there is no need.
    pub(super) fn change_due(&self) -> Option<Duration> {
        match self.doing {
            _ if self.changing.is_some() => None,
            Doing::Returning { .. } => Some(Duration::ZERO),
            _ => self.put_off_at,
        }
    }

    /// When to hide it again even while calls are paused, because it would soon become visible to others.
    pub(super) fn urgent_at(&self, visibility: Duration) -> Option<Duration> {
        self.change_due().filter(|_| !self.is_returning()).map(|_| self.hidden_until.saturating_sub(visibility / 4))
    }

    pub(super) fn hidden_for(&self, visibility: Duration, now: Duration) -> Duration {
        let left = (self.received + HIDDEN_AT_MOST).saturating_sub(now + MARGIN).as_secs();
        let wanted = if let Doing::Returning { after } = self.doing { after } else { visibility };
        wanted.min(Duration::from_secs(left))
    }
}
