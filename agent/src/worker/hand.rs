//! The messages that a worker has in hand: which are being handled, which are to be deleted, which go back, and how
//! long each is hidden from other receivers. Pure: it knows what is due, and the daemon does it.
//!
//! A message is in hand from its reception until SQS has accepted its deletion or return. For a standard
//! queue, at most [`SLACK`] finished messages wait for that in addition to those being handled. So a kill
//! at any moment makes no more than that many of them be delivered twice, and a queue to which no messages
//! can be given back is not drained into this worker.

mod held;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use self::held::{Changing, Doing, Held};
use crate::aws::sqs::{BATCH, Message};

/// How many finished messages may wait for SQS without occupying a place.
const SLACK: usize = BATCH;

/// How long a deletion waits for others, to be sent in one call.
const GATHERING: Duration = Duration::from_millis(100);

/// The pause between urgent calls, for messages that would soon become visible to others, while
/// other calls to SQS are paused.
const URGENT: Duration = Duration::from_secs(1);

/// Identifies a message in hand.
pub(super) type Ticket = u64;

#[derive(Debug)]
pub(super) struct Hand {
    room: usize,
    fifo: bool,
    visibility: Duration,
    held: BTreeMap<Ticket, Held>,
    next: Ticket,
    /// From when on urgent calls may be made.
    urgent_from: Duration,
}

/// How a received message was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    New(Ticket),
    /// It was in hand already: SQS delivers some messages twice.
    Again,
}

impl Hand {
    pub(super) fn new(room: usize, fifo: bool, visibility: Duration) -> Self {
        Self { room, fifo, visibility, held: BTreeMap::new(), next: 0, urgent_from: Duration::ZERO }
    }

    /// Takes a message that was requested at `asked`. It waits until it is [handled](Self::handle).
    pub(super) fn take(&mut self, message: &Message, asked: Duration, now: Duration) -> Taken {
        if let Some(held) = self.held.values_mut().find(|held| held.id == message.id) {
            held.again(message, asked, now, self.visibility);
            return Taken::Again;
        }
        self.next += 1;
        self.held.insert(self.next, Held::new(message, asked, now, self.visibility));
        Taken::New(self.next)
    }

    fn count(&self, is: fn(&Doing) -> bool) -> usize {
        self.held.values().filter(|held| is(&held.doing)).count()
    }

    /// How many more messages may be requested, if `asked` are requested already and `window` of
    /// this trial may be handled at the same time.
    pub(super) fn free(&self, asked: usize, (window, trial): (usize, u32)) -> usize {
        let done = self.held.len() - self.open();
        let slack = if self.fifo { 0 } else { SLACK };
        let beyond = done.saturating_sub(slack) + asked;
        let tried = self.tried(trial) + self.count(|doing| *doing == Doing::Waiting);
        self.room.saturating_sub(self.open() + beyond).min(window.saturating_sub(tried + beyond))
    }

    /// How many messages of this trial are being handled.
    pub(super) fn tried(&self, trial: u32) -> usize {
        self.held.values().filter(|held| held.doing == Doing::Handling && held.trial == trial).count()
    }

    /// Whether it is the only message of this trial that is being handled.
    pub(super) fn is_tried_alone(&self, ticket: Ticket, trial: u32) -> bool {
        self.tried(trial) == 1 && self.held.get(&ticket).is_some_and(|held| held.trial == trial)
    }

    pub(super) fn handling(&self) -> usize {
        self.count(|doing| *doing == Doing::Handling)
    }

    /// How many messages are being handled or are waiting for it.
    pub(super) fn open(&self) -> usize {
        self.count(|doing| matches!(doing, Doing::Waiting | Doing::Handling))
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// When the oldest message was sent, in milliseconds since 1970.
    pub(super) fn oldest_ms(&self) -> Option<i64> {
        self.held.values().filter_map(|held| held.sent_ms).min()
    }

    pub(super) fn id(&self, ticket: Ticket) -> &str {
        self.held.get(&ticket).map_or("", |held| &held.id)
    }

    pub(super) fn handle(&mut self, ticket: Ticket, trial: u32) {
        self.set(ticket, Doing::Handling);
        self.held.get_mut(&ticket).into_iter().for_each(|held| held.trial = trial);
    }

    pub(super) fn handled(&mut self, ticket: Ticket, now: Duration) {
        self.set(ticket, Doing::Handled { since: now });
    }

    /// Gives a message back. It is visible again after `after`.
    pub(super) fn give_back(&mut self, ticket: Ticket, after: Duration) {
        self.set(ticket, Doing::Returning { after });
    }

    /// Gives back all messages that are waiting or being handled.
    pub(super) fn give_all_back(&mut self) {
        for held in self.held.values_mut().filter(|held| matches!(held.doing, Doing::Waiting | Doing::Handling)) {
            held.doing = Doing::Returning { after: Duration::ZERO };
        }
    }

    fn set(&mut self, ticket: Ticket, doing: Doing) {
        if let Some(held) = self.held.get_mut(&ticket) {
            held.doing = doing;
        }
    }

    /// The messages to delete now, in one call.
    pub(super) fn take_deletions(&mut self, now: Duration) -> Vec<(Ticket, String)> {
        if self.next_deletion().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let waiting = self.held.iter_mut().filter(|(_, held)| matches!(held.doing, Doing::Handled { .. }));
        waiting
            .take(BATCH)
            .map(|(ticket, held)| {
                held.doing = Doing::Deleting { generation: held.generation };
                (*ticket, held.receipt.clone())
            })
            .collect()
    }

    /// When the next deletion is due.
    pub(super) fn next_deletion(&self) -> Option<Duration> {
        let since = |held: &Held| if let Doing::Handled { since } = held.doing { Some(since) } else { None };
        let waiting = || self.held.values().filter_map(since);
        let first = waiting().min()?;
        Some(if self.fifo || waiting().count() >= BATCH { first } else { first + GATHERING })
    }

    /// Makes a deletion be retried.
    pub(super) fn still_there(&mut self, ticket: Ticket, now: Duration) {
        self.handled(ticket, now);
    }

    /// SQS has deleted the message, or never will. A message that was received again in the
    /// meantime is not deleted by its older receipt.
    pub(super) fn deleted(&mut self, ticket: Ticket, now: Duration) {
        match self.held.get(&ticket).map(|held| (held.doing, held.generation)) {
            Some((Doing::Deleting { generation }, newest)) if generation != newest => self.still_there(ticket, now),
            _ => drop(self.held.remove(&ticket)),
        }
    }

    /// The messages whose visibility to change now, in one call: those that go back, and those that take long to
    /// handle. While calls to SQS are paused, only those that would soon become visible to others.
    pub(super) fn take_changes(&mut self, now: Duration, is_resting: bool) -> Vec<(Ticket, String, Duration)> {
        if is_resting && now < self.urgent_from {
            return Vec::new();
        }
        let visibility = self.visibility;
        let is_due = |held: &Held| {
            let due = if is_resting { held.urgent_at(visibility) } else { held.change_due() };
            due.is_some_and(|due| now >= due)
        };
        let changes: Vec<_> = self
            .held
            .iter_mut()
            .filter(|(_, held)| is_due(held))
            .take(BATCH)
            .map(|(ticket, held)| {
                held.changing = Some(Changing { generation: held.generation, is_return: held.is_returning() });
                (*ticket, held.receipt.clone(), held.hidden_for(visibility, now))
            })
            .collect();
        if is_resting && !changes.is_empty() {
            self.urgent_from = now + URGENT;
        }
        changes
    }

    /// Ends a change of visibility. Returns its message, and whether it was a return; `None` if the message was
    /// received again in the meantime, so that the result for the older receipt does not matter.
    fn changed(&mut self, ticket: Ticket) -> Option<(&mut Held, bool)> {
        let held = self.held.get_mut(&ticket)?;
        let Changing { generation, is_return } = held.changing.take()?;
        (generation == held.generation).then_some((held, is_return))
    }

    /// SQS hides the message for `length`, from `asked` on. A message that was returned leaves the hand.
    pub(super) fn hidden(&mut self, ticket: Ticket, asked: Duration, length: Duration, now: Duration) {
        let visibility = self.visibility;
        match self.changed(ticket) {
            Some((_, true)) => drop(self.held.remove(&ticket)),
            Some((held, false)) => held.hide(asked, length, now, visibility),
            None => {}
        }
    }

    /// SQS has not changed the visibility, but may do so later. A message that is to be returned
    /// leaves the hand if it is visible to others anyway.
    pub(super) fn not_hidden(&mut self, ticket: Ticket, now: Duration) {
        if self.changed(ticket).is_some_and(|(held, _)| held.is_returning() && held.is_seen(now)) {
            self.held.remove(&ticket);
        }
    }

    /// SQS will not change the visibility: the message is gone, or another worker has received it.
    /// If it is being handled, that continues.
    pub(super) fn is_lost(&mut self, ticket: Ticket) {
        match self.changed(ticket) {
            Some((held, _)) if held.is_returning() => drop(self.held.remove(&ticket)),
            Some((held, _)) => held.is_lost(),
            None => {}
        }
    }

    /// When the next change of visibility is due. While calls to SQS are paused until `rest`, also
    /// considers the earliest urgent one.
    pub(super) fn next_change(&self, rest: Option<Duration>) -> Option<Duration> {
        let due = self.held.values().filter_map(Held::change_due).min();
        let Some(rest) = rest else { return due };
        let urgent = self.held.values().filter_map(|held| held.urgent_at(self.visibility)).min();
        due.map(|due| due.max(rest)).into_iter().chain(urgent.map(|urgent| urgent.max(self.urgent_from))).min()
    }
}
