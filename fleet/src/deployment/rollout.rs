//! How a deployment replaces instances, and how long that takes at the least. Pure.
//!
//! The least is made of what is known: launches of this environment as they were measured, the bake of fleet.yaml, the end
//! of a former group as it was measured. What is not known is not guessed; it is [named](Estimate::not_counted).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::course::Parameters;
use super::record::{Capacity, Policy};

/// The most instances that CloudFormation replaces at a time.
const LARGEST_BATCH: u32 = 100;

/// How instances are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Rollout {
    pub(crate) policy: Policy,
    /// How many are replaced.
    pub(crate) instances: u32,
    /// How many at a time.
    pub(crate) batch: u32,
    /// How often new ones are waited for.
    pub(crate) batches: u32,
    /// How many serve at any time, and how many run at the most.
    pub(crate) in_service: u32,
    pub(crate) most: u32,
}

impl Rollout {
    /// By the sizes that the template gets in `wanted`, of the instances that run now.
    pub(crate) fn of(policy: Policy, capacity: Capacity, wanted: &Parameters) -> Self {
        let number = |name: &str| wanted.get(name).and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
        let is_single = wanted.get("Mode").is_some_and(|mode| mode == "single_instance");
        // The second of a single instance is its successor.
        let (instances, max) = (capacity.desired, if is_single { 2 } else { capacity.max });
        let size = number("BatchSize").clamp(1, LARGEST_BATCH);
        let kept = if is_single { 0 } else { number("MinInService") };
        let batch = match policy {
            Policy::AllAtOnce => LARGEST_BATCH,
            Policy::Rolling => size.min(instances.saturating_sub(kept)).max(1),
            // What it launches first must find room below the largest size.
            Policy::RollingWithBatch => size.min(max.saturating_sub(instances)).max(1),
            Policy::Immutable => instances,
            Policy::TrafficSplitting | Policy::InPlace => size,
        }
        .min(instances);
        let batches = if batch == 0 { 0 } else { instances.div_ceil(batch) };
        let (in_service, most) = match policy {
            Policy::RollingWithBatch => (instances, instances + batch),
            Policy::Immutable => (instances, 2 * instances),
            _ => (instances - batch, instances),
        };
        Self { policy, instances, batch, batches, in_service, most }
    }

    /// As the creation of an environment launches its first ones.
    pub(crate) fn first(policy: Policy, capacity: Capacity) -> Self {
        let instances = capacity.desired.max(1);
        Self { policy, instances, batch: instances, batches: 1, in_service: 0, most: instances }
    }
}

/// An instance that a group launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) id: String,
    pub(crate) began: Timestamp,
    /// When the group had it in service.
    pub(crate) ended: Timestamp,
}

/// How long launches took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Measured {
    pub(crate) launches: usize,
    pub(crate) fastest: u64,
    pub(crate) median: u64,
    /// Whether until CloudFormation had the signal of the instance: a load balancer has found it healthy by then. Otherwise
    /// until the group had it in service.
    pub(crate) until_signal: bool,
}

impl Measured {
    /// Of launches, and of the times at which instances signaled SUCCESS. `None` where there are no launches.
    pub(crate) fn of(launches: &[Launch], signals: &BTreeMap<String, Timestamp>) -> Option<Self> {
        let signaled = |launch: &Launch| Some(seconds(launch.began, *signals.get(&launch.id)?));
        let mut took: Vec<u64> = launches.iter().filter_map(signaled).collect();
        let until_signal = !took.is_empty();
        if !until_signal {
            took = launches.iter().map(|launch| seconds(launch.began, launch.ended)).collect();
        }
        took.sort_unstable();
        Some(Self { launches: took.len(), fastest: *took.first()?, median: *took.get(took.len() / 2)?, until_signal })
    }
}

/// Whole seconds from one moment to another.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// What an estimate is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) launches: Option<Measured>,
    /// In seconds.
    pub(crate) bake: u64,
    /// How long the end of a former group took, in seconds.
    pub(crate) end: Option<u64>,
}

/// How long a deployment takes at the least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) seconds: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) not_counted: Vec<&'static str>,
}

/// A part of it, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    pub(crate) what: &'static str,
    pub(crate) times: u32,
    /// Of one.
    pub(crate) seconds: u64,
}

impl Estimate {
    pub(crate) fn of(rollout: &Rollout, known: &Known) -> Self {
        let (mut parts, mut not_counted) = (Vec::new(), Vec::new());
        match known.launches {
            _ if rollout.batches == 0 => {}
            Some(Measured { fastest: seconds, .. }) => parts.push(Part { what: "launch and boot", times: rollout.batches, seconds }),
            None => not_counted.push("launches and boots: none of this environment has been measured"),
        }
        if known.bake > 0 {
            parts.push(Part { what: "bake", times: 1, seconds: known.bake });
        }
        // Rolling updates do not wait for the drain of what they end. A group is deleted once its instances are gone.
        if rollout.policy == Policy::Immutable && rollout.batches > 0 && rollout.in_service > 0 {
            match known.end {
                Some(seconds) => parts.push(Part { what: "drain and end of the former group", times: 1, seconds }),
                None => not_counted.push("drain and end of the former group: not measured in the deployment before"),
            }
        }
        not_counted.push("what CloudFormation itself takes");
        let seconds = parts.iter().map(|part| u64::from(part.times) * part.seconds).sum();
        Self { seconds, parts, not_counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(batch: u32, in_service: u32, mode: &str) -> Parameters {
        let pairs = [("BatchSize", batch.to_string()), ("MinInService", in_service.to_string()), ("Mode", mode.to_owned())];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Batch, batches, in service, most.
    fn rolled(policy: Policy, (desired, max): (u32, u32), wanted: &Parameters) -> [u32; 4] {
        let Rollout { batch, batches, in_service, most, .. } = Rollout::of(policy, Capacity { min: 0, desired, max }, wanted);
        [batch, batches, in_service, most]
    }

    #[test]
    fn each_policy_has_its_batches() {
        let of_a_group = wanted(2, 3, "highly_available");
        for (policy, expected) in [
            (Policy::AllAtOnce, [5, 1, 0, 5]),
            (Policy::Rolling, [2, 3, 3, 5]),
            (Policy::RollingWithBatch, [2, 3, 5, 7]),
            (Policy::Immutable, [5, 1, 5, 10]),
        ] {
            assert_eq!(rolled(policy, (5, 8), &of_a_group), expected, "{policy:?}");
        }
    }

    #[test]
    fn the_largest_size_leaves_less_room_for_a_batch() {
        assert_eq!(rolled(Policy::RollingWithBatch, (5, 6), &wanted(2, 3, "highly_available")), [1, 5, 5, 6]);
        assert_eq!(rolled(Policy::Rolling, (2, 2), &wanted(2, 1, "highly_available")), [1, 2, 1, 2]);
        assert_eq!(rolled(Policy::AllAtOnce, (250, 300), &wanted(1, 0, "highly_available")), [100, 3, 150, 250]);
    }

    #[test]
    fn a_single_instance_has_its_successor_first() {
        let single = wanted(1, 0, "single_instance");
        assert_eq!(rolled(Policy::RollingWithBatch, (1, 1), &single), [1, 1, 1, 2]);
        assert_eq!(rolled(Policy::Rolling, (1, 1), &single), [1, 1, 0, 1]);
    }

    #[test]
    fn workers_without_an_instance_replace_none() {
        for policy in [Policy::AllAtOnce, Policy::Rolling, Policy::RollingWithBatch, Policy::Immutable] {
            assert_eq!(rolled(policy, (0, 4), &wanted(1, 0, "highly_available")), [0, 0, 0, 0], "{policy:?}");
            let rollout = Rollout::of(policy, Capacity { min: 0, desired: 0, max: 4 }, &wanted(1, 0, "highly_available"));
            let estimate = Estimate::of(&rollout, &Known { bake: 120, ..Known::default() });
            assert_eq!((estimate.seconds, estimate.not_counted.len()), (120, 1), "{estimate:?}");
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn launch(id: &str, began: i64, ended: i64) -> Launch {
        Launch { id: id.into(), began: at(began), ended: at(ended) }
    }

    #[test]
    fn launches_are_measured_until_the_signal() {
        let launches = [launch("i-1", 0, 30), launch("i-2", 60, 95), launch("i-3", 100, 120), launch("i-4", 200, 260)];
        let signals = [("i-1", at(40)), ("i-2", at(110)), ("i-4", at(300)), ("i-9", at(1))];
        let signals = signals.map(|(id, at)| (id.to_owned(), at)).into();
        let measured = Measured::of(&launches, &signals).unwrap();
        assert_eq!(measured, Measured { launches: 3, fastest: 40, median: 50, until_signal: true });
        // Those of a group that scaled out: CloudFormation waited for no signal.
        let measured = Measured::of(&launches, &BTreeMap::new()).unwrap();
        assert_eq!(measured, Measured { launches: 4, fastest: 20, median: 35, until_signal: false });
        assert_eq!(Measured::of(&[], &signals), None);
    }

    #[test]
    fn the_least_is_what_is_known() {
        let launches = Some(Measured { launches: 4, fastest: 40, median: 50, until_signal: true });
        let known = Known { launches, bake: 120, end: Some(30) };
        let estimate = |policy, known: &Known| {
            Estimate::of(&Rollout::of(policy, Capacity { min: 2, desired: 5, max: 8 }, &wanted(2, 3, "highly_available")), known)
        };
        for (policy, expected) in [
            (Policy::AllAtOnce, 40 + 120),
            (Policy::Rolling, 3 * 40 + 120),
            (Policy::RollingWithBatch, 3 * 40 + 120),
            (Policy::Immutable, 40 + 120 + 30),
        ] {
            assert_eq!(estimate(policy, &known).seconds, expected, "{policy:?}");
        }
        let unknown = estimate(Policy::Immutable, &Known::default());
        assert_eq!((unknown.seconds, unknown.parts.len(), unknown.not_counted.len()), (0, 0, 3), "{unknown:?}");
        // Where nothing ran, nothing ends.
        let first = Estimate::of(&Rollout::first(Policy::Immutable, Capacity { min: 2, desired: 2, max: 4 }), &Known::default());
        assert_eq!(first.not_counted.len(), 2, "{first:?}");
    }
}
