//! How long to wait between tries: one type, and a named policy for everything that retries.
//!
//! A policy only computes pauses. The caller decides how often and how long to try, and what is
//! worth a retry. Nothing waits before its first try.

use std::time::Duration;

/// Pauses with a limit that grows from try to try, up to a maximum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The limit of the first pause.
    pub(crate) first: Duration,
    /// Each limit is the previous one times the first number, divided by the second.
    growth: (u32, u32),
    /// The maximum of all limits.
    pub(crate) longest: Duration,
    spread: Spread,
}

/// The part of the limit from which a pause is drawn.
#[derive(Debug, Clone, Copy)]
enum Spread {
    /// Always the limit.
    None,
    /// Anything from zero to the limit. Spreads a fleet that was refused together over the whole pause.
    Full,
    /// The second half of the limit.
    SecondHalf,
    /// From a quarter less to a quarter more.
    Quarter,
    /// From a fifth less to a fifth more.
    Fifth,
}

impl Backoff {
    /// A call that failed, for whatever reason.
    ///
    /// A single instance that is refused once loses at most 100 ms. AWS quotas are per second, so
    /// pauses longer than 20 s would only prolong a boot.
    ///
    /// Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
    pub(crate) const CALL: Self =
        Self { first: Duration::from_millis(100), growth: (2, 1), longest: Duration::from_secs(20), spread: Spread::Full };

    /// A call that AWS throttled, for services whose quota refills in a second or two: Parameter
    /// Store, Secrets Manager.
    ///
    /// The quota is shared, often with a whole fleet that booted at the same moment, and its size is
    /// unknown. So the pauses grow fast, until they are as long as such a queue. A single call that was
    /// throttled by chance loses at most 500 ms, the time in which a quota refills. A fleet that sleeps
    /// for longer than 20 s leaves the quota unused.
    ///
    /// Measured with a thousand instances in `laws/fleet`: full jitter that doubles from 100 ms makes half as many
    /// calls more, and no boot is shorter.
    pub(crate) const QUOTA: Self =
        Self { first: Duration::from_millis(500), growth: (3, 1), longest: Duration::from_secs(20), spread: Spread::SecondHalf };

    /// As [`QUOTA`](Self::QUOTA), for EC2, whose quotas hold as much as refills in twenty seconds.
    ///
    /// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
    pub(crate) const QUOTA_OF_EC2: Self = Self { longest: Duration::from_secs(40), ..Self::QUOTA };

    /// A request to the instance metadata service.
    ///
    /// IMDS answers as soon as the link is up, so pauses of whole seconds would waste time. The spread keeps the reads
    /// of one boot from arriving all at once.
    pub(crate) const IMDS: Self =
        Self { first: Duration::from_millis(20), growth: (3, 2), longest: Duration::from_secs(2), spread: Spread::Quarter };

    /// A look at a claim that another instance holds, by a whole fleet: starts soon, since most
    /// claimed work takes seconds, and is spread.
    pub(crate) const CLAIM: Self =
        Self { first: Duration::from_millis(500), growth: (3, 2), longest: Duration::from_secs(5), spread: Spread::Fifth };

    /// A look at the state of a volume in EC2. Creating or attaching one takes seconds at least.
    pub(crate) const VOLUME: Self =
        Self { first: Duration::from_secs(1), growth: (9, 5), longest: Duration::from_secs(10), spread: Spread::None };

    /// A look at a database in RDS by the only instance that changes it.
    pub(crate) const DATABASE: Self =
        Self { first: Duration::from_secs(2), growth: (3, 2), longest: Duration::from_secs(10), spread: Spread::None };

    /// A look at a database that RDS is still creating, by a whole fleet: spread, so that the fleet
    /// does not ask in step.
    pub(crate) const DATABASE_OF_A_FLEET: Self = Self { spread: Spread::Fifth, ..Self::DATABASE };

    /// A look at a database in RDS while the database itself is being probed: rare, since a fleet
    /// shares the quota of RDS.
    pub(crate) const DATABASE_CHECK: Self =
        Self { first: Duration::from_secs(20), growth: (1, 1), longest: Duration::from_secs(20), spread: Spread::Fifth };

    /// A look at the health of this instance behind a load balancer, whose own checks are seconds apart. Spread,
    /// because a fleet that boots together shares a quota.
    pub(crate) const TARGET: Self =
        Self { first: Duration::from_secs(1), growth: (3, 2), longest: Duration::from_secs(5), spread: Spread::Fifth };

    /// A call that a worker repeats although AWS refuses it, until a permission is granted or a queue is created.
    pub(crate) const REFUSED: Self =
        Self { first: Duration::from_secs(5), growth: (2, 1), longest: Duration::from_secs(60), spread: Spread::Fifth };

    /// A probe of an application for which a worker waits. Other workers may take the messages in the meantime.
    pub(crate) const FEEDING: Self =
        Self { first: Duration::from_millis(100), growth: (3, 2), longest: Duration::from_secs(2), spread: Spread::None };

    /// The pause after an application was gone while it had messages, before a worker tries it
    /// again: one of the messages may crash it each time.
    pub(crate) const TRUSTING: Self =
        Self { first: Duration::from_millis(500), growth: (2, 1), longest: Duration::from_secs(30), spread: Spread::None };

    /// A probe of a service on this machine. A service that starts slowly is probed four times a second, so its
    /// readiness is noticed at most that late.
    pub(crate) const PROBE: Self =
        Self { first: Duration::from_millis(10), growth: (3, 2), longest: Duration::from_millis(250), spread: Spread::None };

    /// Draws the pause after this many tries. The pause that the other side asked for is added
    /// before it, because it told everybody the same.
    pub(crate) fn pause(&self, tries: u32, asked_for: Option<Duration>) -> Duration {
        let limit = self.limit(tries);
        let drawn = match self.spread {
            Spread::None => limit,
            Spread::Full => limit.mul_f64(fastrand::f64()),
            Spread::SecondHalf => limit.mul_f64(0.5 + 0.5 * fastrand::f64()),
            Spread::Quarter => limit.mul_f64(0.75 + 0.5 * fastrand::f64()),
            Spread::Fifth => limit.mul_f64(0.8 + 0.4 * fastrand::f64()),
        };
        asked_for.unwrap_or_default() + drawn
    }

    fn limit(&self, tries: u32) -> Duration {
        let mut limit = self.first.min(self.longest);
        for _ in 1..tries {
            if limit == self.longest {
                break;
            }
            limit = (limit * self.growth.0 / self.growth.1).min(self.longest);
        }
        limit
    }

    /// The successive pauses of this policy.
    pub(crate) fn pauses(self) -> Pauses {
        Pauses { backoff: self, taken: 0 }
    }
}

/// Successive pauses. See [`Backoff::pauses`].
#[derive(Debug)]
pub(crate) struct Pauses {
    backoff: Backoff,
    /// The number of pauses drawn so far.
    pub(crate) taken: u32,
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        self.taken += 1;
        self.backoff.pause(self.taken, None)
    }
}

#[cfg(test)]
impl Backoff {
    /// The same policy with other limits, for tests that cannot wait.
    pub(crate) const fn between(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(backoff: Backoff, tries: impl IntoIterator<Item = u32>) -> Vec<f64> {
        tries.into_iter().map(|tries| backoff.limit(tries).as_secs_f64()).collect()
    }

    #[test]
    fn limits_grow_from_the_first_to_the_longest() {
        assert_eq!(limits(Backoff::CALL, [1, 2, 3, 8, 9, 1_000]), [0.1, 0.2, 0.4, 12.8, 20.0, 20.0]);
        assert_eq!(limits(Backoff::QUOTA, [1, 2, 3, 4, 5, 1_000]), [0.5, 1.5, 4.5, 13.5, 20.0, 20.0]);
        assert_eq!(limits(Backoff::QUOTA_OF_EC2, [4, 5, u32::MAX]), [13.5, 40.0, 40.0]);
        assert_eq!(limits(Backoff::IMDS, [1, 2, 3, 12, 13]), [0.02, 0.03, 0.045, 1.729_951_17, 2.0]);
        assert_eq!(limits(Backoff::VOLUME, [1, 2, 3, 4, 5]), [1.0, 1.8, 3.24, 5.832, 10.0]);
        assert_eq!(limits(Backoff::DATABASE, [1, 2, 3, 4, 5]), [2.0, 3.0, 4.5, 6.75, 10.0]);
        assert_eq!(limits(Backoff::DATABASE_CHECK, [1, 2, 1_000]), [20.0, 20.0, 20.0]);
        assert_eq!(limits(Backoff::PROBE, [1, 2, 3, 8, 9]), [0.01, 0.015, 0.0225, 0.170_859_375, 0.25]);
    }

    #[test]
    fn pauses_are_spread_over_their_part_of_the_limit() {
        let table = [
            (Backoff::CALL, 0.0, 1.0),
            (Backoff::QUOTA, 0.5, 1.0),
            (Backoff::QUOTA_OF_EC2, 0.5, 1.0),
            (Backoff::IMDS, 0.75, 1.25),
            (Backoff::DATABASE_OF_A_FLEET, 0.8, 1.2),
            (Backoff::DATABASE_CHECK, 0.8, 1.2),
            (Backoff::VOLUME, 1.0, 1.0),
        ];
        for (backoff, from, to) in table {
            for tries in [1, 3, 40] {
                let limit = backoff.limit(tries).as_secs_f64();
                let pauses: Vec<f64> = (0..200).map(|_| backoff.pause(tries, None).as_secs_f64() / limit).collect();
                let (quarter, nearly) = ((to - from) / 4.0, 1e-6);
                assert!(pauses.iter().all(|pause| *pause >= from - nearly && *pause <= to + nearly), "{backoff:?} {tries}");
                assert!(pauses.iter().any(|pause| *pause <= from + quarter + nearly), "{backoff:?} {tries}");
                assert!(pauses.iter().any(|pause| *pause >= to - quarter - nearly), "{backoff:?} {tries}");
            }
        }
    }

    #[test]
    fn a_pause_is_at_least_as_long_as_the_other_side_asked() {
        for backoff in [Backoff::CALL, Backoff::QUOTA] {
            assert!(backoff.pause(1, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        }
    }

    #[test]
    fn pauses_come_one_after_the_other() {
        let mut pauses = Backoff::VOLUME.pauses();
        assert_eq!([pauses.next(), pauses.next()], [Duration::from_secs(1), Duration::from_millis(1_800)]);
        assert_eq!(pauses.taken, 2);
    }
}
