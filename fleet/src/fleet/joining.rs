//! Checks of environments and edges against each other.

use std::collections::BTreeMap;

use ingot::desk::{Mistake, nearest};

use crate::deployment::slot::Slot;
use crate::fleet::{Edge, Environment};

/// Returns the mistakes of environments that join an edge. `names` lists all edges, including unreadable ones.
pub(super) fn of_environments(environments: &[Environment], edges: &[Edge], names: &[String]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut taken: BTreeMap<(&str, Slot), &str> = BTreeMap::new();
    for environment in environments {
        let Some((name, slot)) = environment.joined() else { continue };
        if !names.iter().any(|other| other == name) {
            let hint = match nearest(name, names.iter().map(String::as_str)) {
                Some(near) => format!("write `{near}` if that is meant"),
                None => format!("add `edges: {{ {name}: … }}` at the top level, or remove `edge` and `slot`"),
            };
            mistakes.push(Mistake::at(environment.value_place("load_balancer.edge"), format!("there is no edge `{name}`"), hint));
            continue;
        }
        if let Some(other) = taken.insert((name, slot), &environment.key.name) {
            let message = format!("slot {slot} of the edge {name} is already taken by {other}");
            let hint = format!("write `slot: {}`, or another edge", slot.other());
            mistakes.push(Mistake::at(environment.value_place("load_balancer.slot"), message, hint));
        }
        let vpc = edges.iter().find(|edge| edge.key.name == name).and_then(|edge| edge.settings.network.vpc.as_ref());
        if let (Some(vpc), Some(own)) = (vpc, environment.settings.network.vpc.as_ref())
            && vpc != own
        {
            let message = format!("the edge {name} is in {}, so its environments must be in it too", vpc.as_str());
            mistakes.push(Mistake::at(environment.value_place("network.vpc"), message, format!("write {}", vpc.as_str())));
        }
    }
    mistakes
}
