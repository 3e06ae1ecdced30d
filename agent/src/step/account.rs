//! What is known about a boot while it runs, for the steps that report it to others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::aws::s3::Upload;

/// How long signals wait for the evidence of a failure.
const EVIDENCE: Duration = Duration::from_secs(5);

/// The same if a lifecycle hook is known to wait long enough, as long as S3 is making progress.
const EVIDENCE_BEFORE_HOOK: Duration = Duration::from_secs(10);

/// Evidence takes at most this fraction of the time that is left: one third.
const SHARE: u32 = 3;

/// A boot as it is now.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// RFC 3339, in UTC.
    pub(crate) began: String,
    pub(crate) instance: String,
    /// As JSON, without secrets.
    pub(crate) report: String,
    /// The failure of a boot that is over and did not succeed.
    pub(crate) failure: Option<String>,
    /// Why some secrets of the document were not read.
    pub(crate) unread: Option<String>,
}

/// How long signals of a failure wait for its evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Whatever S3 does.
    pub(crate) surely: Duration,
    /// If S3 is making progress.
    pub(crate) longest: Duration,
}

impl Held {
    /// `hook` is how long a hook still waits, and `left` what the boot or the signal has left, if they are known.
    pub(crate) fn of(hook: Option<Duration>, left: Option<Duration>) -> Self {
        let longest = if hook.is_some() { EVIDENCE_BEFORE_HOOK } else { EVIDENCE };
        let longest = hook.into_iter().chain(left).map(|left| left / SHARE).fold(longest, Duration::min);
        Self { surely: longest.min(EVIDENCE), longest }
    }
}

/// How long others wait for this boot, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Until when each lifecycle hook waits, on the clock of the boot.
    hooks: RefCell<BTreeMap<Address, Duration>>,
    /// Why signals report a failure at the end of a successful boot: load balancers consider this instance unhealthy.
    /// The flag says whether its evidence has had its time.
    unhealthy: RefCell<BTreeMap<Address, (String, bool)>>,
    /// Whether the boot is over except for its signals.
    telling: Cell<bool>,
    /// The end of the time for signals, once the deadline of the boot has passed.
    late: Cell<Option<Duration>>,
    /// The state of the upload of evidence to S3.
    pub(crate) upload: Upload,
}

impl Waiting {
    /// Records that a hook waits until then.
    pub(crate) fn hook_lasts(&self, hook: &Address, until: Duration) {
        self.hooks.borrow_mut().insert(hook.clone(), until);
    }

    /// Records that a hook no longer waits.
    pub(crate) fn hook_is_over(&self, hook: &Address) {
        self.hooks.borrow_mut().remove(hook);
    }

    /// How long the first hook to time out still waits. `None` if no hook is known to wait.
    pub(crate) fn hook_left(&self, now: Duration) -> Option<Duration> {
        self.hooks.borrow().values().map(|until| until.saturating_sub(now)).filter(|left| !left.is_zero()).min()
    }

    /// Marks the result of the boot as known.
    pub(crate) fn tell(&self) {
        self.telling.set(true);
    }

    pub(crate) fn is_telling(&self) -> bool {
        self.telling.get()
    }

    /// Records why a signal reports a failure at the end of a successful boot, or that it no longer does. Returns
    /// whether its evidence has had its time.
    pub(crate) fn set_unhealthy(&self, signal: &Address, reason: Option<String>) -> bool {
        let mut unhealthy = self.unhealthy.borrow_mut();
        let had_time = unhealthy.remove(signal).is_some_and(|(_, had_time)| had_time);
        if let Some(reason) = reason {
            unhealthy.insert(signal.clone(), (reason, had_time));
        }
        had_time
    }

    /// Records that the evidence of that failure has had its time.
    pub(crate) fn has_testified(&self, signal: &Address) {
        if let Some((_, had_time)) = self.unhealthy.borrow_mut().get_mut(signal) {
            *had_time = true;
        }
    }

    pub(crate) fn unhealthy(&self) -> Option<String> {
        self.unhealthy.borrow().values().next().map(|(reason, _)| reason.clone())
    }

    /// Marks the deadline of the boot as passed: until `until`, there is time for signals, and for nothing else.
    pub(crate) fn be_late(&self, until: Duration) {
        self.late.set(Some(until));
    }

    pub(crate) fn is_late(&self) -> bool {
        self.late.get().is_some()
    }

    /// The time left for signals. `None` before the deadline.
    pub(crate) fn left(&self, now: Duration) -> Option<Duration> {
        self.late.get().map(|until| until.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_takes_a_third_of_what_is_left_at_the_most() {
        let held = |hook: Option<u64>, left: Option<u64>| {
            let held = Held::of(hook.map(Duration::from_secs), left.map(Duration::from_secs));
            (held.surely.as_secs(), held.longest.as_secs())
        };
        assert_eq!(held(None, None), (5, 5));
        assert_eq!(held(Some(300), None), (5, 10));
        assert_eq!(held(Some(18), None), (5, 6));
        assert_eq!(held(Some(9), None), (3, 3));
        assert_eq!(held(None, Some(20)), (5, 5));
        assert_eq!(held(Some(300), Some(21)), (5, 7));
        assert_eq!(held(Some(0), None), (0, 0));
    }
}
