//! One common pause for all callers whose requests were refused in one call.
//!
//! Each step retries on its own. If each drew its own pause, one call of twenty would come back as twenty calls of one,
//! just when the service has asked for fewer.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::Failure;

/// How long before the end of a pause its steps should retry. Timers fire a millisecond or two late, each by a
/// different amount; callers that then wait in [`Pace::ready`] all continue at the same time.
const EARLY: Duration = Duration::from_millis(20);

/// When a service may be called again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Pauses since the last successful call.
    pauses: Cell<u32>,
    until: Cell<Option<Instant>>,
}

impl Pace {
    /// Waits for the end of the pause, if there is one.
    pub(super) async fn ready(&self) {
        if let Some(until) = self.until.get() {
            sleep_until(until).await;
        }
    }

    /// Records the outcome of a call. A transient error is given the time of the next try; calls that fail during a
    /// pause share that pause.
    pub(super) fn note<T>(&self, ended: Result<T, AwsError>) -> Result<T, AwsError> {
        match ended {
            Ok(answer) => {
                self.pauses.set(0);
                Ok(answer)
            }
            Err(error) if error.is_transient() => {
                let now = Instant::now();
                let until = self.until.get().filter(|until| *until > now).unwrap_or_else(|| {
                    self.pauses.set(self.pauses.get() + 1);
                    let backoff = if error.kind == AwsErrorKind::Throttled { Backoff::QUOTA } else { Backoff::CALL };
                    now + EARLY + backoff.pause(self.pauses.get(), error.retry_after)
                });
                self.until.set(Some(until));
                Err(AwsError { retry_after: Some((until - now).saturating_sub(EARLY)), paced: true, ..error })
            }
            Err(error) => Err(error),
        }
    }
}
