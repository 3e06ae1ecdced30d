//! What is due. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::steps::worker::cron::{Schedule, UNCLAIMED};
use crate::steps::worker::settings::Task;
use crate::worker::status::Periodic;

/// The most times of a task that are caught up, the newest ones.
const MOST: usize = 100;

/// How far back times are searched for: later than this, nothing is sent.
const FURTHEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How far a clock may be set back before times that were already due count again: they are
/// claimed, and so not sent twice.
const PUT_BACK: SignedDuration = SignedDuration::from_secs(60);

/// One due time of a task, which is identified by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) task: usize,
    pub(super) at: Timestamp,
}

/// All tasks of a worker.
#[derive(Debug)]
pub(super) struct Timetable(Vec<Entry>);

/// A task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Task,
    schedule: Schedule,
    zone: TimeZone,
    /// How late a time may be sent.
    limit: Duration,
    /// The time until which everything that was due has been returned. `None` until it is known where the task begins.
    until: Option<Timestamp>,
    /// Times until this one were sent, or reported as missed, before.
    settled: Timestamp,
    status: Periodic,
}

/// What has come due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) due: Vec<Due>,
    /// By the task's number.
    pub(super) missed: Vec<(usize, Missed)>,
}

/// Times that are too late to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Missed {
    pub(super) fn one(at: Timestamp) -> Self {
        Self { count: 1, first: at, last: at }
    }
}

impl Entry {
    pub(super) fn new(task: Task, schedule: Schedule, zone: TimeZone, is_claimed: bool) -> Self {
        let limit = if is_claimed { task.catch_up } else { task.catch_up.min(UNCLAIMED) };
        let status = Periodic { name: task.name.clone(), ..Periodic::default() };
        Self { task, schedule, zone, limit, until: None, settled: Timestamp::MIN, status }
    }

    pub(super) fn is_too_late(&self, at: Timestamp, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(at)).is_ok_and(|late| late > self.limit)
    }

    fn take(&mut self, task: usize, now: Timestamp, turn: &mut Turn) {
        let Some(until) = self.until else { return };
        if until >= now {
            if until.duration_since(now) > PUT_BACK {
                self.until = Some(now);
            }
            return;
        }
        let (mut due, mut missed) = (VecDeque::new(), None::<Missed>);
        let mut miss = |at| missed = Some(missed.map_or(Missed::one(at), |missed| Missed { count: missed.count + 1, last: at, ..missed }));
        let mut at = until.max(now.checked_sub(FURTHEST).unwrap_or(until));
        while let Some(next) = self.schedule.next(at, &self.zone).filter(|next| *next <= now) {
            at = next;
            if self.is_too_late(at, now) {
                if at > self.settled {
                    miss(at);
                }
                continue;
            }
            due.push_back(Due { task, at });
            if due.len() > MOST {
                due.pop_front().into_iter().filter(|due| due.at > self.settled).for_each(|due| miss(due.at));
            }
        }
        self.until = Some(now);
        turn.due.extend(due);
        turn.missed.extend(missed.map(|missed| (task, missed)));
    }

    fn next(&self) -> Option<Timestamp> {
        self.schedule.next(self.until?, &self.zone)
    }
}

impl Timetable {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self(entries)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn entry(&self, task: usize) -> &Entry {
        &self.0[task]
    }

    /// Whether there is a task of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.task.name == name)
    }

    /// Returns nothing until the times of each task begin again.
    pub(super) fn wait(&mut self) {
        self.0.iter_mut().for_each(|entry| entry.until = None);
    }

    /// Makes the times of a task count from here on; times until `settled` do not count as missed.
    pub(super) fn begin(&mut self, task: usize, from: Timestamp, settled: Timestamp) {
        let entry = &mut self.0[task];
        (entry.until, entry.settled) = (Some(from), settled);
    }

    /// What has come due by now, and was not returned before.
    pub(super) fn take(&mut self, now: Timestamp) -> Turn {
        let mut turn = Turn::default();
        self.0.iter_mut().enumerate().for_each(|(task, entry)| entry.take(task, now, &mut turn));
        turn
    }

    /// The next due time of any task.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(Entry::next).min()
    }

    pub(super) fn status(&self) -> Vec<Periodic> {
        let told = |entry: &Entry| Periodic { next: entry.next().map(|next| next.to_string()), ..entry.status.clone() };
        self.0.iter().map(told).collect()
    }

    pub(super) fn status_of(&mut self, task: usize) -> &mut Periodic {
        &mut self.0[task].status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-30T{text}Z").parse().unwrap()
    }

    fn timetable(schedule: &str, catch_up: u64, is_claimed: bool) -> Timetable {
        let catch_up = Duration::from_secs(catch_up);
        let task = Task { name: "a".into(), schedule: schedule.into(), time_zone: "UTC".into(), path: "/a".into(), catch_up };
        Timetable::new(vec![Entry::new(task, Schedule::parse(schedule).unwrap(), TimeZone::UTC, is_claimed)])
    }

    fn due(turn: &Turn) -> Vec<String> {
        turn.due.iter().map(|due| due.at.to_string()[11..16].to_owned()).collect()
    }

    #[test]
    fn nothing_is_due_before_it_is_known_where_a_task_begins() {
        let mut table = timetable("* * * * *", 300, true);
        assert_eq!((table.take(at("12:00:00")), table.next()), (Turn::default(), None));
        table.begin(0, at("12:00:00"), at("12:00:00"));
        assert_eq!((table.take(at("12:00:59")), table.next()), (Turn::default(), Some(at("12:01:00"))));
        assert_eq!(due(&table.take(at("12:01:00"))), ["12:01"]);
        assert_eq!(table.take(at("12:01:01")), Turn::default(), "once");
    }

    #[test]
    fn what_was_slept_through_is_caught_up_within_the_limit_and_the_rest_is_told() {
        let mut table = timetable("*/10 * * * *", 1800, true);
        table.begin(0, at("10:00:00"), at("10:15:00"));
        let turn = table.take(at("12:05:00"));
        assert_eq!(due(&turn), ["11:40", "11:50", "12:00"]);
        assert_eq!(turn.missed, [(0, Missed { count: 8, first: at("10:20:00"), last: at("11:30:00") })]);
    }

    #[test]
    fn no_more_than_a_hundred_are_caught_up() {
        let mut table = timetable("* * * * *", 86_400, true);
        table.begin(0, at("00:00:00"), at("00:00:00"));
        let turn = table.take(at("12:00:30"));
        assert_eq!((turn.due.len(), turn.due[99].at), (MOST, at("12:00:00")));
        assert_eq!(turn.missed[0].1.count, 720 - 100);
    }

    /// Regression: times that were settled before the worker started were reported as missed.
    #[test]
    fn of_more_than_a_hundred_those_that_were_settled_are_not_told() {
        let mut table = timetable("* * * * *", 86_400, true);
        table.begin(0, at("09:45:00"), at("10:00:00"));
        let turn = table.take(at("12:00:30"));
        assert_eq!(turn.due.len(), MOST);
        assert_eq!(turn.missed, [(0, Missed { count: 20, first: at("10:01:00"), last: at("10:20:00") })]);
    }

    #[test]
    fn without_claims_nothing_is_sent_that_sqs_may_not_know_any_more() {
        let mut table = timetable("* * * * *", 300, false);
        table.begin(0, at("12:00:00"), at("12:00:00"));
        assert_eq!(due(&table.take(at("12:05:30"))), ["12:02", "12:03", "12:04", "12:05"]);
    }

    #[test]
    fn a_clock_that_was_set_back_counts_again() {
        let mut table = timetable("*/10 * * * *", 300, true);
        table.begin(0, at("12:05:00"), at("12:05:00"));
        assert_eq!(due(&table.take(at("12:10:00"))), ["12:10"]);
        assert_eq!(table.take(at("12:09:30")), Turn::default(), "by a little");
        assert_eq!(table.take(at("12:10:01")), Turn::default());
        assert_eq!(table.take(at("11:00:00")), Turn::default(), "by an hour");
        assert_eq!(due(&table.take(at("11:10:00"))), ["11:10"]);
    }
}
