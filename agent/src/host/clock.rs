//! Time, and [`SystemClock`]: on tokio's timer, so that tests may pause it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

/// Time. Durations come from the monotonic clock; the wall clock is only for people.
#[async_trait(?Send)]
pub(crate) trait Clock {
    fn now(&self) -> jiff::Timestamp;
    /// Since some fixed moment of this process.
    fn elapsed(&self) -> Duration;
    async fn sleep(&self, duration: Duration);
}

/// The clocks of this machine.
#[derive(Debug)]
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
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

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_as_long_as_it_says() {
        let clock = SystemClock::start();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.elapsed().as_secs(), 3600);
    }
}
