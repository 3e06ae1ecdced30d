//! One environment under check: rules report their mistakes to it, with the places of settings.

use ingot::desk::{Key, Mistake, Node, Objection, Place, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;

/// What an environment processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Tier {
    Web,
    Worker,
}

/// How an environment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Mode {
    /// A group in several zones.
    #[default]
    HighlyAvailable,
    /// A group of one instance; in the web tier with a fixed address instead of a load balancer.
    SingleInstance,
}

/// One environment under check.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    /// The name of the environment, with its place.
    pub(crate) key: &'a Key,
    /// `defaults:` and the environment, merged.
    pub(crate) node: &'a Node,
    /// The readable part of `node`; list items are numbered by it.
    pub(crate) understood: &'a Node,
    /// Places of unreadable values; the other settings are still checked.
    pub(crate) broken: &'a [Place],
    pub(crate) mistakes: Vec<Mistake>,
}

impl Site<'_> {
    /// Returns whether there is a group that scales.
    pub(crate) fn is_group(&self) -> bool {
        self.mode == Mode::HighlyAvailable
    }

    /// Returns whether there is a load balancer.
    pub(crate) fn is_balanced(&self) -> bool {
        self.is_group() && self.tier == Tier::Web
    }

    /// Reports a mistake in the value of a setting such as `instances.min` or, if it is not set, in the map it belongs
    /// to.
    pub(crate) fn wrong(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        let place = place(self.understood, path).unwrap_or(&self.key.place).clone();
        self.mistakes.push(Mistake::at(&place, message, hint));
    }

    pub(crate) fn object(&mut self, path: &str, Objection { message, hint }: Objection) {
        self.wrong(path, message, hint);
    }

    /// Reports a mistake in the name of a setting.
    pub(crate) fn wrong_key(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        let place = key_place(self.understood, path).unwrap_or(&self.key.place).clone();
        self.mistakes.push(Mistake::at(&place, message, hint));
    }

    /// Returns whether a setting, a part of it, or a map it belongs to is unreadable. Consequences of that are not
    /// reported as further mistakes.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        let Walk { node, key, rest } = walk(self.node, path);
        match rest {
            "" => key.is_some_and(|place| self.broken.contains(place)) || holds(node, self.broken),
            // A map that merely lacks the setting was readable.
            _ => !matches!(node.value, Value::Map(_)) && self.broken.contains(&node.place),
        }
    }

    /// Returns whether none of these is broken.
    pub(crate) fn is_readable(&self, paths: &[&str]) -> bool {
        !paths.iter().any(|path| self.is_broken(path))
    }

    pub(crate) fn missing(&mut self, path: &str, hint: impl Into<String>) {
        let is_empty = |node: &Node| matches!(&node.value, Value::Sequence(items) if items.is_empty());
        if node(self.node, path).is_some_and(|node| !is_empty(node)) || self.is_broken(path) {
            return;
        }
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let message = format!("`{path}` is missing in {}", self.key.name);
        let place = key_place(self.node, parent).unwrap_or(&self.key.place).clone();
        self.mistakes.push(Mistake::at(&place, message, hint));
    }

    /// Reports a duration outside its bounds, with the reason for them.
    pub(crate) fn within(&mut self, path: &str, length: Option<Length>, low: Length, high: Length, why: &str) {
        if let Some(length) = length.filter(|length| !(low..=high).contains(length)) {
            self.wrong(path, format!("{length} is out of range: {why}"), format!("write {low} to {high}"));
        }
    }
}

/// Returns whether any of the places is within a node.
fn holds(node: &Node, places: &[Place]) -> bool {
    places.contains(&node.place)
        || match &node.value {
            Value::Map(entries) => entries.iter().any(|(key, node)| places.contains(&key.place) || holds(node, places)),
            Value::Sequence(items) => items.iter().any(|node| holds(node, places)),
            _ => false,
        }
}

/// Returns the node of a setting such as `instances.min`; a number is an index into a list.
pub(crate) fn node<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    let Walk { node, rest, .. } = walk(root, path);
    rest.is_empty().then_some(node)
}

/// Returns the place of a setting's name, or of the name of the innermost existing map on its path.
pub(crate) fn key_place<'a>(root: &'a Node, path: &str) -> Option<&'a Place> {
    walk(root, path).key
}

/// Returns the place of a setting's value, or of the name of the innermost existing map on its path.
pub(crate) fn place<'a>(root: &'a Node, path: &str) -> Option<&'a Place> {
    let Walk { node, key, rest } = walk(root, path);
    if rest.is_empty() { Some(&node.place) } else { key }
}

/// How far a path exists.
struct Walk<'a, 'p> {
    node: &'a Node,
    key: Option<&'a Place>,
    /// The part of the path that does not exist.
    rest: &'p str,
}

fn walk<'a, 'p>(root: &'a Node, path: &'p str) -> Walk<'a, 'p> {
    let mut walk = Walk { node: root, key: None, rest: path };
    while !walk.rest.is_empty() {
        let (first, below) = walk.rest.split_once('.').unwrap_or((walk.rest, ""));
        let next = match &walk.node.value {
            // A name may contain dots.
            Value::Map(entries) => [(walk.rest, ""), (first, below)].into_iter().find_map(|(name, below)| {
                let (key, node) = entries.iter().find(|(key, _)| key.name == name)?;
                Some((&key.place, node, below))
            }),
            Value::Sequence(items) => first.parse::<usize>().ok().and_then(|at| items.get(at)).map(|node| (&node.place, node, below)),
            _ => None,
        };
        let Some((key, node, below)) = next else { break };
        walk = Walk { node, key: Some(key), rest: below };
    }
    walk
}
