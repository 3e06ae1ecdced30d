//! Every setting of an environment, with its value and where that comes from.

use ingot::desk::Place;
use serde_json::Value as Json;

use crate::fleet::{Environment, applies, site};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything else.
    Default,
    /// `defaults:` of fleet.yaml.
    Defaults(Place),
    Environment(Place),
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) path: String,
    pub(crate) value: Json,
    pub(crate) origin: Origin,
}

/// The settings that an environment has, in the order of the reference.
pub(crate) fn settings(environment: &Environment) -> Vec<Setting> {
    let mut leaves = Vec::new();
    let whole = serde_json::to_value(&environment.settings).expect("settings are maps of strings, numbers and lists");
    flatten("", whole, &mut leaves);
    leaves.retain(|(path, _)| applies::applies(path, environment.tier, environment.mode));
    let setting = |(path, value): (String, Json)| Setting { origin: origin(environment, &path), path, value };
    leaves.into_iter().map(setting).collect()
}

fn flatten(path: &str, value: Json, leaves: &mut Vec<(String, Json)>) {
    match value {
        Json::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, leaves);
            }
        }
        // What is not there has no value.
        Json::Null => {}
        value => leaves.push((path.to_owned(), value)),
    }
}

/// Where the value of a setting comes from.
pub(crate) fn origin(environment: &Environment, path: &str) -> Origin {
    let place = |node| site::node(node, path).and_then(|_| site::key_place(node, path));
    match (place(&environment.own), place(&environment.node)) {
        (Some(place), _) => Origin::Environment(place.clone()),
        (None, Some(place)) => Origin::Defaults(place.clone()),
        (None, None) => Origin::Default,
    }
}
