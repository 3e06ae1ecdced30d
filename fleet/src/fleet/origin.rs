//! Every setting of an environment with its value and origin.

use ingot::desk::{Node, Place};
use serde::Serialize;
use serde_json::Value as Json;

use crate::fleet::applies::{Kind, applies};
use crate::fleet::{Edge, Environment, site};

/// Origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The default of the format.
    Default,
    /// `defaults:` of fleet.yaml.
    Defaults(Place),
    /// The environment, or the edge, itself.
    Environment(Place),
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) path: String,
    pub(crate) value: Json,
    pub(crate) origin: Origin,
}

/// Returns the settings that apply to an environment, in the order of the reference.
pub(crate) fn settings(environment: &Environment) -> Vec<Setting> {
    let mut leaves = leaves(&environment.settings);
    let kind = Kind { tier: environment.tier, mode: environment.mode, is_joined: environment.joined().is_some() };
    leaves.retain(|(path, _)| applies(path, kind));
    let setting = |(path, value): (String, Json)| Setting { origin: origin(environment, &path), path, value };
    leaves.into_iter().map(setting).collect()
}

/// Returns the settings of an edge, in the order of the reference.
pub(crate) fn settings_of_edge(edge: &Edge) -> Vec<Setting> {
    let setting = |(path, value): (String, Json)| Setting { origin: of(&edge.own, &edge.node, &path), path, value };
    leaves(&edge.settings).into_iter().map(setting).collect()
}

fn leaves(settings: &impl Serialize) -> Vec<(String, Json)> {
    let mut leaves = Vec::new();
    let whole = serde_json::to_value(settings).expect("settings are maps of strings, numbers and lists");
    flatten("", whole, &mut leaves);
    leaves
}

fn flatten(path: &str, value: Json, leaves: &mut Vec<(String, Json)>) {
    match value {
        Json::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, leaves);
            }
        }
        // An unset setting has no value.
        Json::Null => {}
        value => leaves.push((path.to_owned(), value)),
    }
}

/// Returns the origin of the value of a setting.
pub(crate) fn origin(environment: &Environment, path: &str) -> Origin {
    of(&environment.own, &environment.node, path)
}

fn of(own: &Node, merged: &Node, path: &str) -> Origin {
    let place = |node| site::node(node, path).and_then(|_| site::key_place(node, path));
    match (place(own), place(merged)) {
        (Some(place), _) => Origin::Environment(place.clone()),
        (None, Some(place)) => Origin::Defaults(place.clone()),
        (None, None) => Origin::Default,
    }
}
