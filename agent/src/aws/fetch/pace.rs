//! One pause for everybody whose requests were refused in one call.
//!
//! Each step tries again by itself. Were each to draw a pause of its own, what was one call of twenty would come back as
//! twenty calls of one, just when the service has asked for fewer.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::Failure;

/// How long before the end of a pause its steps are to come back: timers are late by a millisecond or two, each by another,
/// and who waits in [`Pace::ready`] goes on together with all others.
const EARLY: Duration = Duration::from_millis(20);

/// When a service may be asked again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Pauses since the last call that went well.
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

    /// Takes in how a call ended. What may pass is told when to try again; calls that fail during a pause share it.
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
