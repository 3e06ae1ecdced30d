//! Estimates the minimum duration of a deployment, if nothing is slower than usual. Pure.
//!
//! It is based on what was observed in this environment: launches, from their start until CloudFormation had the signal
//! of the instance, and the other parts of its last deployments. A batch takes as long as the slowest of its launches
//! usually does. A part not observed yet is assumed and marked as such, or [left out and named](Estimate::not_counted).

use std::time::Duration;

use serde::Serialize;

use super::record::Policy;
use super::rollout::Rollout;

/// Assumptions where nothing was observed: an EC2 instance until it serves, a release booted in place, a stack update
/// that replaces nothing, and everything else in an update that does. They are round figures, not measurements.
const LAUNCH: Duration = Duration::from_secs(60);
const IN_PLACE: Duration = Duration::from_secs(10);
const POLICY: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(30);

/// Time that `deploy` spends on queries, relative to `plan`: about 16 sequential calls, including its final report,
/// against 12.
const ASKS: f64 = 1.3;

/// Where the time of a successful deployment went, apart from launches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The update that sets the policy, if there was one.
    pub(crate) policy: Option<Duration>,
    /// From the last signal of each batch to the next launch.
    pub(crate) between: Vec<Duration>,
    /// The termination of the previous group, if one was replaced.
    pub(crate) end: Option<Duration>,
    /// Everything else from beginning to end of its record: CloudFormation's other steps, and the time until each was
    /// noticed.
    /// `None` if the launches are no longer known.
    pub(crate) rest: Option<Duration>,
}

/// Observations that an estimate is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// How long launches took.
    pub(crate) launches: Vec<Duration>,
    /// Whether launches are measured until CloudFormation had the signal of the instance, which its load balancer has
    /// then found healthy. Otherwise they are measured until the group had it in service.
    pub(crate) until_signal: bool,
    /// How long it took to terminate instances.
    pub(crate) ends: Vec<Duration>,
    pub(crate) deployments: Vec<Spent>,
    /// In seconds.
    pub(crate) bake: u64,
    /// How long `plan` spent on the queries that `deploy` repeats before it writes its record.
    pub(crate) asked: Duration,
}

/// How long launches took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Measured {
    pub(crate) launches: usize,
    pub(crate) fastest: u64,
    pub(crate) median: u64,
    pub(crate) until_signal: bool,
}

/// Minimum duration of a deployment, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) seconds: u64,
    /// The same if each launch is as fast as the fastest observed.
    pub(crate) fastest: Option<u64>,
    pub(crate) parts: Vec<Part>,
    pub(crate) not_counted: Vec<&'static str>,
}

/// A part of an estimate; parts run one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) what: &'static str,
    pub(crate) times: u32,
    /// Duration of one repetition.
    #[serde(serialize_with = "in_seconds")]
    pub(crate) seconds: Duration,
    /// Origin of the figure.
    pub(crate) from: String,
}

fn in_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(rounded(*time))
}

/// Rounds to the nearest whole second.
pub(crate) fn rounded(time: Duration) -> u64 {
    (time + Duration::from_millis(500)).as_secs()
}

/// Returns the median of the slowest of `of` values, judging by `seen`, or `None` if `seen` is empty.
fn usual(seen: &[Duration], of: u32) -> Option<Duration> {
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    let last = seen.len().checked_sub(1)?;
    // The maximum of n values is below x if each of them is, so its median is the quantile at the n-th root of one
    // half.
    let quantile = 0.5_f64.powf(1.0 / f64::from(of.max(1)));
    // Interpolates as if the values split the distribution into equal shares.
    let at = (quantile * (seen.len() as f64 + 1.0) - 1.0).clamp(0.0, last as f64);
    let (below, share) = (seen[at.floor() as usize], at.fract());
    Some(below + (seen[at.ceil() as usize] - below).mul_f64(share))
}

/// Describes the origin of a figure.
fn from(count: usize, one: &str, many: &str) -> String {
    match count {
        0 => "assumed: none seen yet".to_owned(),
        1 => format!("1 {one} seen"),
        count => format!("{count} {many} seen"),
    }
}

impl Known {
    pub(crate) fn measured(&self) -> Option<Measured> {
        let (fastest, median) = (rounded(*self.launches.iter().min()?), rounded(usual(&self.launches, 1)?));
        Some(Measured { launches: self.launches.len(), fastest, median, until_signal: self.until_signal })
    }

    fn of_deployments(&self, part: impl Fn(&Spent) -> Option<Duration>) -> Vec<Duration> {
        self.deployments.iter().filter_map(part).collect()
    }

    /// A part of usual length in past deployments, or of the assumed length.
    fn part(&self, what: &'static str, part: impl Fn(&Spent) -> Option<Duration>, assumed: Duration) -> Part {
        let seen = self.of_deployments(part);
        Part { what, times: 1, seconds: usual(&seen, 1).unwrap_or(assumed), from: from(seen.len(), "deployment", "deployments") }
    }

    fn launch(&self, rollout: &Rollout) -> Part {
        let seconds = usual(&self.launches, rollout.batch).unwrap_or(LAUNCH);
        Part { what: "launch and boot", times: rollout.batches, seconds, from: from(self.launches.len(), "launch", "launches") }
    }

    fn between(&self, rollout: &Rollout) -> Option<Part> {
        let seen: Vec<Duration> = self.deployments.iter().flat_map(|one| one.between.iter().copied()).collect();
        let seconds = usual(&seen, 1)?;
        Some(Part { what: "between two batches", times: rollout.batches - 1, seconds, from: from(seen.len(), "pause", "pauses") })
    }

    /// The termination of the previous group. Rolling updates do not wait for draining, but a group is deleted only
    /// after its instances are gone.
    fn end(&self, rollout: &Rollout) -> Option<Part> {
        let ends = self.of_deployments(|one| one.end);
        let (seconds, from) = match usual(&ends, 1) {
            Some(seconds) => (seconds, from(ends.len(), "deployment", "deployments")),
            None => (usual(&self.ends, rollout.in_service)?, from(self.ends.len(), "termination", "terminations")),
        };
        Some(Part { what: "drain and termination of the previous group", times: 1, seconds, from })
    }
}

impl Estimate {
    /// Estimates the creation of an environment, of which nothing was observed.
    pub(crate) fn of_creation(rollout: &Rollout) -> Self {
        let parts = vec![Known::default().launch(rollout)];
        Self::made(parts, vec!["what CloudFormation needs to create everything else: minutes, and longer with a database"])
    }

    /// Estimates the next deployment. `is_set` says whether the policy and the sizes are already set.
    pub(crate) fn of(rollout: &Rollout, is_set: bool, known: &Known) -> Self {
        let (seconds, from) = (known.asked.mul_f64(ASKS), "from the queries of this plan".to_owned());
        let (mut parts, mut not_counted) = (vec![Part { what: "queries to AWS, before and after", times: 1, seconds, from }], Vec::new());
        if !is_set {
            parts.push(known.part("the update that sets the policy", |one| one.policy, POLICY));
        }
        let stays = rollout.policy == Policy::InPlace;
        if rollout.batches > 0 && stays {
            let (times, from) = (rollout.batches, "assumed: it depends on the release".to_owned());
            parts.push(Part { what: "boot in place", times, seconds: IN_PLACE, from });
        } else if rollout.batches > 0 {
            parts.push(known.launch(rollout));
        }
        if rollout.batches > 1 && !stays {
            match known.between(rollout) {
                Some(part) => parts.push(part),
                None => not_counted.push("pauses between batches: none seen yet"),
            }
        }
        if known.bake > 0 {
            let seconds = Duration::from_secs(known.bake);
            parts.push(Part { what: "bake", times: 1, seconds, from: "fleet.yaml".to_owned() });
        }
        if rollout.policy == Policy::Immutable && rollout.batches > 0 && rollout.in_service > 0 {
            match known.end(rollout) {
                Some(part) => parts.push(part),
                None => not_counted.push("drain and termination of the previous group: none seen yet"),
            }
        }
        parts.push(known.part("CloudFormation's other steps, and noticing them", |one| one.rest, REST));
        let slower = match (known.launches.iter().min(), usual(&known.launches, rollout.batch)) {
            (Some(fastest), Some(usual)) if !stays => Some((usual - *fastest) * rollout.batches),
            _ => None,
        };
        let estimate = Self::made(parts, not_counted);
        let fastest = slower.map(|slower| estimate.seconds.saturating_sub(rounded(slower)));
        Self { fastest, ..estimate }
    }

    fn made(parts: Vec<Part>, not_counted: Vec<&'static str>) -> Self {
        let seconds = rounded(parts.iter().map(|part| part.times * part.seconds).sum());
        Self { seconds, fastest: None, parts, not_counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::Capacity;

    fn seconds(seen: &[u64]) -> Vec<Duration> {
        seen.iter().map(|seconds| Duration::from_secs(*seconds)).collect()
    }

    fn rollout(policy: Policy, batch: u32) -> Rollout {
        let pairs = [("BatchSize", batch.to_string()), ("MinInService", (4 - batch).to_string()), ("Mode", "highly_available".into())];
        let wanted = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Rollout::of(policy, Capacity { min: 4, desired: 4, max: 8 }, &wanted)
    }

    #[test]
    fn a_batch_takes_as_long_as_its_slowest() {
        let of = |seen: &[u64], count| usual(&seconds(seen), count).map(|time| time.as_secs_f64());
        assert_eq!(of(&[], 1), None);
        assert_eq!((of(&[40], 1), of(&[40], 9)), (Some(40.0), Some(40.0)));
        assert_eq!((of(&[30, 50], 1), of(&[70, 30, 40], 1)), (Some(40.0), Some(40.0)));
        // With three values, the slowest of three is usually the third.
        assert_eq!(of(&[70, 30, 40], 3), Some(70.0));
        let (two, ten) = (of(&[10, 20, 30, 40, 50, 60, 70, 80, 90], 2).unwrap(), of(&[10, 20, 30, 40, 50, 60, 70, 80, 90], 10).unwrap());
        assert!((70.0..71.0).contains(&two) && ten == 90.0, "{two} {ten}");
        // An outlier does not distort the median.
        assert_eq!(of(&[40, 41, 42, 43, 900], 1), Some(42.0));
    }

    fn known() -> Known {
        let spent = |policy, between: &[u64], end, rest| Spent {
            policy: Some(Duration::from_secs(policy)),
            between: seconds(between),
            end: Some(Duration::from_secs(end)),
            rest: Some(Duration::from_secs(rest)),
        };
        let deployments = vec![spent(8, &[2, 4], 30, 20), spent(10, &[3], 34, 24)];
        let asked = Duration::from_secs(10);
        Known { launches: seconds(&[40, 45, 50]), until_signal: true, ends: seconds(&[33]), deployments, bake: 120, asked }
    }

    #[test]
    fn each_policy_is_estimated_from_observations() {
        for (policy, expected) in [
            (Policy::AllAtOnce, 13 + 50 + 120 + 22),
            (Policy::Rolling, 13 + 4 * 45 + 3 * 3 + 120 + 22),
            (Policy::RollingWithBatch, 13 + 4 * 45 + 3 * 3 + 120 + 22),
            (Policy::Immutable, 13 + 50 + 120 + 32 + 22),
        ] {
            let (set, first) = (Estimate::of(&rollout(policy, 1), true, &known()), Estimate::of(&rollout(policy, 1), false, &known()));
            assert_eq!((set.seconds, first.seconds), (expected, expected + 9), "{policy:?}: {set:?}");
            assert_eq!(set.not_counted, Vec::<&str>::new(), "{set:?}");
        }
        let rolling = Estimate::of(&rollout(Policy::Rolling, 1), true, &known());
        assert_eq!(rolling.fastest, Some(rolling.seconds - 4 * 5));
        let from: Vec<&str> = rolling.parts.iter().map(|part| part.from.as_str()).collect();
        assert_eq!(from, ["from the queries of this plan", "3 launches seen", "3 pauses seen", "fleet.yaml", "2 deployments seen"]);
    }

    #[test]
    fn unobserved_parts_are_assumed_and_marked() {
        let estimate = Estimate::of(&rollout(Policy::Rolling, 2), false, &Known::default());
        assert_eq!(estimate.seconds, 20 + 2 * 60 + 30);
        assert!(estimate.parts[1..].iter().all(|part| part.from == "assumed: none seen yet"), "{estimate:?}");
        assert_eq!((estimate.fastest, estimate.not_counted.len()), (None, 1));
        let immutable = Estimate::of(&rollout(Policy::Immutable, 1), true, &Known { ends: seconds(&[33]), ..Known::default() });
        assert_eq!((immutable.seconds, immutable.parts[2].from.as_str()), (60 + 33 + 30, "1 termination seen"));
        let first = Estimate::of_creation(&Rollout::first(Policy::Immutable, Capacity { min: 2, desired: 2, max: 4 }));
        assert_eq!((first.seconds, first.parts.len(), first.not_counted.len()), (60, 1, 1), "{first:?}");
    }

    #[test]
    fn workers_without_an_instance_launch_none() {
        for policy in [Policy::AllAtOnce, Policy::Rolling, Policy::RollingWithBatch, Policy::Immutable] {
            let none = Rollout::of(policy, Capacity { min: 0, desired: 0, max: 4 }, &[("BatchSize".to_owned(), "1".to_owned())].into());
            let estimate = Estimate::of(&none, true, &Known { bake: 120, ..Known::default() });
            assert_eq!((estimate.seconds, estimate.parts.len()), (150, 3), "{estimate:?}");
        }
    }

    #[test]
    fn launches_are_measured() {
        let measured = known().measured().unwrap();
        assert_eq!(measured, Measured { launches: 3, fastest: 40, median: 45, until_signal: true });
        assert_eq!(Known::default().measured(), None);
    }
}
