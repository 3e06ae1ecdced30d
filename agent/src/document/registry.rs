//! Every kind of step, and the fields that all kinds share.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::document::decode::decode_without;
use crate::document::error::Mistake;
use crate::document::tree::{Node, Value};
use crate::document::when::When;
use crate::step::fields::TimeLimit;
use crate::step::{AnyStep, Phase, Step};
use crate::steps::address::ElasticIp;
use crate::steps::application::Application;
use crate::steps::bundle::Bundle;
use crate::steps::command::Command;
use crate::steps::credential::Credential;
use crate::steps::database::Database;
use crate::steps::drain::Drain;
use crate::steps::file::File;
use crate::steps::mount::Mount;
use crate::steps::secret::Secret;
use crate::steps::service::Service;
use crate::steps::signal::Signal;
use crate::steps::volume::Volume;
use crate::steps::worker::Worker;
use crate::text::Text;

/// Every kind of step, by the name of its map. A new kind is one line here.
pub(crate) const KINDS: &[Kind] = &[
    Kind::of::<Secret>("secrets"),
    Kind::of::<Volume>("volumes"),
    Kind::of::<Mount>("mounts"),
    Kind::of::<Database>("databases"),
    Kind::of::<Bundle>("bundles"),
    Kind::of::<File>("files"),
    Kind::of::<Credential>("credentials").short_for("value"),
    Kind::of::<Command>("commands"),
    Kind::of::<Service>("services"),
    Kind::of::<Application>("applications"),
    Kind::of::<Worker>("workers"),
    Kind::of::<Drain>("drains"),
    Kind::of::<ElasticIp>("addresses"),
    Kind::of::<Signal>("signals"),
];

/// The version of the format that this ingot reads.
pub(super) const VERSION: &str = "1";

/// The key of the list of documents to include.
pub(crate) const INCLUDE: &str = "include";

/// The key of the location where the instances of a fleet choose one of them.
pub(crate) const CLAIMS: &str = "claims";

/// Every top-level key of a document.
pub(crate) fn top_level() -> impl Iterator<Item = &'static str> {
    ["version", INCLUDE, "values", CLAIMS].into_iter().chain(KINDS.iter().map(|kind| kind.name))
}

/// Reads one step and appends its mistakes.
pub(crate) type Decode = fn(&Node, &mut Vec<Mistake>) -> Option<Box<dyn AnyStep>>;

/// One kind of step: how it is read, and its JSON Schema, which tests compare with the one embedded in the program.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) decode: Decode,
    /// The field to which a value is assigned if a step is written as anything but a map.
    pub(super) short: Option<&'static str>,
    #[cfg(test)]
    pub(super) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl Kind {
    const fn of<S: Step + DeserializeOwned + JsonSchema + 'static>(name: &'static str) -> Self {
        Self {
            name,
            decode: |node, mistakes| decode_without::<S>(node, &COMMON, mistakes).map(|step| Box::new(step) as Box<dyn AnyStep>),
            short: None,
            #[cfg(test)]
            schema: S::json_schema,
        }
    }

    const fn short_for(mut self, field: &'static str) -> Self {
        self.short = Some(field);
        self
    }
}

/// Expands the steps of a layer that are written in the short form, so that layers are merged field by field.
pub(super) fn write_out(layer: &mut Node) {
    let Value::Map(kinds) = &mut layer.value else { return };
    for (key, steps) in kinds {
        let short = KINDS.iter().find(|kind| kind.name == key.name).and_then(|kind| kind.short);
        let (Some(field), Value::Map(steps)) = (short, &mut steps.value) else { continue };
        let is_short = |step: &Node| !matches!(step.value, Value::Map(_) | Value::Null);
        steps.iter_mut().map(|(_, step)| step).filter(|step| is_short(step)).for_each(|step| *step = step.below(field));
    }
}

/// Fields that every step may have.
pub(super) const COMMON: [&str; 5] = ["after", "timeout", "required", "phase", "when"];

/// What any step may say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Common {
    /// Steps to wait for, in addition to those that this step refers to.
    #[serde(default)]
    #[schemars(with = "Option<Vec<Address>>")]
    pub(super) after: Option<Vec<Text>>,
    /// Time limit of the whole step, retries included. Default: depends on the kind.
    pub(crate) timeout: Option<TimeLimit>,
    /// Whether the boot fails if this step fails; if false, the boot is degraded instead. Default: true.
    pub(crate) required: Option<bool>,
    /// When the step is due in a warm pool. Default: `warm`; `serve` for services, `cloudformation` signals and their
    /// dependents.
    pub(crate) phase: Option<Phase>,
    /// Whether the step is there: true, false, or a template of values and facts that renders to either. Default: true.
    pub(super) when: Option<When>,
}

#[cfg(test)]
mod tests {
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    fn of(layers: &[&str]) -> BootDocument {
        let mut read = Layers::default();
        layers.iter().for_each(|credentials| read.add("x", &format!("version: 1\ncredentials:\n{credentials}")));
        BootDocument::of(read)
    }

    fn document(credentials: &str) -> BootDocument {
        of(&[credentials])
    }

    #[test]
    fn both_forms_of_a_credential_are_merged_field_by_field() {
        for (layers, value, is_required) in [
            (["  a: b\n", "  a: { required: false }\n"], "b", Some(false)),
            (["  a: { value: b, required: false }\n", "  a: c\n"], "c", Some(false)),
            (["  a: b\n", "  a: c\n"], "c", None),
        ] {
            let document = of(&layers);
            let item = document.items.values().next().unwrap();
            assert_eq!((item.step.shape("a").texts[0].raw(), item.common.required), (value, is_required), "{layers:?}");
            assert!(document.mistakes.is_empty(), "{:?}", document.mistakes);
        }
        assert!(of(&["  a: b\n", "  a: null\n"]).items.is_empty());
    }

    #[test]
    fn a_credential_is_a_text_or_a_step_with_all_fields() {
        let long = document("  a: { value: b, when: true, after: [credentials.c], timeout: 5s, required: false, phase: serve }\n");
        assert!(long.mistakes.is_empty(), "{:?}", long.mistakes);
        for document in [document("  a: b\n"), long] {
            let items: Vec<_> = document.items.values().collect();
            let [item] = items[..] else { panic!("{items:?}") };
            assert_eq!(item.step.shape("a").texts[0].raw(), "b");
        }
        let wrong = document("  a: 5\n  b: [c]\n  c: { value: 5 }\n  d: {}\n  e: { text: x }\n  f: { value: x, when: 3 }\n");
        let found: Vec<String> = wrong.mistakes.iter().map(|one| format!("{}: {}", one.place.as_ref().unwrap(), one.message)).collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        x:4:6: expected a string, found a list
        x:6:6: `value` is missing here
        x:7:8: unknown key `text`
        x:8:24: expected true, false or a template, found a number
        ");
    }
}
