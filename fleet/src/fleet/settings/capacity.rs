//! Checks of the number of instances against the group, the deployment policy and the warm pool.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::settings::deployment::{Deployment, Policy};
use crate::fleet::settings::instances::Instances;
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::Whole;

/// Warm pool of stopped instances.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WarmPool {
    /// Number of instances. Required.
    pub(crate) min: Option<Whole<1, 1000>>,
}

pub(super) fn check(instances: &Instances, deployment: &Deployment, warm_pool: Option<&WarmPool>, site: &mut Site<'_>) {
    if site.mode == Mode::SingleInstance {
        return;
    }
    let (min, max) = (instances.min(site.tier, site.mode), instances.max(site.mode));
    if site.is_readable(&["instances.min", "instances.max"])
        && of_sizes(instances.min.is_some(), (min, max), site)
        && site.is_readable(&["deployment.policy", "deployment.batch"])
    {
        of_policy(deployment, (min.max(1), max), site);
    }
    if let Some(pool) = warm_pool {
        of_warm_pool(pool, instances, deployment, site);
    }
}

/// Returns whether such a group is possible.
fn of_sizes(says_min: bool, (min, max): (u32, u32), site: &mut Site<'_>) -> bool {
    if site.tier == Tier::Web && min == 0 {
        site.wrong(
            "instances.min",
            "a web environment without instances cannot serve requests",
            "write 1 or more; only a worker may have 0",
        );
    }
    if min > max {
        let (path, hint) = match says_min {
            true => ("instances.min", format!("lower `min` to {max}, or raise `max` to {min}")),
            false => ("instances.max", format!("raise `max` to {min}, or set `min: {max}`")),
        };
        site.wrong(path, format!("`min` is {min}, more than `max`, which is {max}"), hint);
    }
    min <= max
}

/// Checks what a rolling update needs: CloudFormation keeps at most one fewer than `max` in service.
fn of_policy(deployment: &Deployment, (min, max): (u32, u32), site: &mut Site<'_>) {
    let batch = deployment.batch().of(min);
    if deployment.batch().of(max) > max {
        let message = format!("a batch of {} is more than `max`, which is {max}", deployment.batch());
        return site.wrong("deployment.batch", message, format!("write {max} or less, or a percentage"));
    }
    match deployment.policy() {
        Policy::Rolling if site.tier == Tier::Web && batch >= min => {
            let message = format!("rolling replaces {batch} at a time, which leaves none of `min: {min}` in service");
            let (path, hint) = match min {
                1 => ("deployment.policy", "set `policy: rolling_with_batch`, or raise `min` to 2".to_owned()),
                _ => ("deployment.batch", format!("write {} or less, or set `policy: rolling_with_batch`", min - 1)),
            };
            site.wrong(path, message, hint);
        }
        Policy::RollingWithBatch if min + batch > max => {
            let message = format!("rolling_with_batch temporarily runs {} instances, `min` plus a batch, but `max` is {max}", min + batch);
            site.wrong("instances.max", message, format!("raise `max` to {}, or set `policy: rolling`", min + batch));
        }
        _ => {}
    }
}

fn of_warm_pool(pool: &WarmPool, instances: &Instances, deployment: &Deployment, site: &mut Site<'_>) {
    if instances.types.len() > 1 && site.is_readable(&["instances.types"]) {
        site.wrong_key("warm_pool", "a warm pool supports only one instance type", "keep one of `instances.types`, or remove `warm_pool`");
    }
    if instances.spot.is_some_and(|spot| spot.0 > 0) {
        site.wrong_key("warm_pool", "a warm pool does not support Spot Instances", "set `spot: 0%`, or remove `warm_pool`");
    }
    if deployment.policy() != Policy::Immutable && site.is_readable(&["deployment.policy"]) {
        let message = "a warm pool needs `policy: immutable`, which replaces the pool too: other policies leave previous releases in it";
        site.wrong_key("warm_pool", message, "set `deployment: { policy: immutable }`, or remove `warm_pool`");
    }
    let max = instances.max(site.mode);
    match pool.min {
        None if site.is_readable(&["warm_pool"]) => site.missing("warm_pool.min", "add `min: 1`, or more, to `warm_pool:`"),
        Some(min) if min.0 > max && site.is_readable(&["instances.max"]) => {
            let message = format!("a warm pool of {} never fills: the group has at most {max} instances", min.0);
            site.wrong("warm_pool.min", message, format!("write {max} or less"));
        }
        _ => {}
    }
}
