//! How a worker reacts to events.

use std::time::Duration;

use jiff::Timestamp;

use super::{CLAIMED_AGAIN, Course, Event, Leaving, Withheld};
use crate::aws::AwsError;
use crate::aws::sqs::{Message, Receive, Rejected};
use crate::failure::Failure as _;
use crate::net::posts::Answered;
use crate::worker::hand::{Taken, Ticket};
use crate::worker::request::is_expired;
use crate::worker::status::LastError;
use crate::worker::verdict::{Verdict, named, sign, verdict};

impl Course {
    /// Processes an event. `time` is this machine's time, for log lines and the status.
    pub(in crate::worker) fn take(&mut self, event: Event, now: Duration, time: Timestamp) {
        self.events += 1;
        match event {
            Event::Received { wanted, asked, time: by_sqs, result } => match result {
                Ok(messages) => self.received(&wanted, messages, asked, now, by_sqs),
                Err(error) => self.not_received(wanted, &error, asked, now, time),
            },
            Event::Posted { ticket, receive_count, answered, took } => self.posted(ticket, receive_count, &answered, took, now, time),
            Event::Deleted { tickets, asked, result } => self.deleted(&tickets, asked, result, now, time),
            Event::Hidden { hidden, asked, result } => self.hidden(&hidden, asked, result, now, time),
            Event::Withheld { ticket, why } => self.withheld(ticket, why, now, time),
            Event::Probed { answer, is_late } => self.gate.probed(answer, is_late, now),
            Event::Held(held) => self.held(held, now),
            Event::Stop => self.stop(now),
        }
    }

    fn held(&mut self, held: bool, now: Duration) {
        match held {
            true => log::info!("the application is being replaced: no messages are taken; {} are being handled", self.hand.handling()),
            false => log::info!("the application was replaced"),
        }
        self.gate.hold(held, now);
    }

    fn stop(&mut self, now: Duration) {
        match &mut self.leaving {
            Some(leaving) => leaving.until = leaving.until.min(now),
            None => {
                log::info!("taking no more messages; {} are being handled", self.hand.handling());
                let until = now + self.settings.drain;
                self.leaving = Some(Leaving { since: now, until, has_cut_off: false, idle: None });
            }
        }
    }

    /// Notes that a reception has ended.
    fn came(&mut self, wanted: &Receive) {
        self.receptions.count = self.receptions.count.saturating_sub(1);
        self.receptions.asked = self.receptions.asked.saturating_sub(wanted.most);
    }

    fn received(&mut self, wanted: &Receive, messages: Vec<Message>, asked: Duration, now: Duration, by_sqs: Timestamp) {
        self.came(wanted);
        self.receiving.worked();
        self.receptions.is_full = messages.len() >= wanted.most;
        for message in messages {
            let Taken::New(ticket) = self.hand.take(&message, asked, now) else { continue };
            if is_expired(&message, self.settings.retention, by_sqs) {
                log::warn!("message {} is older than `retention`, and is deleted", message.id);
                self.status.expired += 1;
                self.hand.handled(ticket, now);
            } else {
                self.waiting.push((ticket, message, now));
            }
        }
    }

    fn not_received(&mut self, wanted: Receive, error: &AwsError, asked: Duration, now: Duration, time: Timestamp) {
        self.came(&wanted);
        self.receptions.is_full = false;
        if self.fifo && error.is_transient() {
            self.receptions.lost.push(wanted);
        }
        self.failed(error, time);
        self.receiving.failed(error, asked, now);
    }

    fn posted(&mut self, ticket: Ticket, receive_count: u32, answered: &Answered, took: Duration, now: Duration, time: Timestamp) {
        let is_suspect = self.gate.window() == 1 && self.hand.is_tried_alone(ticket, self.gate.trial());
        self.gate.answered(sign(answered), now, self.settings.concurrency);
        match verdict(answered, receive_count, is_suspect, &self.settings.retry, time) {
            Verdict::Delete => {
                self.status.handled += 1;
                return self.hand.handled(ticket, now);
            }
            Verdict::Retry(after) => self.hand.give_back(ticket, after),
            Verdict::Release => self.hand.give_back(ticket, Duration::ZERO),
        }
        let name = named(answered);
        let what = format!("message {} (delivery {receive_count}): {name} after {:.3} s", self.hand.id(ticket), took.as_secs_f64());
        log::warn!("{what}");
        *self.status.failed.entry(name).or_default() += 1;
        self.status.last_error = Some(LastError { at: time.to_string(), what });
    }

    fn withheld(&mut self, ticket: Ticket, why: Withheld, now: Duration, time: Timestamp) {
        let id = self.hand.id(ticket).to_owned();
        let why = match why {
            Withheld::Duplicate => {
                log::info!("message {id} is deleted: another was posted for the same time of its task");
                self.status.duplicates += 1;
                return self.hand.handled(ticket, now);
            }
            Withheld::Held => return self.hand.give_back(ticket, Duration::ZERO),
            Withheld::Unclaimed(why) => why,
        };
        let what = format!("message {id} is not posted, because its claim failed: {}", why.message);
        log::warn!("{what}");
        self.status.last_error = Some(LastError { at: time.to_string(), what });
        self.hand.give_back(ticket, CLAIMED_AGAIN);
    }

    fn deleted(&mut self, tickets: &[Ticket], asked: Duration, result: Result<Vec<Rejected>, AwsError>, now: Duration, time: Timestamp) {
        let rejected = match result {
            Ok(rejected) => rejected,
            Err(error) => {
                tickets.iter().for_each(|ticket| self.hand.still_there(*ticket, now));
                self.failed(&error, time);
                return self.deleting.failed(&error, asked, now);
            }
        };
        self.deleting.answered(&rejected, now);
        for (at, ticket) in tickets.iter().enumerate() {
            match rejected.iter().find(|rejected| rejected.at == at) {
                Some(rejected) if rejected.transient => self.hand.still_there(*ticket, now),
                Some(rejected) => {
                    // Another worker has received it in the meantime, or the queue was purged.
                    log::warn!("message {} was handled, but SQS did not delete it: {}", self.hand.id(*ticket), rejected.code);
                    self.hand.deleted(*ticket, now);
                }
                None => self.hand.deleted(*ticket, now),
            }
        }
    }

    fn hidden(
        &mut self,
        hidden: &[(Ticket, Duration)],
        asked: Duration,
        result: Result<Vec<Rejected>, AwsError>,
        now: Duration,
        time: Timestamp,
    ) {
        let rejected = match result {
            Ok(rejected) => rejected,
            Err(error) => {
                hidden.iter().for_each(|(ticket, _)| self.hand.not_hidden(*ticket, now));
                self.failed(&error, time);
                return self.hiding.failed(&error, asked, now);
            }
        };
        self.hiding.answered(&rejected, now);
        for (at, (ticket, length)) in hidden.iter().enumerate() {
            match rejected.iter().find(|rejected| rejected.at == at) {
                Some(rejected) if rejected.transient => self.hand.not_hidden(*ticket, now),
                Some(rejected) => {
                    log::info!("message {} is no longer hidden for this worker: {}", self.hand.id(*ticket), rejected.code);
                    self.hand.is_lost(*ticket);
                }
                None => self.hand.hidden(*ticket, asked, *length, now),
            }
        }
    }

    fn failed(&mut self, error: &AwsError, time: Timestamp) {
        self.status.last_error = Some(LastError { at: time.to_string(), what: error.to_string() });
    }
}
