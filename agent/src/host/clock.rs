//! Time, and [`SystemClock`]: on tokio's timer, so that tests may pause it.

use std::time::Duration;

use async_trait::async_trait;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use tokio::time::Instant;

use super::resident;

/// Time. Durations come from the monotonic clock; the wall clock is only for people.
#[async_trait(?Send)]
pub(crate) trait Clock {
    fn now(&self) -> jiff::Timestamp;
    /// Since some fixed moment of this process.
    fn elapsed(&self) -> Duration;
    /// The same with the time that the machine was suspended, in which no timer goes on.
    fn passed(&self) -> Duration;
    async fn sleep(&self, duration: Duration);
    /// As [`sleep`](Clock::sleep), until a signal comes at the latest; nothing else of this process goes on in the meantime, and as
    /// little of it as possible is in memory.
    async fn rest(&self, duration: Duration);
}

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
    /// How long the machine had been suspended by then.
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
        jiff::Timestamp::now()
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
        // By the kernel alone: the way through the runtime, down to its wait and up again, would map most of the program again.
        // A signal ends it, on this thread: it is the first of the process.
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &duration.into());
    }
}

/// How long this machine has been suspended since it began.
fn suspended() -> Duration {
    let time = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    // The one that counts more is read first: what passes between the two does not count.
    let all = time(ClockId::CLOCK_BOOTTIME);
    all.saturating_sub(time(ClockId::CLOCK_MONOTONIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_as_long_as_it_says() {
        let clock = SystemClock::start();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.elapsed().as_secs(), 3600);
        assert!(clock.passed() - clock.elapsed() < Duration::from_millis(100), "nothing was suspended");
    }
}
