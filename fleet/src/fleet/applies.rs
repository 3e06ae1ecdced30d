//! Which settings apply to an environment, depending on its tier, its mode, and whether its load balancer belongs to an
//! edge.
//!
//! A setting that does not apply is a mistake in the environment itself, but is ignored in `defaults:`, which all
//! environments share.

use ingot::desk::{Mistake, Node, Value};

use crate::fleet::site::{self, Mode, Tier};

/// The kind of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    /// Whether the load balancer belongs to an edge.
    pub(crate) is_joined: bool,
}

/// What a setting requires of an environment.
#[derive(Debug, Clone, Copy)]
struct Needs {
    tier: Option<Tier>,
    group: bool,
    /// Whether the load balancer, if any, must be the environment's own.
    own: bool,
}

const BALANCED: Needs = Needs { tier: Some(Tier::Web), group: true, own: false };
const BALANCER: Needs = Needs { own: true, ..BALANCED };
const GROUP: Needs = Needs { tier: None, group: true, own: false };
const WEB: Needs = Needs { tier: Some(Tier::Web), group: false, own: true };
const WORKER: Needs = Needs { tier: Some(Tier::Worker), group: false, own: false };

const NEEDS: [(&str, Needs); 20] = [
    ("network.load_balancer_subnets", BALANCER),
    ("network.clients", WEB),
    ("load_balancer", BALANCED),
    ("load_balancer.certificate", BALANCER),
    ("load_balancer.redirect_http", BALANCER),
    ("load_balancer.health_check", BALANCER),
    ("load_balancer.deregistration", BALANCER),
    ("load_balancer.public", BALANCER),
    ("load_balancer.port", BALANCER),
    ("instances.min", GROUP),
    ("instances.max", GROUP),
    ("instances.scale_on.requests_per_target", BALANCED),
    ("instances.scale_on.messages_per_instance", WORKER),
    ("instances.scale_on", GROUP),
    ("schedule", GROUP),
    ("warm_pool", GROUP),
    ("queue", WORKER),
    ("deployment.batch", GROUP),
    ("alarms.error_percent", BALANCER),
    ("alarms.message_age", WORKER),
];

/// Returns whether a setting applies to an environment.
pub(crate) fn applies(path: &str, kind: Kind) -> bool {
    let within = |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    NEEDS.iter().filter(|(name, _)| within(name)).all(|(_, needs)| missing(*needs, kind).is_none())
}

/// Removes settings that do not apply to an environment. `own` is what the environment itself sets.
pub(super) fn keep_what_applies(merged: &mut Node, own: &Node, kind: Kind) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (path, needs) in NEEDS {
        let Some((message, hint)) = missing(needs, kind) else { continue };
        let said = site::node(own, path).filter(|node| node.value != Value::Null).and_then(|_| site::key_place(own, path));
        if let (Some(place), true) = (said, site::node(merged, path).is_some()) {
            let name = path.rsplit('.').next().unwrap_or(path);
            mistakes.push(Mistake::at(place, format!("{message} has no `{name}`"), hint));
        }
        remove(merged, path);
    }
    mistakes
}

/// Returns which kind of environment lacks the setting, and what to do, or `None` if the setting applies.
fn missing(needs: Needs, Kind { tier, mode, is_joined }: Kind) -> Option<(&'static str, &'static str)> {
    match needs.tier {
        Some(Tier::Web) if tier == Tier::Worker => Some(("a worker", "remove it, or set `tier: web`")),
        Some(Tier::Worker) if tier == Tier::Web => Some(("a web environment", "remove it, or set `tier: worker`")),
        _ if needs.group && mode == Mode::SingleInstance => Some(("a single instance", "remove it, or set `mode: highly_available`")),
        _ if needs.own && is_joined => Some(("an environment of an edge", "remove it: `edges:` sets it for both slots")),
        _ => None,
    }
}

fn remove(node: &mut Node, path: &str) {
    let (first, below) = path.split_once('.').unwrap_or((path, ""));
    let Value::Map(entries) = &mut node.value else { return };
    let Some(at) = entries.iter().position(|(key, _)| key.name == first) else { return };
    match below {
        "" => drop(entries.remove(at)),
        below => remove(&mut entries[at].1, below),
    }
}
