//! The progress of a long read: how much is done, how fast it is, and how long it will take.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: f64 = (1u64 << 20) as f64;
const GIB: f64 = (1u64 << 30) as f64;

/// The period over which the rate is measured: long enough to be steady, short enough to show a change.
const WINDOW: Duration = Duration::from_secs(10);

/// The least interval between two amounts. Faster updates could not be seen.
const EVERY: Duration = Duration::from_millis(500);

/// Bytes done, out of the total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amount {
    pub(crate) done_bytes: u64,
    /// The total, as far as it is known by now.
    pub(crate) of_bytes: u64,
    pub(crate) bytes_per_second: u64,
    /// `None` while it cannot be estimated.
    pub(crate) left_seconds: Option<u64>,
}

/// As in "reading 1.2 of 4.0 GiB, 310 MiB/s, 9 s left".
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = if self.of_bytes as f64 >= GIB { (GIB, "GiB") } else { (MIB, "MiB") };
        let rate = self.bytes_per_second as f64 / MIB;
        write!(f, "{:.1} of {:.1} {name}, {rate:.0} MiB/s", self.done_bytes as f64 / unit, self.of_bytes as f64 / unit)?;
        match self.left_seconds {
            None => Ok(()),
            Some(left @ ..120) => write!(f, ", {left} s left"),
            Some(left @ ..7200) => write!(f, ", {} min left", left / 60),
            Some(left) => write!(f, ", {} h left", left / 3600),
        }
    }
}

/// Computes amounts from the bytes read so far and the time.
#[derive(Debug)]
pub(crate) struct Gauge {
    seen: VecDeque<(Duration, u64)>,
    last: Option<Duration>,
}

impl Gauge {
    /// Starts at zero bytes.
    pub(crate) fn begin(now: Duration) -> Self {
        Self { seen: VecDeque::from([(now, 0)]), last: None }
    }

    /// Takes in the bytes read so far. Returns an amount, unless the last one was returned just before.
    pub(crate) fn note(&mut self, now: Duration, done_bytes: u64, of_bytes: u64) -> Option<Amount> {
        if self.last.is_some_and(|last| now < last + EVERY) && done_bytes < of_bytes {
            return None;
        }
        self.last = Some(now);
        while self.seen.len() > 1 && self.seen.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, done_bytes));
        let (since, before) = self.seen[0];
        let seconds = now.saturating_sub(since).as_secs_f64();
        let rate = if seconds > 0.0 { done_bytes.saturating_sub(before) as f64 / seconds } else { 0.0 };
        let left = (rate >= 1.0).then(|| (of_bytes.saturating_sub(done_bytes) as f64 / rate).ceil() as u64);
        Some(Amount { done_bytes, of_bytes, bytes_per_second: rate as u64, left_seconds: left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_far_how_fast_and_how_long() {
        let seconds = Duration::from_secs_f64;
        let mut gauge = Gauge::begin(seconds(0.0));
        assert_eq!(gauge.note(seconds(0.0), 0, 4 << 30).unwrap().to_string(), "0.0 of 4.0 GiB, 0 MiB/s");
        assert_eq!(gauge.note(seconds(0.1), 1, 4 << 30), None);
        assert_eq!(gauge.note(seconds(2.0), 1 << 30, 4 << 30).unwrap().to_string(), "1.0 of 4.0 GiB, 512 MiB/s, 6 s left");
        // The standstill shows once the faster times are out of the window.
        let mut amount = gauge.note(seconds(4.0), 1 << 30, 4 << 30).unwrap();
        assert_eq!(amount.bytes_per_second, 256 << 20);
        for second in 5..20 {
            amount = gauge.note(Duration::from_secs(second), 1 << 30, 4 << 30).unwrap();
        }
        assert_eq!((amount.bytes_per_second, amount.left_seconds), (0, None));
    }

    #[test]
    fn takes_the_unit_that_fits() {
        let amount = |of_bytes, left| Amount { done_bytes: of_bytes / 2, of_bytes, bytes_per_second: 100 << 20, left_seconds: Some(left) };
        assert_eq!(amount(20 << 20, 1).to_string(), "10.0 of 20.0 MiB, 100 MiB/s, 1 s left");
        assert_eq!(amount(1 << 40, 600).to_string(), "512.0 of 1024.0 GiB, 100 MiB/s, 10 min left");
        assert_eq!(amount(1 << 40, 9000).to_string(), "512.0 of 1024.0 GiB, 100 MiB/s, 2 h left");
    }
}
