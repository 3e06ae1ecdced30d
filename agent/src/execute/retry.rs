//! When to try again: full jitter, growing, within a deadline.
//!
//! Full jitter (a pause anywhere between nothing and the present limit) spreads a fleet that was throttled together
//! over the whole pause, so that it is not throttled together again.
//!
//! Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

/// The limit of the first pause. A single instance that meets one refused call loses at most this much.
const FIRST: Duration = Duration::from_millis(100);

/// Quotas of AWS are per second; longer pauses than this only make a boot longer.
const LONGEST: Duration = Duration::from_secs(20);

/// Draws the pause before try number `attempt` (the first retry is 1).
pub(crate) fn pause(attempt: u32, asked_for: Option<Duration>) -> Duration {
    let limit = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST);
    // What the other side asks for is a floor, and the jitter comes on top: it told the whole fleet the same.
    asked_for.unwrap_or_default() + limit.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread_over_the_whole_of_it() {
        for attempt in 1..40 {
            let limit = Duration::from_millis(100 * (1 << (attempt - 1).min(16))).min(LONGEST);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(attempt, None)).collect();
            assert!(pauses.iter().all(|pause| *pause <= limit), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < limit / 4) && pauses.iter().any(|pause| *pause > limit * 3 / 4), "{attempt}");
        }
    }

    #[test]
    fn waits_at_least_as_long_as_it_was_asked_to() {
        assert!(pause(1, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
    }
}
