//! Reads the text of fleet.yaml into a [`Fleet`], with all its mistakes.

use std::collections::BTreeSet;
use std::sync::Arc;

use ingot::desk::{self, Key, Mistake, Node, Objection, Place, Sources, Value};
use serde::de::DeserializeOwned;

use crate::fleet::applies::{self, Kind};
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::{Edge, EdgeSettings, Environment, Fleet, Releases, Settings, edge, joining, names};

/// The version of the format.
const VERSION: &str = "1";

/// The top-level keys.
pub(super) const KEYS: [&str; 6] = ["version", "application", "releases", "defaults", "edges", "environments"];

/// Result of reading a text.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) fleet: Fleet,
    pub(crate) sources: Sources,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads fleet.yaml. Messages refer to it as `name`.
pub(crate) fn read(name: &str, text: &str) -> Read {
    let file: Arc<str> = name.into();
    let (root, mistakes) = desk::parse(&file, text);
    let releases = Releases { bucket: "releases".into(), prefix: String::new() };
    let fleet = Fleet { application: "application".into(), releases, environments: Vec::new(), edges: Vec::new() };
    let mut read = Read { fleet, sources: Sources::from([(file, text.into())]), mistakes };
    match root {
        Some(root) => read.root(&root),
        None if read.mistakes.is_empty() => {
            read.mistakes.push(Mistake::of_a_file(format!("{name}: this file is empty"), Some("begin with `version: 1`".into())));
        }
        None => {}
    }
    read
}

impl Read {
    fn root(&mut self, root: &Node) {
        let Value::Map(entries) = &root.value else {
            let message = format!("fleet.yaml must be a map, not {}", root.value.describe());
            return self.mistakes.push(Mistake::at(&root.place, message, "begin with `version: 1`"));
        };
        for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.name.as_str())) {
            self.mistakes.push(key.unknown(&KEYS));
        }
        match root.get("version") {
            None => self.mistakes.push(Mistake::at(&root.place, "`version` is missing", "add `version: 1` at the top")),
            Some(node) if node.value != Value::Number(VERSION.to_owned()) => {
                let message = format!("this ingot-fleet reads version {VERSION} of fleet.yaml, written as a number");
                let hint = "write `version: 1`, or install an ingot-fleet that reads this file";
                self.mistakes.push(Mistake::at(&node.place, message, hint));
            }
            Some(_) => {}
        }
        let application = self.text(root, "application", "add `application: NAME`").map(|(name, node)| (name.to_owned(), node));
        if let Some((name, node)) = application
            && self.note(node, names::check_application(&name)).is_some()
        {
            self.fleet.application = name;
        }
        if let Some((text, node)) = self.text(root, "releases", "add `releases: s3://BUCKET/`")
            && let Some(releases) = self.note(node, Releases::parse(text))
        {
            self.fleet.releases = releases;
        }
        // With wrong names, the parameters of a stack cannot be computed.
        let is_sound = self.mistakes.is_empty();
        let defaults = root.get("defaults").filter(|node| node.value != Value::Null);
        let edges = self.edges(root, defaults);
        self.environments(root, defaults, is_sound);
        self.mistakes.extend(joining::of_environments(&self.fleet.environments, &self.fleet.edges, &edges));
    }

    /// Reads the edges. Returns the names of all of them.
    fn edges(&mut self, root: &Node, defaults: Option<&Node>) -> Vec<String> {
        let Some(node) = root.get("edges").filter(|node| node.value != Value::Null) else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            let message = format!("`edges` must be a map, not {}", node.value.describe());
            self.mistakes.push(Mistake::at(&node.place, message, "write `NAME: { … }` below it"));
            return Vec::new();
        };
        entries.iter().for_each(|entry| self.edge(entry, defaults));
        entries.iter().map(|(key, _)| key.name.clone()).collect()
    }

    fn edge(&mut self, (key, own): &(Key, Node), defaults: Option<&Node>) {
        if let Err(objection) = names::check_edge(&key.name) {
            self.mistakes.push(Mistake::of(&key.place, objection));
        }
        let mut own = own.clone();
        match own.value {
            Value::Map(_) => {}
            // All settings may be in `defaults:`.
            Value::Null => own.value = Value::Map(Vec::new()),
            value => {
                let message = format!("the edge `{}` must be a map, not {}", key.name, value.describe());
                return self.mistakes.push(Mistake::at(&own.place, message, "write `{ network: { … } }`"));
            }
        }
        let mut node = edge::of_defaults(defaults, &own.place);
        desk::merge(&mut node, own.clone());
        tidy(&mut node);
        let Decoded { settings, broken, read } = self.decoded::<EdgeSettings>(&node);
        let Some(mut settings) = settings else { return };
        let (tier, mode) = (Tier::Web, Mode::HighlyAvailable);
        let mut site = Site { tier, mode, key, node: &node, understood: &read, broken: &broken, mistakes: Vec::new() };
        settings.check(&mut site);
        self.mistakes.extend(site.mistakes);
        settings.complete();
        self.fleet.edges.push(Edge { key: key.clone(), settings, node, own });
    }

    fn note<T>(&mut self, node: &Node, result: Result<T, Objection>) -> Option<T> {
        result.map_err(|objection| self.mistakes.push(Mistake::of(&node.place, objection))).ok()
    }

    fn text<'a>(&mut self, root: &'a Node, name: &str, hint: &str) -> Option<(&'a str, &'a Node)> {
        let Some(node) = root.get(name) else {
            self.mistakes.push(Mistake::at(&root.place, format!("`{name}` is missing"), hint));
            return None;
        };
        match &node.value {
            Value::String(text) => Some((text, node)),
            value => {
                let hint = match value {
                    Value::Number(written) => format!("put it in quotes: \"{written}\""),
                    _ => hint.replace("add", "write"),
                };
                self.mistakes.push(Mistake::at(&node.place, format!("expected a string, found {}", value.describe()), hint));
                None
            }
        }
    }

    fn environments(&mut self, root: &Node, defaults: Option<&Node>, is_sound: bool) {
        if let Some(defaults) = defaults {
            // Check `defaults:` itself too, since it may contain what no environment uses.
            let mut defaults = defaults.clone();
            tidy(&mut defaults);
            let _: Option<Settings> = desk::decode(&defaults, &mut self.mistakes);
        }
        let hint = "add `environments:`, and below it `NAME: { tier: web, … }`";
        match root.get("environments").map(|node| (&node.place, &node.value)) {
            Some((_, Value::Map(entries))) if !entries.is_empty() => {
                for (key, own) in entries {
                    self.environment((key, own), defaults, is_sound);
                }
            }
            Some((place, Value::Map(_) | Value::Null)) => self.mistakes.push(Mistake::at(place, "there are no environments", hint)),
            Some((place, value)) => {
                let message = format!("`environments` must be a map, not {}", value.describe());
                self.mistakes.push(Mistake::at(place, message, "write `NAME: { tier: web, … }` below it"));
            }
            None => self.mistakes.push(Mistake::at(&root.place, "`environments` is missing", hint)),
        }
    }

    fn decoded<T: DeserializeOwned>(&mut self, node: &Node) -> Decoded<T> {
        let mut found = Vec::new();
        let settings = desk::decode(node, &mut found);
        if settings.is_some() {
            return Decoded { settings, broken: Vec::new(), read: node.clone() };
        }
        let places = |mistakes: &[Mistake]| -> Vec<Place> { mistakes.iter().filter_map(|mistake| mistake.place.clone()).collect() };
        let (mut read, mut again) = (node.clone(), Vec::new());
        let broken = places(&found);
        without(&mut read, &broken, false);
        self.mistakes.append(&mut found);
        // A value that is still wrong is incomplete or wrong as a whole, so remove all of it.
        let settings = desk::decode(&read, &mut again).or_else(|| {
            without(&mut read, &places(&again), true);
            desk::decode(&read, &mut Vec::new())
        });
        Decoded { settings, broken, read }
    }

    fn environment(&mut self, (key, own): (&Key, &Node), defaults: Option<&Node>, is_sound: bool) {
        let before = self.mistakes.len();
        let name = names::check(&key.name).and_then(|()| names::check_together(&self.fleet.application, &key.name));
        let name = match name {
            Ok(()) => key.name.clone(),
            Err(objection) => {
                self.mistakes.push(Mistake::of(&key.place, objection));
                "environment".to_owned()
            }
        };
        if !matches!(own.value, Value::Map(_)) {
            let message = format!("the environment `{}` must be a map, not {}", key.name, own.value.describe());
            return self.mistakes.push(Mistake::at(&own.place, message, "write `{ tier: web, … }`"));
        }
        let mut node = defaults.cloned().unwrap_or_else(|| Node { place: own.place.clone(), value: Value::Map(Vec::new()) });
        desk::merge(&mut node, own.clone());
        tidy(&mut node);
        let (tier, mode) = kind(&node);
        if let Some(tier) = tier {
            let is_joined = node.get("load_balancer").and_then(|balancer| balancer.get("edge")).is_some();
            self.mistakes.extend(applies::keep_what_applies(&mut node, own, Kind { tier, mode, is_joined }));
        }
        let Decoded { settings, broken, read } = self.decoded::<Settings>(&node);
        let Some((mut settings, tier)) = settings.zip(tier) else {
            if node.get("tier").is_none() {
                let message = format!("`tier` is missing in {}", key.name);
                self.mistakes.push(Mistake::at(&key.place, message, "add `tier: web` or `tier: worker`"));
            }
            return;
        };
        let mut site = Site { tier, mode, key, node: &node, understood: &read, broken: &broken, mistakes: Vec::new() };
        settings.check(&mut site);
        self.mistakes.extend(site.mistakes);
        if let Some(name) = &settings.load_balancer.edge
            && let Some(edge) = self.fleet.edges.iter().find(|edge| edge.key.name == name.as_str())
        {
            settings.load_balancer.join(&edge.settings.load_balancer);
        }
        settings.complete(tier, mode);
        let is_sound = is_sound && self.mistakes.len() == before;
        self.fleet.environments.push(Environment { key: key.clone(), name, tier, mode, settings, node, own: own.clone(), is_sound });
    }
}

/// The readable part of an environment.
struct Decoded<T> {
    settings: Option<T>,
    /// Places of unreadable values.
    broken: Vec<Place>,
    /// The environment without them.
    read: Node,
}

/// Removes entries that are `null`, whether or not they removed anything, and duplicate keys, which have already been
/// reported.
fn tidy(node: &mut Node) {
    let Value::Map(entries) = &mut node.value else { return };
    let mut seen = BTreeSet::new();
    entries.retain(|(key, node)| node.value != Value::Null && seen.insert(key.name.clone()));
    entries.iter_mut().for_each(|(_, node)| tidy(node));
}

/// Removes the values at these places. A map has the same place as its first key, so it is removed only if `whole` is
/// set.
fn without(node: &mut Node, places: &[Place], whole: bool) {
    let stays = |node: &Node| {
        let begins_with_a_key = matches!(&node.value, Value::Map(entries) if entries.iter().any(|(key, _)| key.place == node.place));
        !places.contains(&node.place) || begins_with_a_key && !whole
    };
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|(key, node)| !places.contains(&key.place) && stays(node));
            entries.iter_mut().for_each(|(_, node)| without(node, places, whole));
        }
        Value::Sequence(items) => {
            items.retain(stays);
            items.iter_mut().for_each(|node| without(node, places, whole));
        }
        _ => {}
    }
}

/// Returns tier and mode of an environment. Invalid values are reported when it is decoded.
fn kind(node: &Node) -> (Option<Tier>, Mode) {
    let word = |name: &str| match node.get(name).map(|node| &node.value) {
        Some(Value::String(word)) => word.as_str(),
        _ => "",
    };
    let tier = match word("tier") {
        "web" => Some(Tier::Web),
        "worker" => Some(Tier::Worker),
        _ => None,
    };
    (tier, if word("mode") == "single_instance" { Mode::SingleInstance } else { Mode::HighlyAvailable })
}
