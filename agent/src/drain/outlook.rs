//! What is known about the end while a drain lasts. Signs that arrive in the meantime change it. Pure.

use std::cell::Cell;
use std::time::Duration;

use jiff::Timestamp;

use super::sign::Sign;

/// The longest time for which a lifecycle hook can be kept waiting.
const LONGEST: Duration = Duration::from_hours(48);

/// Reserve before EC2 takes the machine, because EC2 is not accurate to the second.
const SPARE: Duration = Duration::from_secs(3);

/// How long before the end work in hand must be finished. A little earlier than requests,
/// because giving messages back takes calls to SQS.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// The least time that a unit gets, even if the drain is late: long enough to ask it to stop.
const LEAST: Duration = Duration::from_millis(500);

/// Everything that IMDS says about the end of this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Signs {
    pub(super) terminated: bool,
    pub(super) interrupted: Option<Sign>,
    pub(super) rebalance: Option<Sign>,
}

impl Signs {
    /// The sign to drain for, after the sign `seen`: only a graver one counts, or a later one of the same kind.
    pub(super) fn next(self, seen: Option<Sign>) -> Option<Sign> {
        let is_news = |sign: &Sign| match (seen, *sign) {
            (Some(Sign::Rebalance(seen)), Sign::Rebalance(at)) | (Some(Sign::Interrupted(seen)), Sign::Interrupted(at)) => at > seen,
            (seen, sign) => seen.is_none_or(|seen| sign.gravity() > seen.gravity()),
        };
        self.terminated.then_some(Sign::Terminated).or(self.interrupted).or(self.rebalance).filter(is_news)
    }
}

/// The outlook of one drain. Times are on the monotonic clock, because the wall clock may be set during the drain.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) sign: Sign,
    /// When the drain began, for the record.
    pub(super) began: Timestamp,
    until: Cell<Duration>,
    /// When EC2 takes the machine, if that is known.
    end: Cell<Option<Duration>>,
    /// The gravest sign so far.
    gravest: Cell<Sign>,
}

impl Outlook {
    /// The outlook of a drain that lasts until `until` at most.
    pub(super) fn new(sign: Sign, began: Timestamp, until: Duration) -> Self {
        Self { sign, began, until: Cell::new(until), end: Cell::new(None), gravest: Cell::new(sign) }
    }

    /// The time left for requests at `elapsed`.
    pub(super) fn left(&self, elapsed: Duration) -> Duration {
        self.until.get().saturating_sub(elapsed)
    }

    /// The time left for work in hand at `elapsed`.
    pub(super) fn left_for_work(&self, elapsed: Duration) -> Duration {
        let before_the_end = self.end.get().map(|end| end.saturating_sub(elapsed + GIVEN_BACK));
        before_the_end.unwrap_or(Duration::MAX).min(self.left(elapsed))
    }

    /// How long the next of `count` units may take to stop, so that each of them is asked before EC2 takes the machine.
    pub(super) fn share(&self, elapsed: Duration, count: u32) -> Duration {
        let left = |end: Duration| end.saturating_sub(elapsed + SPARE) / count.max(1);
        self.end.get().map_or(LONGEST, left).max(LEAST)
    }

    /// Notes that EC2 takes the machine at the time of this sign, if the sign has one.
    pub(super) fn ends_by(&self, sign: Sign, now: Timestamp, elapsed: Duration) {
        if let Sign::Interrupted(at) = sign {
            let end = elapsed + Duration::try_from(at.duration_since(now)).unwrap_or_default();
            self.end.set(Some(self.end.get().map_or(end, |known| known.min(end))));
        }
    }

    /// Limits the time of the drain to `until`.
    pub(super) fn shorten(&self, until: Duration) {
        self.until.set(self.until.get().min(until));
    }

    /// Whether the lifecycle hook waits, now or soon.
    pub(super) fn is_terminated(&self) -> bool {
        self.gravest.get() == Sign::Terminated
    }

    /// The gravest sign so far: the one by which the drain began, or a later one.
    pub(super) fn gravest(&self) -> Sign {
        self.gravest.get()
    }

    /// Takes in what IMDS says at `now`, which is `elapsed` on the monotonic clock. Returns the signs that are new.
    pub(super) fn take(&self, signs: Signs, now: Timestamp, elapsed: Duration) -> Vec<Sign> {
        let mut new = Vec::new();
        if let Some(sign) = signs.interrupted {
            if sign.gravity() > self.gravest.get().gravity() {
                self.gravest.set(sign);
            }
            let until = elapsed + sign.time(now, self.left(elapsed));
            self.ends_by(sign, now, elapsed);
            // Reading two clocks, and the rounding of a notice to seconds, do not count as less time.
            if until + Duration::from_secs(2) < self.until.get() {
                self.shorten(until);
                new.push(sign);
            }
        }
        if signs.terminated && self.gravest.replace(Sign::Terminated) != Sign::Terminated {
            new.push(Sign::Terminated);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_secs(600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_graver_sign_is_another() {
        let interrupted = Sign::Interrupted(at("2026-11-30T15:02:00Z"));
        let rebalance = Sign::Rebalance(at("2026-11-30T15:00:00Z"));
        let all = Signs { terminated: true, interrupted: Some(interrupted), rebalance: Some(rebalance) };
        let alive = Signs { terminated: false, ..all };
        let only = Signs { interrupted: None, ..alive };
        assert_eq!(
            [Signs::default(), all, alive, only].map(|signs| signs.next(None)),
            [None, Some(Sign::Terminated), Some(interrupted), Some(rebalance)]
        );
        assert_eq!([all, alive, only].map(|signs| signs.next(Some(rebalance))), [Some(Sign::Terminated), Some(interrupted), None]);
        assert_eq!([all, alive].map(|signs| signs.next(Some(interrupted))), [Some(Sign::Terminated), None]);
        assert_eq!(only.next(Some(Sign::ByHand)), Some(rebalance));
        assert_eq!(all.next(Some(Sign::Terminated)), None);
        let earlier = at("2026-11-30T14:00:00Z");
        assert_eq!(only.next(Some(Sign::Rebalance(earlier))), Some(rebalance));
        assert_eq!(alive.next(Some(Sign::Interrupted(earlier))), Some(interrupted));
    }

    #[test]
    fn an_interruption_in_a_longer_drain_shortens_it() {
        let outlook = Outlook::new(Sign::Rebalance(Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH, WHOLE);
        let interrupted = Sign::Interrupted(at("2026-11-30T15:02:00Z"));
        let signs = Signs { interrupted: Some(interrupted), ..Signs::default() };
        let elapsed = Duration::from_secs(100);
        assert_eq!(outlook.take(signs, at("2026-11-30T15:00:00Z"), elapsed), [interrupted]);
        assert_eq!(outlook.left(elapsed).as_secs(), 105);
        // The sign is read again and again. Setting the wall clock in the meantime does not extend the time.
        assert_eq!(outlook.take(signs, at("2026-11-30T14:00:00Z"), elapsed), []);
        assert_eq!(outlook.left(elapsed).as_secs(), 105);
    }

    #[test]
    fn terminated_in_any_drain_has_the_hook_wait() {
        let outlook = Outlook::new(Sign::ByHand, Timestamp::UNIX_EPOCH, WHOLE);
        let signs = Signs { terminated: true, ..Signs::default() };
        assert!(!outlook.is_terminated());
        assert_eq!(outlook.take(signs, at("2026-11-30T15:00:00Z"), Duration::ZERO), [Sign::Terminated]);
        assert_eq!(outlook.take(signs, at("2026-11-30T15:00:00Z"), Duration::ZERO), []);
        assert!(outlook.is_terminated() && outlook.left(Duration::ZERO) == WHOLE);
    }

    /// A unit that hangs does not keep the next from being asked to stop.
    #[test]
    fn units_share_what_an_interruption_leaves() {
        let (outlook, now) = (Outlook::new(Sign::Terminated, Timestamp::UNIX_EPOCH, WHOLE), at("2026-11-30T15:00:00Z"));
        let seconds = |elapsed, count| outlook.share(Duration::from_secs(elapsed), count).as_secs_f64();
        assert_eq!((seconds(600, 3), outlook.left_for_work(Duration::ZERO)), (48. * 3600., WHOLE));
        outlook.ends_by(Sign::Interrupted(at("2026-11-30T15:02:00Z")), now, Duration::ZERO);
        assert_eq!([seconds(105, 3), seconds(109, 2), seconds(113, 1), seconds(130, 1)], [4., 4., 4., 0.5]);
        assert_eq!([95, 101].map(|elapsed| outlook.left_for_work(Duration::from_secs(elapsed)).as_secs()), [5, 0]);
    }
}
