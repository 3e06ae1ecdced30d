//! How long calls to SQS pause after a failure. No failure ends a worker: what is denied may be allowed a minute later,
//! and a deleted queue may be created again.

use std::time::Duration;

use crate::aws::sqs::Rejected;
use crate::aws::{AwsError, AwsErrorKind};
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure as _};

/// The longest pause that SQS may ask for.
const ASKED_FOR: Duration = Duration::from_secs(60);

/// The pause of calls of one kind.
#[derive(Debug, Default)]
pub(super) struct Pause {
    tries: u32,
    /// When the last failure was reported.
    failed: Duration,
    until: Duration,
    /// The last failure, which is not logged again.
    told: String,
}

impl Pause {
    /// Starts a pause after the failure of a call that was made at `asked`, and logs it. Calls that were in flight at
    /// the same time fail together, and count once.
    pub(super) fn failed(&mut self, error: &AwsError, asked: Duration, now: Duration) {
        if self.tries > 0 && asked < self.failed {
            return;
        }
        self.tries += 1;
        self.failed = now;
        let backoff = match error.kind {
            AwsErrorKind::Throttled => Backoff::QUOTA,
            _ if error.is_transient() => Backoff::CALL,
            _ => Backoff::REFUSED,
        };
        self.until = now + backoff.pause(self.tries, error.retry_after.map(|after| after.min(ASKED_FOR)));
        let what = Explanation::of(error).to_string();
        if self.told != what {
            log::warn!("{what}");
            self.told = what;
        }
    }

    /// Takes in the answer to a batch: pauses if SQS asks for some entries again.
    pub(super) fn answered(&mut self, rejected: &[Rejected], now: Duration) {
        let Some(again) = rejected.iter().find(|rejected| rejected.transient) else { return self.worked() };
        self.tries += 1;
        (self.failed, self.until) = (now, now + Backoff::CALL.pause(self.tries, None));
        self.told = format!("SQS rejected part of a batch: {}", again.code);
    }

    pub(super) fn worked(&mut self) {
        if !self.told.is_empty() {
            log::info!("SQS answers again, after {} tries", self.tries);
        }
        *self = Self::default();
    }

    /// The end of the pause. `None` if there is none.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        (now < self.until).then_some(self.until)
    }

    /// The reason for the pause. `None` if there is none.
    pub(super) fn why(&self, now: Duration) -> Option<&str> {
        self.rest(now).map(|_| self.told.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::client::call::Call;
    use crate::aws::sqs::SERVICE;

    fn refused(code: &str) -> AwsError {
        Call::new(SERVICE, "ReceiveMessage", "shop-jobs").refused(Some(code), None, Some(400))
    }

    #[test]
    fn a_refusal_rests_longer_than_a_quota_and_what_works_ends_it() {
        let now = Duration::from_secs(100);
        let mut pause = Pause::default();
        assert!(pause.rest(now).is_none() && pause.why(now).is_none());
        pause.failed(&refused("AccessDeniedException"), now, now);
        assert!(pause.rest(now + Duration::from_secs(3)).is_some() && pause.rest(now + Duration::from_secs(7)).is_none());
        assert!(pause.why(now).unwrap().contains("allow sqs:ReceiveMessage on shop-jobs"), "{:?}", pause.why(now));
        assert_eq!(pause.why(now + Duration::from_secs(7)), None, "it says so while it rests");
        pause.failed(&refused("RequestThrottled"), now, now);
        assert!(pause.rest(now + Duration::from_millis(600)).is_some());
        pause.worked();
        assert!(pause.rest(now).is_none());
    }

    #[test]
    fn calls_that_fail_together_count_once() {
        let at = Duration::from_secs;
        let mut pause = Pause::default();
        (0..5).for_each(|n| pause.failed(&refused("RequestThrottled"), at(100), at(101) + Duration::from_millis(n)));
        assert!(pause.rest(at(102)).is_none(), "{:?}", pause.until);
    }

    #[test]
    fn a_rest_that_is_asked_for_has_an_end() {
        let mut pause = Pause::default();
        let error = AwsError { retry_after: Some(Duration::from_secs(3600)), ..refused("RequestThrottled") };
        pause.failed(&error, Duration::ZERO, Duration::ZERO);
        assert!(pause.rest(Duration::from_secs(62)).is_none());
    }
}
