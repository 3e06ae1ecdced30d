//! Since when a task has existed, and until when its times are settled: one object for each task. So after a time
//! without any instance, a fleet knows what it has missed, and a new task does not catch up on earlier times.
//!
//! ```json
//! { "version": 1, "schedule": "30 2 * * * Europe/Berlin", "since": 1793491200, "until": 1793498400 }
//! ```

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::errand::not_a_claim;
use super::timetable::Due;
use super::{Claims, Cron, LATE};
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::json::of_bytes;
use crate::net::claims::{Seen, Store as _};
use crate::steps::worker::cron::UNCLAIMED;
use crate::steps::worker::settings::Task;

const VERSION: u64 = 1;

/// The last part of the object's name.
const END: &str = "task";

/// How far before the last settled time others may be unsettled, because an instance died while it was working on one.
const UNSETTLED: SignedDuration = SignedDuration::from_mins(15);

/// What is recorded about a task, in seconds since 1970.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    since: i64,
    until: i64,
}

impl Known {
    /// `None` if this is for another schedule, since the recorded times belong to that.
    fn parse(body: &[u8], schedule: &str) -> Result<Option<Self>, ()> {
        let object: Value = of_bytes(body).map_err(|_| ())?;
        let second = |name: &str| object[name].as_i64().ok_or(());
        let known = Self { since: second("since")?, until: second("until")? };
        let is_same = object["version"].as_u64() == Some(VERSION) && object["schedule"].as_str() == Some(schedule);
        Ok(is_same.then_some(known))
    }

    fn written(&self, schedule: &str) -> Bytes {
        json!({ "version": VERSION, "schedule": schedule, "since": self.since, "until": self.until }).to_string().into()
    }

    /// The time to start from, and the time until which times are settled. `date` is the store's
    /// time, `limit` how late a time may be sent.
    fn from(&self, started: Timestamp, date: Timestamp, limit: Duration) -> (Timestamp, Timestamp) {
        let at = |second| Timestamp::from_second(second).unwrap_or(started);
        let until = at(self.until);
        let (last, settled) = match is_ahead(until, date) {
            // It was written by an instance whose clock was ahead, and so says nothing. Claims still
            // show which times were sent.
            true => (date.checked_sub(limit).unwrap_or(date), date),
            false => (until.min(started), until),
        };
        let from = at(self.since).max(last.checked_sub(UNSETTLED).unwrap_or(last));
        (from.min(started), settled)
    }
}

/// Whether a time is in the future according to the store.
fn is_ahead(at: Timestamp, date: Timestamp) -> bool {
    date.checked_add(LATE).is_ok_and(|date| at > date)
}

fn schedule(task: &Task) -> String {
    format!("{} {}", task.schedule, task.time_zone)
}

impl Cron {
    /// Finds out since when the times of a task count.
    pub(super) async fn begin(self: Rc<Self>, task: usize, started: Timestamp) {
        let mut tries = 0;
        let (from, settled) = loop {
            // Without claims, the times that SQS still deduplicates are sent again, and earlier ones
            // are not sent at all.
            let Some(claims) = &self.claims else { break (started.checked_sub(UNCLAIMED).unwrap_or(started), started) };
            let why = match self.known_from(claims, task, started).await {
                Ok(from) => break from,
                Err(why) => why,
            };
            tries += 1;
            self.trouble(task, &why);
            let backoff = if why.transient { Backoff::CALL } else { Backoff::REFUSED };
            self.host.clock.sleep(backoff.pause(tries, why.retry_after)).await;
        };
        self.timetable.borrow_mut().begin(task, from, settled);
        self.note(task, |status| status.trouble = None);
    }

    async fn known_from(&self, claims: &Claims, task: usize, started: Timestamp) -> Result<(Timestamp, Timestamp), Explanation> {
        let (name, schedule) = self.named(task);
        let store = self.object(claims, &name, END);
        let seen = store.look().await?;
        if let Some(known) = parsed(seen.as_ref(), &schedule).map_err(|()| not_a_claim(&store.name()))? {
            let date = seen.as_ref().and_then(date).unwrap_or(started);
            return Ok(known.from(started, date, self.timetable.borrow().entry(task).task.catch_up));
        }
        let new = Known { since: started.as_second(), until: started.as_second() };
        // If another instance writes it first, it has begun at the same time.
        store.write(new.written(&schedule), seen.as_ref().map(|seen| &*seen.etag)).await?;
        Ok((started, started))
    }

    fn named(&self, task: usize) -> (String, String) {
        let timetable = self.timetable.borrow();
        let task = &timetable.entry(task).task;
        (task.name.clone(), schedule(task))
    }

    /// Records that a time is settled. A failure does no harm: an instance that starts later has more times to check.
    pub(super) async fn settled(self: Rc<Self>, due: Due) {
        if let Some(claims) = &self.claims
            && let Err(why) = self.note_settled(claims, due).await
        {
            log::debug!("{why}");
        }
    }

    async fn note_settled(&self, claims: &Claims, due: Due) -> Result<(), Explanation> {
        let (name, schedule) = self.named(due.task);
        let store = self.object(claims, &name, END);
        let Some(seen) = store.look().await? else { return Ok(()) };
        let until = due.at.as_second();
        match parsed(Some(&seen), &schedule) {
            Ok(Some(known)) if may_note(&known, due.at, date(&seen).unwrap_or(due.at)) => {
                store.write(Known { until, ..known }.written(&schedule), Some(&seen.etag)).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }
}

/// Whether this is later than every time that is known to be settled, by the clock of the store.
fn may_note(known: &Known, at: Timestamp, date: Timestamp) -> bool {
    let is_wrong = Timestamp::from_second(known.until).is_ok_and(|until| is_ahead(until, date));
    !is_ahead(at, date) && (is_wrong || known.until < at.as_second())
}

fn date(seen: &Seen) -> Option<Timestamp> {
    Timestamp::try_from(seen.date).ok()
}

fn parsed(seen: Option<&Seen>, schedule: &str) -> Result<Option<Known>, ()> {
    seen.map_or(Ok(None), |seen| Known::parse(&seen.body, schedule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn times_count_from_a_little_before_the_last_that_was_settled() {
        let known = Known { since: 1_000, until: 100_000 };
        let from = |known: Known, started| known.from(at(started), at(200_000), Duration::from_secs(7_200));
        assert_eq!(from(known, 200_000), (at(100_000 - 900), at(100_000)));
        assert_eq!(from(Known { since: 1_000, until: 1_100 }, 200_000).0, at(1_000), "not before it was there");
        assert_eq!(from(Known { since: 1_000, until: 200_030 }, 200_000), (at(200_000 - 900), at(200_030)), "clocks differ by seconds");
    }

    /// Regression: times that came due before the recorded time were neither sent nor reported as missed.
    #[test]
    fn a_clock_that_was_ahead_has_settled_nothing() {
        let (known, hours) = (|until| Known { since: 1_000, until }, Duration::from_secs(7_200));
        assert_eq!(known(900_000).from(at(200_000), at(200_000), hours), (at(200_000 - 7_200 - 900), at(200_000)));
        assert_eq!(Known { since: 900_000, until: 900_000 }.from(at(200_000), at(200_000), hours).0, at(200_000), "it is not older");
        let may = |until, due| may_note(&known(until), at(due), at(200_000));
        assert!(may(100_000, 200_000) && may(900_000, 200_000) && may(100_000, 200_030));
        assert!(!may(100_000, 900_000) && !may(200_000, 199_000) && !may(200_000, 200_000));
    }

    #[test]
    fn another_schedule_begins_anew() {
        let known = Known { since: 1, until: 2 };
        let body = known.written("@daily UTC");
        assert_eq!((Known::parse(&body, "@daily UTC"), Known::parse(&body, "@hourly UTC")), (Ok(Some(known)), Ok(None)));
        assert_eq!(Known::parse(b"words", "@daily UTC"), Err(()));
    }
}
