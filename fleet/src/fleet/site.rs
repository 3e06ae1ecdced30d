//! Where the settings of one environment stand: what rules report their mistakes to.

use ingot::desk::{Key, Mistake, Node, Objection, Place, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;

/// What an environment takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Tier {
    Web,
    Worker,
}

/// What serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Mode {
    /// A group in several zones.
    #[default]
    HighlyAvailable,
    /// A group of one; in the web tier with an address that stays, and without a load balancer.
    SingleInstance,
}

/// One environment while it is checked.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    /// The name of the environment, with its place.
    pub(crate) key: &'a Key,
    /// `defaults:` and the environment, merged.
    pub(crate) node: &'a Node,
    /// What of that could be read: items of lists are counted in it.
    pub(crate) understood: &'a Node,
    /// Where values stand that could not be read: what is left of the settings is checked all the same.
    pub(crate) broken: &'a [Place],
    pub(crate) mistakes: Vec<Mistake>,
}

impl Site<'_> {
    /// Whether there is a group that scales.
    pub(crate) fn is_group(&self) -> bool {
        self.mode == Mode::HighlyAvailable
    }

    /// Whether there is a load balancer.
    pub(crate) fn is_balanced(&self) -> bool {
        self.is_group() && self.tier == Tier::Web
    }

    /// A mistake in the value of a setting, such as `instances.min`; of the map that it is missing in, if it is.
    pub(crate) fn wrong(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        let place = place(self.understood, path).unwrap_or(&self.key.place).clone();
        self.mistakes.push(Mistake::at(&place, message, hint));
    }

    pub(crate) fn object(&mut self, path: &str, Objection { message, hint }: Objection) {
        self.wrong(path, message, hint);
    }

    /// A mistake in the name of a setting.
    pub(crate) fn wrong_key(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        let place = key_place(self.understood, path).unwrap_or(&self.key.place).clone();
        self.mistakes.push(Mistake::at(&place, message, hint));
    }

    /// Whether a setting is there and could not be read, or a part of it, or what it is part of: what follows from that is
    /// no mistake of its own.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        let Walk { node, key, rest } = walk(self.node, path);
        match rest {
            "" => key.is_some_and(|place| self.broken.contains(place)) || holds(node, self.broken),
            // A map without it is one that could be read.
            _ => !matches!(node.value, Value::Map(_)) && self.broken.contains(&node.place),
        }
    }

    /// Whether all of these are not broken.
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

    /// Holds a length of time to bounds, for a reason.
    pub(crate) fn within(&mut self, path: &str, length: Option<Length>, low: Length, high: Length, why: &str) {
        if let Some(length) = length.filter(|length| !(low..=high).contains(length)) {
            self.wrong(path, format!("{length} is out of range: {why}"), format!("write {low} to {high}"));
        }
    }
}

/// Whether any of the places is within a node.
fn holds(node: &Node, places: &[Place]) -> bool {
    places.contains(&node.place)
        || match &node.value {
            Value::Map(entries) => entries.iter().any(|(key, node)| places.contains(&key.place) || holds(node, places)),
            Value::Sequence(items) => items.iter().any(|node| holds(node, places)),
            _ => false,
        }
}

/// The node of a setting, such as `instances.min`; a number is the place in a list.
pub(crate) fn node<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    let Walk { node, rest, .. } = walk(root, path);
    rest.is_empty().then_some(node)
}

/// Where the name of a setting stands, or that of the innermost map that is there.
pub(crate) fn key_place<'a>(root: &'a Node, path: &str) -> Option<&'a Place> {
    walk(root, path).key
}

/// Where the value of a setting stands, or the name of the innermost map that is there.
pub(crate) fn place<'a>(root: &'a Node, path: &str) -> Option<&'a Place> {
    let Walk { node, key, rest } = walk(root, path);
    if rest.is_empty() { Some(&node.place) } else { key }
}

/// How far a path leads.
struct Walk<'a, 'p> {
    node: &'a Node,
    key: Option<&'a Place>,
    /// What is not there.
    rest: &'p str,
}

fn walk<'a, 'p>(root: &'a Node, path: &'p str) -> Walk<'a, 'p> {
    let mut walk = Walk { node: root, key: None, rest: path };
    while !walk.rest.is_empty() {
        let (first, below) = walk.rest.split_once('.').unwrap_or((walk.rest, ""));
        let next = match &walk.node.value {
            // A name may hold a point.
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
