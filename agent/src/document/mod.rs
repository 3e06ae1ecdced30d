//! The boot document: what the user wrote, checked and typed.
//!
//! [`source`] finds the layers, [`mod@include`] reads what they include, [`encoding`] unwraps user data, [`tree`]
//! parses YAML with places, [`layers`] merges, [`registry`] lists every kind of step, and [`decode`] makes typed steps
//! and collects every mistake; [`plan`](crate::plan) finds the mistakes between steps.

pub(crate) mod decode;
pub(crate) mod encoding;
pub(crate) mod error;
pub(crate) mod include;
pub(crate) mod layers;
pub(crate) mod meant;
pub(crate) mod names;
mod registry;
pub(crate) mod scalar;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod source;
pub(crate) mod tree;
mod unindented;
mod when;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::document::error::{Mistake, Sources};
use crate::document::registry::{CLAIMS, COMMON, Common, Kind, VERSION};
use crate::document::source::{Layers, Torn};
use crate::document::tree::{Key, Node, Value};
use crate::document::unindented::Entry;
use crate::failure::Objection;
use crate::sorting::Sort as _;
use crate::step::{AnyStep, Companion, Order};
use crate::template::TEMPLATES;
use crate::text::{Place, Text};

pub(crate) use crate::document::registry::KINDS;

/// One step of a document.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) common: Common,
    /// `after:`, each with its place; `None` if the author did not write it.
    pub(crate) after: Option<Vec<(Address, Place)>>,
    /// `when:`, until it has been evaluated.
    pub(crate) when: Option<Text>,
    pub(crate) step: Box<dyn AnyStep>,
    /// The step as it was written. Kept only on a dev box.
    pub(crate) written: Option<Node>,
}

impl Item {
    /// The place of what is wrong with the step, as precisely as possible.
    pub(crate) fn place_of(&self, objection: &Objection) -> &Place {
        self.written.as_ref().and_then(|node| node.quoted_in(&objection.message)).unwrap_or(&self.place)
    }
}

/// A merged document, and every mistake found so far.
#[derive(Debug)]
pub(crate) struct BootDocument {
    /// `values:` with places. Its strings may contain references to facts and other values.
    pub(crate) values: Node,
    /// `claims:` with its place.
    pub(crate) claims: Option<Text>,
    pub(crate) items: BTreeMap<Address, Item>,
    /// Steps that have mistakes of their own, each as it was written. A reference to one of them is not a further
    /// mistake.
    pub(crate) broken: Vec<(Address, Node)>,
    /// Steps that are left out because their `when:` is false.
    pub(crate) not_due: Vec<Address>,
    pub(crate) sources: Sources,
    pub(crate) mistakes: Vec<Mistake>,
    /// Whether it is examined on a dev box, where there is time for further checks.
    pub(crate) on_a_desk: bool,
    /// Whether parts of it could not be read, so that anything missing may be in them.
    pub(crate) is_torn: bool,
}

impl BootDocument {
    /// Merges layers and reads them as steps. Never fails: mistakes are collected, because planning may find more.
    pub(crate) fn of(layers: Layers) -> Self {
        Self::read_from(layers, false)
    }

    /// The same on a dev box.
    pub(crate) fn of_a_desk(layers: Layers) -> Self {
        Self::read_from(layers, true)
    }

    fn read_from(layers: Layers, on_a_desk: bool) -> Self {
        let Layers { mut nodes, sources, mut mistakes, passed_over: _, torn } = layers;
        // Callers that can read includes have done so by now.
        for node in &mut nodes {
            let includes = include::take(node, &mut mistakes);
            mistakes.extend(includes.iter().map(include::unread));
        }
        let nowhere = Place { file: "".into(), line: 1, column: 1 };
        let empty = Node { place: nowhere, value: Value::Map(Vec::new()) };
        let (broken, not_due) = (Vec::new(), Vec::new());
        let mut document = Self {
            values: empty.clone(),
            claims: None,
            items: BTreeMap::new(),
            broken,
            not_due,
            sources,
            mistakes,
            on_a_desk,
            is_torn: torn == Torn::Incomplete,
        };
        let mut nodes = nodes.into_iter();
        let Some(mut merged) = nodes.next() else { return document };
        nodes.for_each(|node| layers::merge(&mut merged, node));
        document.read(merged);
        document
    }

    /// The signals of layers that have mistakes, as far as they can be read. Everything else is dropped.
    pub(crate) fn signals_of(layers: Layers) -> Self {
        let mut document = Self::of(layers);
        document.items.retain(|address, item| item.step.shape(address.key()).order == Order::AfterEverything);
        document.items.values_mut().for_each(|item| item.after = None);
        document.mistakes.clear();
        document
    }

    fn read(&mut self, merged: Node) {
        if merged.get("version").is_none() && !self.is_torn {
            self.mistakes.push(Mistake::at(&merged.place, "`version` is missing", "add `version: 1` at the top"));
        }
        let Value::Map(entries) = merged.value else { return };
        let mut above = unindented::Above::default();
        for (key, node) in entries {
            let of = above.next(&key, &node);
            match key.name.as_str() {
                "version" => self.read_version(&node),
                "values" => match node.value {
                    Value::Map(_) => self.values = node,
                    Value::Null => {}
                    _ => self.expected_map(&key, &node),
                },
                CLAIMS => self.read_claims(node),
                name => match KINDS.iter().find(|kind| kind.name == name) {
                    Some(kind) => self.read_kind(kind, &key, node),
                    None => {
                        let known: Vec<&str> = registry::top_level().collect();
                        self.mistakes.push(unindented::section(&key, of, &known));
                    }
                },
            }
        }
    }

    fn read_version(&mut self, node: &Node) {
        if node.value != Value::Number(VERSION.to_owned()) {
            let message = format!("this ingot reads version {VERSION} of the document, written as a number");
            self.mistakes.push(Mistake::at(&node.place, message, "write `version: 1`, or install an ingot that reads this document"));
        }
    }

    fn read_claims(&mut self, node: Node) {
        match node.value {
            Value::String(place) => self.claims = Some(Text::at(place, node.place)),
            Value::Null => {}
            value => {
                let message = format!("`{CLAIMS}` must be a place in S3, not {}", value.describe());
                self.mistakes.push(Mistake::at(&node.place, message, "write s3://BUCKET/PREFIX/"));
            }
        }
    }

    fn expected_map(&mut self, key: &Key, node: &Node) {
        let message = format!("`{}` must be a map, not {}", key.name, node.value.describe());
        self.mistakes.push(Mistake::at(&node.place, message, "write `name: { … }` below it, one line for each"));
    }

    fn read_kind(&mut self, kind: &Kind, key: &Key, node: Node) {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => return self.expected_map(key, &node),
        };
        for Entry { key, node, is_reported } in unindented::fields(kind, entries, &mut self.mistakes) {
            let address = Address::new(kind.name, &key.name);
            let item = if is_reported { None } else { self.read_item(kind, &key, &node) };
            match item {
                Some(item) => {
                    for Companion { address: companion, step, required } in item.step.companions(&key.name) {
                        let common = Common { required: Some(required), ..Common::default() };
                        let after = Some(vec![(address.clone(), item.place.clone())]);
                        let (place, when) = (item.place.clone(), item.when.clone());
                        self.items.insert(companion, Item { place, common, after, when, step, written: None });
                    }
                    let written = self.on_a_desk.then_some(node);
                    self.items.insert(address, Item { written, ..item });
                }
                None => self.broken.push((address, node)),
            }
        }
    }

    fn read_item(&mut self, kind: &Kind, key: &Key, node: &Node) -> Option<Item> {
        if node.value == Value::Null {
            let message = format!("`{}` has no value, and no earlier layer has anything to remove", key.name);
            self.mistakes.push(Mistake::at(
                &key.place,
                message,
                "write `{}` for a step that needs no fields; `null` removes one of an earlier layer",
            ));
            return None;
        }
        if key.name.is_empty() {
            self.mistakes.push(Mistake::at(&key.place, "this key is empty", "give the step a name"));
            return None;
        }
        if let Some(mistake) = names::of_step(key) {
            self.mistakes.push(mistake);
            return None;
        }
        let known = self.mistakes.len();
        let step = (kind.decode)(node, &mut self.mistakes);
        // The text may belong to a field whose name is misspelled.
        if self.mistakes.len() == known {
            names::check(node, kind.short, &mut self.mistakes);
        }
        let common = match has_common_part(node) {
            true => decode::decode_part(node, &COMMON, &mut self.mistakes),
            false => Some(Common::default()),
        };
        let (step, mut common) = (step?, common?);
        let after = common.after.take().map(|texts| texts.iter().filter_map(|text| self.address(text, node)).collect());
        let when = common.when.take().zip(node.get("when")).map(|(when, node)| Text::at(when.0, node.place.clone()));
        Some(Item { place: key.place.clone(), common, after, when, step, written: None })
    }

    fn address(&mut self, text: &Text, node: &Node) -> Option<(Address, Place)> {
        let place = text.place().unwrap_or(&node.place).clone();
        match text.raw().parse() {
            Ok(address) => Some((address, place)),
            Err(objection) => {
                self.mistakes.push(Mistake::of(&place, objection));
                None
            }
        }
    }

    /// Every template file that a step renders.
    pub(crate) fn template_paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.items.values().filter_map(|item| item.step.template().map(PathBuf::from)).collect();
        paths.extend(self.broken.iter().filter_map(|(address, node)| template_of(address, node)));
        paths.order();
        paths.dedup();
        paths
    }
}

/// The template file of a step that has mistakes.
pub(crate) fn template_of(address: &Address, node: &Node) -> Option<PathBuf> {
    match &node.get("template")?.value {
        Value::String(path) if address.kind() == "files" => Some(Path::new(TEMPLATES).join(path)),
        _ => None,
    }
}

/// Whether a step has one of the fields that all kinds share, which are read separately.
fn has_common_part(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.iter().any(|(key, _)| COMMON.contains(&key.name.as_str())))
}
