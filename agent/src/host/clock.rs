//! Time, and [`SystemClock`], which is based on tokio's timer so that tests can pause it.

use std::time::Duration;

use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::{calls, resident};

/// Time. Durations come from the monotonic clock; the wall clock is for display only.
#[async_trait(?Send)]
pub(crate) trait Clock {
    fn now(&self) -> jiff::Timestamp;
    /// Time since a fixed moment of this process, without time spent suspended.
    fn elapsed(&self) -> Duration;
    /// The same including the time that the machine was suspended, during which timers do not advance.
    fn passed(&self) -> Duration;
    async fn sleep(&self, duration: Duration);
    /// As [`sleep`](Clock::sleep), but ends early on a signal. Nothing else in this process runs meanwhile, and as
    /// little of it as possible stays in memory.
    async fn rest(&self, duration: Duration);
}

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
    /// How long the machine had been suspended at `start`.
    suspended: Duration,
}

impl SystemClock {
    /// Starts counting now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), suspended: suspended() }
    }
}

#[async_trait(?Send)]
impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        // `Timestamp::now` is not used, for the reason given at `moment`.
        jiff::Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn passed(&self) -> Duration {
        self.elapsed() + suspended().saturating_sub(self.suspended)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn rest(&self, duration: Duration) {
        resident::release();
        // Done by the kernel alone: a sleep through the runtime would map most of the program into memory again. A
        // signal interrupts it because it runs on the first thread of the process, which receives the signals.
        calls::rest(duration);
    }
}

/// Parses a time as AWS and reports write it: `2026-12-01T17:15:35Z`, optionally with a fraction of a second.
///
/// jiff's parser is not used because it would add the text of all of jiff's errors: 40 kB.
pub(crate) fn moment(text: &str) -> Option<jiff::Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let small = |number: i16| i8::try_from(number).ok();
    let nanosecond = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let at = jiff::civil::DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, nanosecond).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(at).ok()
}

/// Parses three numbers without signs.
fn numbers(text: &str, separator: char) -> Option<[i16; 3]> {
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split(separator).map(|part| Some(part).filter(is_number)?.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// How long this machine has been suspended since it was booted.
fn suspended() -> Duration {
    // The larger clock is read first, so that the time between the two reads is not counted.
    let all = calls::since_boot().unwrap_or_default();
    all.saturating_sub(clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_what_jiff_reads() {
        for text in ["2026-12-01T17:15:35Z", "2024-02-29T00:00:00.25Z", "1969-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z"] {
            let expected: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(moment(text), Some(expected), "{text}");
            assert_eq!(moment(&expected.to_string()), Some(expected), "{text}");
        }
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T17:15:35",
            "2026-12-01T17:15:35+01:00",
            "2026-13-01T17:15:35Z",
            "2026-02-29T17:15:35Z",
            "2026-12-01T25:15:35Z",
            "2026-12-01T17:15Z",
            "2026-12-01T17:15:35:1Z",
            "2026-12-01T17:15:+5Z",
            "2026-12-01T17:15:35.xZ",
            "2026-12-01T17:15:35.äääääZ",
            "99999-12-01T17:15:35Z",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sleeps_as_long_as_it_says() {
        let clock = SystemClock::start();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.elapsed().as_secs(), 3600);
        assert!(clock.passed() - clock.elapsed() < Duration::from_millis(100), "nothing was suspended");
    }
}
