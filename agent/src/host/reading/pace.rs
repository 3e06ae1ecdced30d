//! Limits the rate of reading. Pure: the caller waits.

use std::time::Duration;

const MIB: f64 = (1u64 << 20) as f64;

/// Schedules the start of reads so that the rate is not exceeded. Time lost in a stall is not caught up.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    next: Duration,
}

impl Pace {
    pub(super) fn new(mib_s: u64) -> Self {
        Self { bytes_per_second: mib_s as f64 * MIB, next: Duration::ZERO }
    }

    /// How long to wait before `bytes` may be read.
    pub(super) fn take(&mut self, now: Duration, bytes: u64) -> Duration {
        let begin = self.next.max(now);
        self.next = begin + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        begin - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_no_faster_than_it_is_told() {
        let mut pace = Pace::new(10);
        let mut now = Duration::ZERO;
        for _ in 0..101 {
            now += pace.take(now, 1 << 20);
        }
        assert_eq!(now.as_millis(), 10_000);
    }

    #[test]
    fn does_not_make_up_for_a_standstill() {
        let mut pace = Pace::new(1);
        assert_eq!(pace.take(Duration::ZERO, 1 << 20), Duration::ZERO);
        assert_eq!(pace.take(Duration::from_secs(60), 1 << 20), Duration::ZERO);
        assert_eq!(pace.take(Duration::from_secs(60), 1 << 20), Duration::from_secs(1));
    }
}
