//! How long to wait when AWS has refused a call for its quota.
//!
//! Whoever is refused for a quota shares it with others, often with a whole fleet that booted at the same moment. Nobody
//! knows how many they are, so the pauses grow fast until they are as long as such a queue, and are spread over half of
//! their length; a first one is as short as the time in which a quota refills. Nobody waits before a first try.
//!
//! Measured with a thousand instances in [`laws`](crate): full jitter that doubles from 100 ms makes half as many calls
//! again, and no boot shorter.

use std::time::Duration;

/// The limit of the first pause: a single call that was refused by chance loses at most this much.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The limit of every later one is so many times that of the one before.
const GROWTH: u32 = 3;

/// The limit where a quota refills in a second or two, as those of Parameter Store and Secrets Manager do: a fleet that
/// sleeps for longer leaves it unused.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The limit where a quota holds what refills in twenty seconds, as EC2's do.
///
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
pub(crate) const LONGEST_PAUSE_OF_EC2: Duration = Duration::from_secs(40);

/// Draws the pause after so many tries. What the service asks for comes before it: it told everybody the same.
pub(crate) fn pause(tries: u32, longest: Duration, asked_for: Option<Duration>) -> Duration {
    let limit = FIRST_PAUSE.saturating_mul(GROWTH.saturating_pow(tries.saturating_sub(1))).min(longest);
    asked_for.unwrap_or_default() + limit.mul_f64(0.5 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_spread_over_half_of_it() {
        for (tries, limit) in [(1, 0.5), (2, 1.5), (3, 4.5), (4, 13.5), (5, 20.0), (1_000, 20.0)] {
            let limit = Duration::from_secs_f64(limit);
            let pauses: Vec<Duration> = (0..200).map(|_| pause(tries, LONGEST_PAUSE, None)).collect();
            assert!(pauses.iter().all(|pause| *pause >= limit / 2 && *pause <= limit), "{tries}");
            assert!(pauses.iter().any(|pause| *pause < limit * 5 / 8) && pauses.iter().any(|pause| *pause > limit * 7 / 8), "{tries}");
        }
    }

    #[test]
    fn waits_at_least_as_long_as_it_was_asked_to() {
        assert!(pause(1, LONGEST_PAUSE, Some(Duration::from_secs(7))) > Duration::from_secs(7));
    }
}
