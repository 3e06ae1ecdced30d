//! How a deployment replaces instances. Pure.

use serde::Serialize;

use super::course::Parameters;
use super::in_place;
use super::record::{Capacity, Policy};

/// Maximum number of instances that CloudFormation replaces at a time.
const LARGEST_BATCH: u32 = 100;

/// How instances are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Rollout {
    pub(crate) policy: Policy,
    /// Number of instances to replace.
    pub(crate) instances: u32,
    /// Number of instances replaced at a time.
    pub(crate) batch: u32,
    /// Number of batches.
    pub(crate) batches: u32,
    /// Minimum number in service and maximum number running at any time.
    pub(crate) in_service: u32,
    pub(crate) most: u32,
}

impl Rollout {
    /// Derives it from the sizes in `wanted` and the number of running instances.
    pub(crate) fn of(policy: Policy, capacity: Capacity, wanted: &Parameters) -> Self {
        let number = |name: &str| wanted.get(name).and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
        let is_single = wanted.get("Mode").is_some_and(|mode| mode == "single_instance");
        // A single instance needs room for its successor.
        let (instances, max) = (capacity.desired, if is_single { 2 } else { capacity.max });
        let size = number("BatchSize").clamp(1, LARGEST_BATCH);
        let kept = if is_single { 0 } else { number("MinInService") };
        let batch = match policy {
            Policy::AllAtOnce => LARGEST_BATCH,
            Policy::Rolling => size.min(instances.saturating_sub(kept)).max(1),
            // The additional batch must fit below the maximum size.
            Policy::RollingWithBatch => size.min(max.saturating_sub(instances)).max(1),
            Policy::Immutable => instances,
            Policy::InPlace => size.min(in_place::LARGEST_BATCH),
            Policy::TrafficSplitting => size,
        }
        .min(instances);
        let batches = if batch == 0 { 0 } else { instances.div_ceil(batch) };
        let (in_service, most) = match policy {
            Policy::RollingWithBatch => (instances, instances + batch),
            Policy::Immutable => (instances, 2 * instances),
            Policy::InPlace => (instances, instances),
            _ => (instances - batch, instances),
        };
        Self { policy, instances, batch, batches, in_service, most }
    }

    /// The first launch, when an environment is created.
    pub(crate) fn first(policy: Policy, capacity: Capacity) -> Self {
        let instances = capacity.desired.max(1);
        Self { policy, instances, batch: instances, batches: 1, in_service: 0, most: instances }
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
            (Policy::InPlace, [2, 3, 5, 5]),
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
        }
    }
}
