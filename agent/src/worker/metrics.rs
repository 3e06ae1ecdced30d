//! The metrics that are sent to CloudWatch once a minute, if the document asks for them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::status::{Doing, Status};
use crate::aws::cloudwatch::Metric;

pub(super) const NAMESPACE: &str = "ingot/Worker";

/// What was sent to CloudWatch. One call at a time, so that nothing is counted twice.
pub(super) struct Measured {
    last: RefCell<Status>,
    is_under_way: Cell<bool>,
}

impl Measured {
    pub(super) fn since(begun: Status) -> Self {
        Self { last: RefCell::new(begun), is_under_way: Cell::default() }
    }

    /// The metrics for a call that begins now. `None` while another one is in flight: the next call
    /// includes what this one leaves out.
    pub(super) fn begin(&self, now: &Status, time: Timestamp) -> Option<Vec<Metric>> {
        (!self.is_under_way.replace(true)).then(|| metrics(&self.last.borrow(), now, time))
    }

    /// Notes that the call has ended. `now` is the status that it sent, if it succeeded.
    pub(super) fn end(&self, now: Option<Status>) {
        self.is_under_way.set(false);
        if let Some(now) = now {
            *self.last.borrow_mut() = now;
        }
    }
}

/// The metrics of a minute: counts since `before`, and values at its end.
fn metrics(before: &Status, now: &Status, time: Timestamp) -> Vec<Metric> {
    let count = |name, value: u64| Metric { name, value: value as f64, unit: "Count" };
    let age = now.oldest_sent_ms.map_or(0, |sent| time.as_millisecond().saturating_sub(sent).max(0));
    vec![
        count("Handled", now.handled - before.handled),
        count("Failed", now.failures() - before.failures()),
        count("Expired", now.expired - before.expired),
        count("InHand", now.in_hand as u64),
        // As `ElasticBeanstalk/SQSD Health`: 1 if messages are taken.
        count("Health", u64::from(now.doing == Doing::Working)),
        Metric { name: "OldestMessageInHand", value: age as f64 / 1e3, unit: "Seconds" },
    ]
}

/// The dimensions of the metrics.
pub(super) fn dimensions<'a>(worker: &'a str, queue: &'a str) -> BTreeMap<&'static str, &'a str> {
    BTreeMap::from([("Queue", queue), ("Worker", worker)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_the_minute_and_ages_of_now() {
        let before = Status { handled: 10, failed: BTreeMap::from([("500".into(), 2)]), ..Status::default() };
        let now = Status {
            handled: 17,
            failed: BTreeMap::from([("500".into(), 3), ("refused".into(), 1)]),
            in_hand: 4,
            doing: Doing::Working,
            oldest_sent_ms: Some(1_500),
            ..Status::default()
        };
        let told: Vec<_> = metrics(&before, &now, Timestamp::from_millisecond(4_000).unwrap())
            .into_iter()
            .map(|metric| (metric.name, metric.value))
            .collect();
        let expected =
            [("Handled", 7.0), ("Failed", 2.0), ("Expired", 0.0), ("InHand", 4.0), ("Health", 1.0), ("OldestMessageInHand", 2.5)];
        assert_eq!(told, expected);
    }

    /// Regression: when a call took 90 seconds, it and the next one both sent the counts of the first minute.
    #[test]
    fn what_takes_longer_than_a_minute_is_told_once() {
        let measured = Measured::since(Status::default());
        let at = |minute: u64| Status { handled: 10 * minute, ..Status::default() };
        let begin = |minute| measured.begin(&at(minute), Timestamp::UNIX_EPOCH).map(|told| told[0].value);
        assert_eq!((begin(1), begin(2)), (Some(10.0), None));
        measured.end(Some(at(1)));
        assert_eq!((begin(3), begin(4)), (Some(20.0), None));
        measured.end(None);
        assert_eq!(begin(5), Some(40.0), "what was not told is told later");
        measured.end(Some(at(5)));
        assert_eq!(begin(6), Some(10.0));
    }
}
