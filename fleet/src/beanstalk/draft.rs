//! A fleet.yaml under construction.

use std::sync::Arc;

use ingot::desk::{self, Key, Node, Place, Value};

/// Order of the settings of an environment.
const ORDER: [&str; 14] = [
    "tier",
    "mode",
    "image",
    "network",
    "document",
    "properties",
    "secrets",
    "load_balancer",
    "instances",
    "schedule",
    "queue",
    "database",
    "deployment",
    "alarms",
];

/// An environment under construction.
#[derive(Debug)]
pub(super) struct Draft {
    root: Node,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { root: node(Value::Map(Vec::new())) }
    }

    /// Sets the setting at a path such as `network.vpc`.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.root;
        for name in path.split('.') {
            at = below(at, name);
        }
        at.value = value;
    }

    /// Sets a property, whose name may contain dots.
    pub(super) fn property(&mut self, name: &str, value: &str) {
        below(below(&mut self.root, "properties"), name).value = Value::String(value.to_owned());
    }

    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.root, |node, name| node.get(name)).map(|node| &node.value)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    /// Returns the text of a fleet.yaml with this environment.
    pub(super) fn text(mut self, application: &str, releases: &str, environment: &str) -> String {
        if let Value::Map(entries) = &mut self.root.value {
            entries.sort_by_key(|(key, _)| ORDER.iter().position(|name| *name == key.name));
        }
        let mut whole = node(Value::Map(Vec::new()));
        below(&mut whole, "version").value = Value::Number("1".into());
        below(&mut whole, "application").value = Value::String(application.to_owned());
        below(&mut whole, "releases").value = Value::String(releases.to_owned());
        *below(below(&mut whole, "environments"), environment) = self.root;
        // The first line is the marker of boot documents.
        desk::yaml(&whole).lines().skip(1).map(|line| format!("{line}\n")).collect()
    }
}

/// A list of strings.
pub(super) fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Sequence(items.into_iter().map(|item| node(Value::String(item.as_ref().to_owned()))).collect())
}

/// A map, as an item of a list.
pub(super) fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Node {
    let mut whole = node(Value::Map(Vec::new()));
    for (name, value) in entries {
        below(&mut whole, name).value = value;
    }
    whole
}

fn node(value: Value) -> Node {
    Node { place: place(), value }
}

fn place() -> Place {
    Place { file: Arc::from("fleet.yaml"), line: 1, column: 1 }
}

fn below<'a>(node: &'a mut Node, name: &str) -> &'a mut Node {
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else { unreachable!("it is a map now") };
    let at = entries.iter().position(|(key, _)| key.name == name).unwrap_or_else(|| {
        entries.push((Key { place: place(), name: name.to_owned() }, Node { place: place(), value: Value::Null }));
        entries.len() - 1
    });
    &mut entries[at].1
}
