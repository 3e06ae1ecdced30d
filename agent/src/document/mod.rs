//! The boot document: what the user wrote, checked and typed.
//!
//! [`source`] finds the layers, [`mod@include`] what they include, [`encoding`] unwraps user data, [`tree`] parses with places,
//! [`layers`] merges, [`decode`] makes typed steps by a [`reader`] and collects every mistake; [`plan`](crate::plan) finds the
//! mistakes between steps.

pub(crate) mod decode;
pub(crate) mod encoding;
pub(crate) mod error;
pub(crate) mod include;
mod layers;
mod reader;
pub(crate) mod schema;
pub(crate) mod source;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::document::error::{Mistake, Sources};
use crate::document::source::Layers;
use crate::document::tree::{Key, Node, Value};
use crate::step::fields::TimeLimit;
use crate::step::{AnyStep, Companion, Order, Phase, Step};
use crate::steps::bundle::Bundle;
use crate::steps::command::Command;
use crate::steps::credential::Credential;
use crate::steps::database::Database;
use crate::steps::file::File;
use crate::steps::mount::Mount;
use crate::steps::secret::Secret;
use crate::steps::service::Service;
use crate::steps::signal::Signal;
use crate::steps::volume::Volume;
use crate::text::{Place, Text};

/// Every kind of step, by the name of its map. A new kind is one line here.
pub(crate) const KINDS: &[Kind] = &[
    Kind::of::<Secret>("secrets"),
    Kind::of::<Volume>("volumes"),
    Kind::of::<Mount>("mounts"),
    Kind::of::<Database>("databases"),
    Kind::of::<Bundle>("bundles"),
    Kind::of::<File>("files"),
    Kind::of::<Credential>("credentials"),
    Kind::of::<Command>("commands"),
    Kind::of::<Service>("services"),
    Kind::of::<Signal>("signals"),
];

/// The version of the format that this ingot reads.
const VERSION: i64 = 1;

/// Reads one step; its mistakes are added to those known.
type Decode = fn(&Node, &mut Vec<Mistake>) -> Option<Box<dyn AnyStep>>;

/// One kind of step: how it is read, and what its JSON Schema is.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    decode: Decode,
    schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    const fn of<S: Step + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Self {
        Self {
            name,
            decode: |node, mistakes| decode::decode_without::<S>(node, &COMMON, mistakes).map(|step| Box::new(step) as Box<dyn AnyStep>),
            schema: S::json_schema,
        }
    }
}

/// Fields that every step may have.
const COMMON: [&str; 4] = ["after", "timeout", "required", "phase"];

/// What any step may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Common {
    /// Steps to wait for, by address, besides those it refers to.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Address>>")]
    after: Option<Vec<Text>>,
    /// How long it may take in all.
    pub(crate) timeout: Option<TimeLimit>,
    /// Set to false where the boot may go on, degraded, without this step. Default: true.
    pub(crate) required: Option<bool>,
    /// Whether it is due before an instance goes into its warm pool, or only when it goes into service. Default: warm, but
    /// serve for services, for signals to CloudFormation, and for what needs any of these.
    pub(crate) phase: Option<Phase>,
}

/// One step of a document.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) common: Common,
    /// `after:`, each with its place; `None` where the author said nothing.
    pub(crate) after: Option<Vec<(Address, Place)>>,
    pub(crate) step: Box<dyn AnyStep>,
}

/// A merged document, and every mistake met so far.
#[derive(Debug)]
pub(crate) struct BootDocument {
    /// `values:`, with places; strings in it may hold references to facts and other values.
    pub(crate) values: Node,
    pub(crate) items: BTreeMap<Address, Item>,
    /// Steps that are there but have mistakes of their own: referring to them is not another one.
    pub(crate) broken: Vec<Address>,
    pub(crate) sources: Sources,
    pub(crate) mistakes: Vec<Mistake>,
}

impl BootDocument {
    /// Merges layers and reads them as steps. Never fails: mistakes are collected, for planning may find more.
    pub(crate) fn of(layers: Layers) -> Self {
        let Layers { mut nodes, sources, mut mistakes } = layers;
        // Whoever has not read them by now cannot.
        for node in &mut nodes {
            let includes = include::take(node, &mut mistakes);
            mistakes.extend(includes.iter().map(include::unread));
        }
        let nowhere = Place { file: "".into(), line: 1, column: 1 };
        let empty = Node { place: nowhere, value: Value::Map(Vec::new()) };
        let mut document = Self { values: empty.clone(), items: BTreeMap::new(), broken: Vec::new(), sources, mistakes };
        let mut nodes = nodes.into_iter();
        let Some(mut merged) = nodes.next() else { return document };
        nodes.for_each(|node| layers::merge(&mut merged, node));
        document.read(merged);
        document
    }

    /// The signals of layers that have mistakes, as far as they can be read, and nothing else.
    pub(crate) fn signals_of(layers: Layers) -> Self {
        let mut document = Self::of(layers);
        document.items.retain(|address, item| item.step.shape(address.key()).order == Order::AfterEverything);
        document.items.values_mut().for_each(|item| item.after = None);
        document.mistakes.clear();
        document
    }

    fn read(&mut self, merged: Node) {
        if merged.get("version").is_none() {
            self.mistakes.push(Mistake::at(&merged.place, "`version` is missing", "add `version: 1` at the top"));
        }
        let Value::Map(entries) = merged.value else { return };
        for (key, node) in entries {
            match key.name.as_str() {
                "version" => self.read_version(&node),
                "values" => match node.value {
                    Value::Map(_) => self.values = node,
                    Value::Null => {}
                    _ => self.expected_map(&key, &node),
                },
                name => match KINDS.iter().find(|kind| kind.name == name) {
                    Some(kind) => self.read_kind(kind, &key, node),
                    None => {
                        let known: Vec<&str> =
                            ["version", "include", "values"].into_iter().chain(KINDS.iter().map(|kind| kind.name)).collect();
                        self.mistakes.push(decode::unknown_key(&key, &known));
                    }
                },
            }
        }
    }

    fn read_version(&mut self, node: &Node) {
        if node.value != Value::Integer(VERSION) {
            let message = format!("this ingot reads version {VERSION} of the document, written as a number");
            self.mistakes.push(Mistake::at(&node.place, message, "write `version: 1`, or install an ingot that reads this document"));
        }
    }

    fn expected_map(&mut self, key: &Key, node: &Node) {
        let message = format!("`{}` is a map, and this is {}", key.name, node.describe());
        self.mistakes.push(Mistake::at(&node.place, message, "write `name: { … }` below it, one line for each"));
    }

    fn read_kind(&mut self, kind: &Kind, key: &Key, node: Node) {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => return self.expected_map(key, &node),
        };
        for (key, node) in entries {
            let address = Address::new(kind.name, &key.name);
            match self.read_item(kind, &key, &node) {
                Some(item) => {
                    for Companion { address: companion, step, required } in item.step.companions(&key.name) {
                        let common = Common { required: Some(required), ..Common::default() };
                        let after = Some(vec![(address.clone(), item.place.clone())]);
                        self.items.insert(companion, Item { place: item.place.clone(), common, after, step });
                    }
                    self.items.insert(address, item);
                }
                None => self.broken.push(address),
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
        let step = (kind.decode)(node, &mut self.mistakes);
        let common = decode::decode::<Common>(&common_part(node), &mut self.mistakes);
        let (step, mut common) = (step?, common?);
        let after = common.after.take().map(|texts| texts.iter().filter_map(|text| self.address(text, node)).collect());
        Some(Item { place: key.place.clone(), common, after, step })
    }

    fn address(&mut self, text: &Text, node: &Node) -> Option<(Address, Place)> {
        let place = text.place().unwrap_or(&node.place).clone();
        match text.raw().parse() {
            Ok(address) => Some((address, place)),
            Err(message) => {
                let message: String = message;
                let (what, hint) = message.split_once(": ").unwrap_or((&message, "write kind.key"));
                self.mistakes.push(Mistake::at(&place, what, hint));
                None
            }
        }
    }

    /// Every template file that a step renders.
    pub(crate) fn template_paths(&self) -> Vec<PathBuf> {
        let template = |(address, item): (&Address, &Item)| item.step.shape(address.key()).template.map(PathBuf::from);
        let mut paths: Vec<PathBuf> = self.items.iter().filter_map(template).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

/// The part of a step that is read apart from its kind.
fn common_part(node: &Node) -> Node {
    let entries = match &node.value {
        Value::Map(entries) => entries.iter().filter(|(key, _)| COMMON.contains(&key.name.as_str())).cloned().collect(),
        _ => Vec::new(),
    };
    Node { place: node.place.clone(), value: Value::Map(entries) }
}
