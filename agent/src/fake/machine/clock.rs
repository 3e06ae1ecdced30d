//! The clock of a machine in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::Clock;

/// Starts in November 2026 and advances with tokio's clock.
#[async_trait(?Send)]
impl Clock for FakeMachine {
    fn now(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::constant(1_793_491_200, 0);
        let elapsed = jiff::SignedDuration::try_from(self.elapsed()).unwrap_or_default();
        start.checked_add(elapsed).unwrap_or(start)
    }

    fn elapsed(&self) -> Duration {
        self.0.switched_on.elapsed()
    }

    fn passed(&self) -> Duration {
        self.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.alive().await;
        tokio::time::sleep(duration).await;
        self.alive().await;
    }

    async fn rest(&self, duration: Duration) {
        self.sleep(duration).await;
    }
}
