//! The clock of a machine that tests suspend.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::host::Clock;
use crate::host::clock::SystemClock;

/// Clones are the same clock.
#[derive(Clone)]
pub(crate) struct SuspendedClock {
    clock: Arc<SystemClock>,
    slept_ms: Arc<AtomicU64>,
}

impl SuspendedClock {
    pub(crate) fn start() -> Self {
        Self { clock: Arc::new(SystemClock::start()), slept_ms: Arc::default() }
    }

    /// Sets for how long the machine has been suspended in all.
    pub(crate) fn set_slept(&self, duration: Duration) {
        self.slept_ms.store(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[async_trait(?Send)]
impl Clock for SuspendedClock {
    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn passed(&self) -> Duration {
        self.elapsed() + Duration::from_millis(self.slept_ms.load(Ordering::Relaxed))
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    async fn rest(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
