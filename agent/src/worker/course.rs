//! Decides what a worker does next, given what has happened. Pure: it gives orders, and the
//! daemon carries them out and reports their results.
//!
//! It only receives messages while the application is ready, and only as many as can be handled. Messages that arrive
//! while the application is not ready wait for a probe: returning a message uses up one of the deliveries that its
//! queue allows. When the worker is asked to stop, it receives no more. It waits for receptions in flight, whose
//! messages go back at once; messages that are being handled have the time that the document gives them.

mod happened;

use std::time::Duration;

use jiff::Timestamp;

use super::gate::Gate;
use super::hand::{Hand, Ticket};
use super::pause::Pause;
use super::status::{Doing, Status};
use crate::aws::AwsError;
use crate::aws::sqs::{BATCH, LONG_POLL, Message, Receive, Rejected};
use crate::failure::Explanation;
use crate::net::posts::Answered;
use crate::steps::worker::settings::Settings;

/// How many receptions are in flight at the same time while each returns as many messages as it asked for.
const RECEPTIONS: usize = 5;

/// How long a stopping worker waits for receptions in flight. SQS does not notice that the caller is gone: messages
/// that it then hands out are hidden for the whole of `visibility`.
///
/// Source: <https://github.com/aws/aws-sdk-java-v2/issues/1395>, <https://github.com/aws/aws-sdk-js/issues/2350>.
const ON_ITS_WAY: Duration = Duration::from_secs(LONG_POLL + 1);

/// How long SQS may take to accept the results of the last messages.
const SETTLING: Duration = Duration::from_secs(30);

/// How long a free place waits for others to become free while the queue has more messages than fit: otherwise every
/// second call would be for a single message.
const TOGETHER: Duration = Duration::from_millis(5);

/// How long a message waits while the application is being tried with others.
const WAITS: Duration = Duration::from_secs(5);

/// When a periodic message becomes visible again whose time could not be claimed. Each time
/// uses up one of the deliveries that its queue allows.
const CLAIMED_AGAIN: Duration = Duration::from_secs(120);

/// An order for the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Receive(Receive),
    Post {
        ticket: Ticket,
        message: Message,
    },
    Delete(Vec<(Ticket, String)>),
    /// Hide each message from other receivers for this long.
    Hide(Vec<(Ticket, String, Duration)>),
    /// Probe whether the application is ready.
    Probe,
    /// Drop the receptions in flight.
    LeaveReceptions,
    /// Abort all requests.
    CutOff,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Event {
    /// `time` is the time according to SQS.
    Received {
        wanted: Receive,
        asked: Duration,
        time: Timestamp,
        result: Result<Vec<Message>, AwsError>,
    },
    Posted {
        ticket: Ticket,
        receive_count: u32,
        answered: Answered,
        took: Duration,
    },
    Deleted {
        tickets: Vec<Ticket>,
        asked: Duration,
        result: Result<Vec<Rejected>, AwsError>,
    },
    Hidden {
        hidden: Vec<(Ticket, Duration)>,
        asked: Duration,
        result: Result<Vec<Rejected>, AwsError>,
    },
    /// A periodic message was not posted.
    Withheld {
        ticket: Ticket,
        why: Withheld,
    },
    /// `is_late` means that there was no answer.
    Probed {
        answer: Result<(), String>,
        is_late: bool,
    },
    /// Whether another process is about to stop the application.
    Held(bool),
    /// The worker is asked to stop; the second time, immediately.
    Stop,
}

/// Why a periodic message was not posted.
#[derive(Debug)]
pub(super) enum Withheld {
    /// Another message for the same due time is or was posted.
    Duplicate,
    /// It cannot be determined now whether another message was posted.
    Unclaimed(Explanation),
    /// In the meantime, another process is about to stop the application.
    Held,
}

pub(super) struct Course {
    settings: Settings,
    fifo: bool,
    hand: Hand,
    /// Messages that were received and are not posted yet, and since when they have been waiting.
    waiting: Vec<(Ticket, Message, Duration)>,
    gate: Gate,
    leaving: Option<Leaving>,
    receptions: Receptions,
    receiving: Pause,
    deleting: Pause,
    hiding: Pause,
    status: Status,
    events: u64,
}

/// The receptions in flight.
#[derive(Debug, Default)]
struct Receptions {
    count: usize,
    /// The most messages that they may return.
    asked: usize,
    /// Whether the last one returned as many messages as it asked for.
    is_full: bool,
    /// Until when free places wait for others to become free.
    together: Option<Duration>,
    /// Receptions from a FIFO queue whose answer was lost. They are repeated unchanged.
    lost: Vec<Receive>,
}

/// The state of a worker that is stopping.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    since: Duration,
    until: Duration,
    has_cut_off: bool,
    /// Since when no message is being handled.
    idle: Option<Duration>,
}

impl Course {
    pub(super) fn new(settings: Settings, fifo: bool, status: Status) -> Self {
        let hand = Hand::new(settings.concurrency, fifo, settings.visibility);
        Self {
            fifo,
            hand,
            waiting: Vec::new(),
            gate: Gate::default(),
            leaving: None,
            receptions: Receptions::default(),
            receiving: Pause::default(),
            deleting: Pause::default(),
            hiding: Pause::default(),
            events: 0,
            status: Status { concurrency: settings.concurrency, queue: settings.queue.clone(), ..status },
            settings,
        }
    }

    /// The orders that are due now.
    pub(super) fn orders(&mut self, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        match self.leaving {
            Some(leaving) => self.leave(leaving, now, &mut orders),
            None => {
                orders.extend(self.gate.asks(now, self.hand.open() > 0).then_some(Order::Probe));
                self.post(now, &mut orders);
                while let Some(wanted) = self.reception(now) {
                    self.receptions.count += 1;
                    self.receptions.asked += wanted.most;
                    orders.push(Order::Receive(wanted));
                }
            }
        }
        while self.deleting.rest(now).is_none() {
            let due = self.hand.take_deletions(now);
            if due.is_empty() {
                break;
            }
            orders.push(Order::Delete(due));
        }
        loop {
            let due = self.hand.take_changes(now, self.hiding.rest(now).is_some());
            if due.is_empty() {
                break;
            }
            orders.push(Order::Hide(due));
        }
        orders
    }

    /// Posts as many waiting messages as the application may have, and gives back those that wait in vain.
    fn post(&mut self, now: Duration, orders: &mut Vec<Order>) {
        let is_in_vain = self.gate.has_failed() || self.gate.is_held();
        let mut may = if self.gate.is_open() { self.gate.window().saturating_sub(self.hand.tried(self.gate.trial())) } else { 0 };
        for (ticket, message, since) in std::mem::take(&mut self.waiting) {
            if may > 0 {
                may -= 1;
                self.hand.handle(ticket, self.gate.trial());
                orders.push(Order::Post { ticket, message });
            } else if is_in_vain || (self.gate.is_open() && now >= since + WAITS) {
                self.hand.give_back(ticket, Duration::ZERO);
            } else {
                self.waiting.push((ticket, message, since));
            }
        }
    }

    fn leave(&mut self, leaving: Leaving, now: Duration, orders: &mut Vec<Order>) {
        for (ticket, ..) in self.waiting.drain(..) {
            self.hand.give_back(ticket, Duration::ZERO);
        }
        if self.receptions.count > 0 && now >= self.receptions_end(leaving) {
            self.receptions = Receptions::default();
            orders.push(Order::LeaveReceptions);
        }
        let mut leaving = leaving;
        if now >= leaving.until && !leaving.has_cut_off {
            if self.hand.handling() > 0 {
                log::warn!("{} messages were not finished in time and go back to the queue", self.hand.handling());
            }
            leaving.has_cut_off = true;
            self.hand.give_all_back();
            orders.push(Order::CutOff);
        }
        if self.hand.handling() == 0 {
            leaving.idle.get_or_insert(now);
        }
        self.leaving = Some(leaving);
    }

    /// The time until which a stopping worker waits for receptions: no longer than for messages in hand.
    fn receptions_end(&self, leaving: Leaving) -> Duration {
        (leaving.since + ON_ITS_WAY).min(leaving.until.max(leaving.since + Duration::from_secs(1)))
    }

    /// The next reception, if one is due.
    fn reception(&mut self, now: Duration) -> Option<Receive> {
        let together = self.receptions.together.take();
        if !self.gate.is_open() || self.receiving.rest(now).is_some() {
            return None;
        }
        let most = if self.fifo { 1 } else { BATCH };
        let least = match self.receptions.count {
            0 => 1,
            count if count < RECEPTIONS && (self.receptions.is_full || !self.receptions.lost.is_empty()) => most,
            _ => return None,
        };
        let free = self.hand.free(self.receptions.asked, (self.gate.window(), self.gate.trial()));
        if free < least {
            return None;
        }
        let enough = most.min(self.settings.concurrency).min(self.gate.window());
        if free < enough && self.receptions.is_full && self.hand.open() > 0 {
            let until = together.unwrap_or(now + TOGETHER);
            if now < until {
                self.receptions.together = Some(until);
                return None;
            }
        }
        if let Some(lost) = self.receptions.lost.pop() {
            return Some(lost);
        }
        let attempt = self.fifo.then(|| format!("{:032x}", fastrand::u128(..)));
        Some(Receive { most: most.min(free), visibility: self.settings.visibility, attempt })
    }

    /// When the next thing is due.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        let own = match self.leaving {
            Some(leaving) => {
                let receptions = (self.receptions.count > 0).then(|| self.receptions_end(leaving));
                let cut = (!leaving.has_cut_off).then_some(leaving.until);
                let settled = leaving.idle.map(|idle| idle + SETTLING);
                receptions.into_iter().chain(cut).chain(settled).min()
            }
            None => {
                let receiving = self.receiving.rest(now).filter(|_| self.gate.is_open());
                let waiting = self.waiting.first().map(|(.., since)| *since + WAITS).filter(|_| self.gate.is_open());
                let asked = self.gate.next_due(self.hand.open() > 0).into_iter().chain(receiving);
                asked.chain(waiting).chain(self.receptions.together).min()
            }
        };
        let deletion = self.hand.next_deletion().map(|due| self.deleting.rest(now).map_or(due, |rest| due.max(rest)));
        let change = self.hand.next_change(self.hiding.rest(now));
        own.into_iter().chain(deletion).chain(change).min()
    }

    /// Whether a worker that was asked to stop is done.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        let is_settled = |idle: Duration| (self.hand.len() == 0 && self.receptions.count == 0) || now >= idle + SETTLING;
        self.leaving.is_some_and(|leaving| leaving.idle.is_some_and(is_settled))
    }

    pub(super) fn is_held(&self) -> bool {
        self.gate.is_held()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// The number of events so far.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    fn waiting(&self, now: Duration) -> Option<&str> {
        let why = || [&self.receiving, &self.deleting, &self.hiding].into_iter().find_map(|pause| pause.why(now));
        self.gate.why().or_else(why)
    }

    pub(super) fn doing(&self, now: Duration) -> Doing {
        match (self.leaving.is_some(), self.waiting(now)) {
            (true, _) => Doing::Draining,
            (false, Some(_)) => Doing::Paused,
            (false, None) => Doing::Working,
        }
    }

    /// The status of the worker.
    pub(super) fn status(&self, now: Duration) -> Status {
        let (doing, waiting) = (self.doing(now), self.waiting(now).map(str::to_owned));
        let (in_hand, oldest_sent_ms) = (self.hand.open(), self.hand.oldest_ms());
        Status { doing, waiting, in_hand, oldest_sent_ms, ..self.status.clone() }
    }
}
