//! Decides when the last request has arrived, by the load balancer or by the connections that
//! this machine accepts. Pure.

use std::time::Duration;

use super::sign::Sign;

/// How long no new connection may arrive before the last request counts as the last.
const QUIET: Duration = Duration::from_secs(10);

/// How long Auto Scaling may take to remove a terminated instance from its target groups.
const TAKEN_OUT: Duration = Duration::from_secs(15);

/// Whether an unhealthy target counts as one that gets no more requests, `passed` after the drain of requests began.
/// Auto Scaling is given some time to remove the target from its group. If it has not done so by then, it does not
/// manage that group, which only learns of the drain by the health path.
pub(super) fn counts_as_sick(sign: Sign, passed: Duration) -> bool {
    !sign.serves_to_the_end() && (sign != Sign::Terminated || passed >= TAKEN_OUT)
}

/// What is known about requests that may still arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The target groups that still list this instance, as text.
    Listed(Vec<String>),
    /// The number of connections that this machine has accepted.
    Accepted(u64),
    /// Nothing.
    Unknown,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Wait, for this reason.
    Wait(String),
    /// End, for this reason.
    Over(String),
}

/// Judges successive looks at requests. Times are counted from the start of the drain of requests.
#[derive(Debug)]
pub(super) struct Requests {
    /// The minimum duration if no target group can be read.
    deregistration: Duration,
    /// Whether requests are served until the time is over, unless target groups say when they end.
    to_the_end: bool,
    accepted: Option<(u64, Duration)>,
}

impl Requests {
    pub(super) fn new(deregistration: Duration, to_the_end: bool) -> Self {
        Self { deregistration, to_the_end, accepted: None }
    }

    /// Judges what was seen at `now`, with the time `left` for requests.
    pub(super) fn look(&mut self, seen: Seen, now: Duration, left: Duration) -> Turn {
        let whole = |duration: Duration| Duration::from_secs(duration.as_secs());
        if left.is_zero() {
            return Turn::Over(match seen {
                Seen::Listed(groups) => format!("time is up; still listed: {}", groups.join(", ")),
                Seen::Accepted(_) | Seen::Unknown => "time is up".into(),
            });
        }
        match seen {
            Seen::Listed(groups) if groups.is_empty() => Turn::Over("no target group lists this instance".into()),
            Seen::Listed(groups) => Turn::Wait(format!("the load balancer to deregister this instance: {}", groups.join(", "))),
            Seen::Unknown => Turn::Wait("the time for requests to finish".into()),
            Seen::Accepted(count) => {
                let (_, since) = *self.accepted.get_or_insert((count, now));
                let since = if self.accepted.is_some_and(|(known, _)| known != count) { now } else { since };
                self.accepted = Some((count, since));
                if self.to_the_end {
                    return Turn::Wait("the time for requests to finish".into());
                }
                match (self.deregistration.saturating_sub(now), QUIET.saturating_sub(now - since)) {
                    (Duration::ZERO, Duration::ZERO) => Turn::Over(format!("no connection for {:?}", whole(now - since))),
                    (Duration::ZERO, _) => Turn::Wait(format!("{QUIET:?} without a new connection")),
                    _ => Turn::Wait(format!("{:?} for load balancers to deregister this instance", self.deregistration)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(60);

    fn looked(requests: &mut Requests, at: u64, seen: Seen) -> String {
        match requests.look(seen, Duration::from_secs(at), LEFT) {
            Turn::Wait(why) => format!("wait for {why}"),
            Turn::Over(why) => format!("over: {why}"),
        }
    }

    fn requests() -> Requests {
        Requests::new(Duration::from_secs(30), false)
    }

    #[test]
    fn without_target_groups_it_is_quiet_for_a_while_after_deregistration() {
        let mut requests = requests();
        let looks = [(0, 5), (10, 5), (28, 6), (31, 6), (37, 6), (38, 6)];
        let told: Vec<String> = looks.map(|(at, count)| looked(&mut requests, at, Seen::Accepted(count))).into();
        assert_eq!(
            told,
            [
                "wait for 30s for load balancers to deregister this instance",
                "wait for 30s for load balancers to deregister this instance",
                "wait for 30s for load balancers to deregister this instance",
                "wait for 10s without a new connection",
                "wait for 10s without a new connection",
                "over: no connection for 10s",
            ]
        );
    }

    #[test]
    fn with_target_groups_it_is_over_once_none_lists_this_instance() {
        let mut requests = requests();
        let draining = || Seen::Listed(vec!["web is draining (Target.DeregistrationInProgress)".into()]);
        let told = looked(&mut requests, 40, draining());
        assert_eq!(told, "wait for the load balancer to deregister this instance: web is draining (Target.DeregistrationInProgress)");
        assert_eq!(looked(&mut requests, 41, Seen::Listed(Vec::new())), "over: no target group lists this instance");
        // After an interruption, the load balancer may be done at the first look.
        assert_eq!(looked(&mut self::requests(), 0, Seen::Listed(Vec::new())), "over: no target group lists this instance");
        let late = requests.look(draining(), LEFT, Duration::ZERO);
        assert_eq!(late, Turn::Over("time is up; still listed: web is draining (Target.DeregistrationInProgress)".into()));
    }

    #[test]
    fn an_interrupted_machine_serves_as_long_as_it_can() {
        let mut requests = Requests::new(Duration::from_secs(30), true);
        assert_eq!(looked(&mut requests, 59, Seen::Accepted(1)), "wait for the time for requests to finish");
        assert_eq!(requests.look(Seen::Accepted(1), LEFT, Duration::ZERO), Turn::Over("time is up".into()));
        // The same if nothing is known about requests.
        assert_eq!(looked(&mut self::requests(), 59, Seen::Unknown), "wait for the time for requests to finish");
    }
}
