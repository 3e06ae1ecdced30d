//! A recorded request with no visible effect yet: it may still reach AWS, or its sender may have been killed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::deployment::record::{Ordered, Record};

/// How far the clock that wrote the record may differ from AWS's clock. AWS refuses requests that differ by more.
pub(super) const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// How long a request may take to arrive: four attempts of up to 25 seconds each, with pauses.
pub(super) const LATE: Duration = Duration::from_secs(2 * 60);

/// Maximum age of a recorded request when it is sent. Others wait for it for [`LATE`], which covers only the time in
/// transit.
const FRESH: Duration = Duration::from_secs(15);

/// Returns whether a recorded request may still be sent. The machine may have been asleep, and a monotonic clock may
/// stop then.
pub(super) fn is_fresh(record: &Record, since: Instant) -> bool {
    let age = |ordered: &Ordered| Duration::try_from(Timestamp::now().duration_since(ordered.at)).unwrap_or_default();
    since.elapsed() <= FRESH && record.ordered.as_ref().map(age).unwrap_or_default() <= FRESH
}

/// The request being waited for, and since when.
#[derive(Debug, Default)]
pub(super) struct Late(Option<(Ordered, Instant)>);

impl Late {
    /// Returns whether a request may still arrive. The timestamp in the record is trusted only within [`SKEW`].
    pub(super) fn may_arrive(&mut self, ordered: &Ordered) -> bool {
        let since = match &self.0 {
            Some((known, since)) if known == ordered => *since,
            _ => self.0.insert((ordered.clone(), Instant::now())).1,
        };
        let is_old = SignedDuration::try_from(LATE).is_ok_and(|late| Timestamp::now().duration_since(ordered.at) > SKEW + late);
        since.elapsed() < LATE && !is_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::record;

    fn ordered(at: Timestamp, times: u32) -> Ordered {
        Ordered { token: "ingot-7-release-ann-1".into(), at, times }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_awaited_as_long_as_it_may_take() {
        let (mut late, at) = (Late::default(), Timestamp::now());
        assert!(late.may_arrive(&ordered(at, 1)));
        tokio::time::advance(LATE - Duration::from_secs(1)).await;
        assert!(late.may_arrive(&ordered(at, 1)) && late.may_arrive(&ordered(at, 2)), "it is ordered again");
        tokio::time::advance(LATE).await;
        assert!(!late.may_arrive(&ordered(at, 2)));
        let long_ago = at - SKEW - SignedDuration::from_mins(3);
        assert!(!late.may_arrive(&ordered(long_ago, 1)), "of somebody who was killed in the morning");
    }
    #[tokio::test(start_paused = true)]
    async fn a_stale_request_is_not_sent() {
        let (since, now) = (Instant::now(), Timestamp::now());
        let ordered = |at| record().order("ingot-7-release-ann-1", at);
        assert!(is_fresh(&ordered(now), since) && is_fresh(&ordered(now + SignedDuration::from_secs(60)), since), "clocks differ");
        assert!(!is_fresh(&ordered(now - SignedDuration::from_secs(16)), since), "the machine has slept");
        tokio::time::advance(FRESH + Duration::from_secs(1)).await;
        assert!(!is_fresh(&ordered(now), since));
    }
}
