//! One message in hand, and until when others do not see it.

use std::time::Duration;

use crate::aws::sqs::{HIDDEN_AT_MOST, Message};

/// What the end of twelve hours is away from, at the least: the time that a call takes, and the fractions of a second that
/// SQS does not know.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) receipt: String,
    /// Counts the receipts: a call that was made with an older one says nothing of this.
    pub(super) generation: u32,
    pub(super) sent_ms: Option<i64>,
    /// In which trial of the application it was posted.
    pub(super) trial: u32,
    /// When it was received, at the soonest: the reception may have waited for it for long.
    received: Duration,
    /// When others may see it again, unless that is put off: at the soonest, and at the latest.
    hidden_until: Duration,
    hidden_at_most: Duration,
    /// When that is to be put off. It is looked at between any two events.
    put_off_at: Option<Duration>,
    /// The call that is about to put that off, or to give it back.
    pub(super) changing: Option<Changing>,
    pub(super) doing: Doing,
}

/// A change of visibility that is on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changing {
    pub(super) generation: u32,
    pub(super) is_return: bool,
}

/// What is done about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits for the application to be ready.
    Waiting,
    Handling,
    /// It was handled, and is to be deleted.
    Handled {
        since: Duration,
    },
    /// It is being deleted, by the receipt of this generation.
    Deleting {
        generation: u32,
    },
    /// It goes back, and is visible after this.
    Returning {
        after: Duration,
    },
}

impl Held {
    /// A message that was asked for at `asked`.
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

    /// It was received again: only the newest receipt is good for anything.
    pub(super) fn again(&mut self, message: &Message, asked: Duration, now: Duration, visibility: Duration) {
        self.receipt.clone_from(&message.receipt);
        self.generation += 1;
        (self.received, self.hidden_until, self.hidden_at_most) = (asked, asked + visibility, now + visibility);
        self.put_off_at = self.put_off_at(visibility);
    }

    /// It is put off once a third of it is over, so that a call that hangs or fails leaves time for others.
    fn put_off_at(&self, visibility: Duration) -> Option<Duration> {
        // What SQS does not hide any longer cannot be put off again.
        let is_over = self.hidden_until + MARGIN * 2 >= self.received + HIDDEN_AT_MOST;
        (!is_over).then(|| self.hidden_until.saturating_sub(visibility * 2 / 3))
    }

    pub(super) fn is_returning(&self) -> bool {
        matches!(self.doing, Doing::Returning { .. })
    }

    /// Others do not see it for `length`, by a call that was made at `asked` and answered now.
    pub(super) fn hide(&mut self, asked: Duration, length: Duration, now: Duration, visibility: Duration) {
        (self.hidden_until, self.hidden_at_most) = (asked + length, now + length);
        self.put_off_at = self.put_off_at(visibility);
    }

    /// Nothing puts off any longer when others see it.
    pub(super) fn is_lost(&mut self) {
        self.put_off_at = None;
    }

    /// Whether others see it for certain.
    pub(super) fn is_seen(&self, now: Duration) -> bool {
        now >= self.hidden_at_most
    }

    /// When its visibility is to be changed; `None` while it is, or if there is no need.
    pub(super) fn change_due(&self) -> Option<Duration> {
        match self.doing {
            _ if self.changing.is_some() => None,
            Doing::Returning { .. } => Some(Duration::ZERO),
            _ => self.put_off_at,
        }
    }

    /// When its visibility is to be put off also in spite of a rest: others would see it soon.
    pub(super) fn urgent_at(&self, visibility: Duration) -> Option<Duration> {
        self.change_due().filter(|_| !self.is_returning()).map(|_| self.hidden_until.saturating_sub(visibility / 4))
    }

    pub(super) fn hidden_for(&self, visibility: Duration, now: Duration) -> Duration {
        let left = (self.received + HIDDEN_AT_MOST).saturating_sub(now + MARGIN).as_secs();
        let wanted = if let Doing::Returning { after } = self.doing { after } else { visibility };
        wanted.min(Duration::from_secs(left))
    }
}
