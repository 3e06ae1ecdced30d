//! Which settings an environment has, by its tier, by its mode, and by whether an edge has its load balancer.
//!
//! One that says what it does not have has a mistake. What it does not have of `defaults:` is left out: those are for
//! all.

use ingot::desk::{Mistake, Node, Value};

use crate::fleet::site::{self, Mode, Tier};

/// What an environment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    /// Whether the load balancer is that of an edge.
    pub(crate) is_joined: bool,
}

/// What an environment has to be.
#[derive(Debug, Clone, Copy)]
struct Needs {
    tier: Option<Tier>,
    group: bool,
    /// Whether the load balancer is its own, if there is one.
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

/// Whether an environment has a setting.
pub(crate) fn applies(path: &str, kind: Kind) -> bool {
    let within = |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    NEEDS.iter().filter(|(name, _)| within(name)).all(|(_, needs)| missing(*needs, kind).is_none())
}

/// Takes out what an environment does not have. `own` is what it says itself.
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

/// What an environment lacks that a setting needs, and what to do.
fn missing(needs: Needs, Kind { tier, mode, is_joined }: Kind) -> Option<(&'static str, &'static str)> {
    match needs.tier {
        Some(Tier::Web) if tier == Tier::Worker => Some(("a worker", "remove it, or set `tier: web`")),
        Some(Tier::Worker) if tier == Tier::Web => Some(("a web environment", "remove it, or set `tier: worker`")),
        _ if needs.group && mode == Mode::SingleInstance => Some(("a single instance", "remove it, or set `mode: highly_available`")),
        _ if needs.own && is_joined => Some(("an environment of an edge", "remove it: `edges:` has it for both slots")),
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
