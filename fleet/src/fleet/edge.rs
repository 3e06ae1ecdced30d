//! One edge of fleet.yaml.

use ingot::desk::{Key, Node, Place, Value};

use crate::fleet::settings::{EdgeSettings, OF_DEFAULTS};
use crate::fleet::site;

/// One edge.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Its name and where it is written.
    pub(crate) key: Key,
    /// Settings, including the defaults of `defaults:` and of the format.
    pub(crate) settings: EdgeSettings,
    /// `defaults:` and the edge, merged.
    pub(crate) node: Node,
    /// What the edge itself sets.
    pub(crate) own: Node,
}

impl Edge {
    /// Returns where a setting is written, or else where it would belong.
    pub(crate) fn place(&self, path: &str) -> &Place {
        site::key_place(&self.node, path).unwrap_or(&self.key.place)
    }
}

/// Returns the part of `defaults:` that applies to edges.
pub(super) fn of_defaults(defaults: Option<&Node>, place: &Place) -> Node {
    let entries = defaults.into_iter().flat_map(entries).filter_map(|(key, node)| {
        let (_, fields) = OF_DEFAULTS.iter().find(|(name, _)| *name == key.name)?;
        let mut node = node.clone();
        if let Value::Map(entries) = &mut node.value {
            entries.retain(|(key, _)| fields.contains(&key.name.as_str()));
        }
        Some((key.clone(), node))
    });
    Node { place: place.clone(), value: Value::Map(entries.collect()) }
}

fn entries(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}
