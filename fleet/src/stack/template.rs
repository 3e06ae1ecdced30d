//! The templates in `fleet/templates/`, as data.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use serde_yaml::Value as Yaml;

use crate::fleet::Tier;

const WEB: &str = include_str!("../../templates/web.yaml");
const EDGE: &str = include_str!("../../templates/edge.yaml");
const WORKER: &str = include_str!("../../templates/worker.yaml");

/// The stack policy, which says what updates may not do to data.
pub(crate) const POLICY: &str = include_str!("../../templates/stack-policy.json");

/// A template, with every function in its long form.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    root: Json,
}

impl Template {
    pub(crate) fn of(tier: Tier) -> Self {
        match tier {
            Tier::Web => Self::read("web.yaml", WEB),
            Tier::Worker => Self::read("worker.yaml", WORKER),
        }
    }

    pub(super) fn of_edge() -> Self {
        Self::read("edge.yaml", EDGE)
    }

    /// Whether another text of a template says the same, regardless of comments and layout, which CloudFormation does not
    /// count as a change.
    pub(super) fn says(&self, other: &str) -> bool {
        serde_yaml::from_str(other).is_ok_and(|other| plain(other) == self.root)
    }

    fn read(name: &'static str, text: &'static str) -> Self {
        Self { name, text, root: plain(serde_yaml::from_str(text).expect("the templates are YAML")) }
    }

    /// A section, such as `Conditions`, or what is below a name in it.
    pub(super) fn section(&self, name: &str) -> &Json {
        &self.root[name]
    }

    /// The defaults of its parameters, by name.
    pub(super) fn defaults(&self) -> BTreeMap<String, String> {
        let parameters = self.root["Parameters"].as_object().into_iter().flatten();
        parameters.filter_map(|(name, declared)| Some((name.clone(), text(declared.get("Default")?)))).collect()
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&Json> {
        self.root["Parameters"].get(name)
    }
}

/// A scalar as CloudFormation compares it.
pub(super) fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Converts YAML with the short forms of functions to JSON with the long forms.
fn plain(value: Yaml) -> Json {
    match value {
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let value = plain(tagged.value);
            match (tag.trim_start_matches('!'), value) {
                (name @ ("Ref" | "Condition"), value) => json!({ name: value }),
                ("GetAtt", Json::String(path)) => {
                    let (resource, attribute) = path.split_once('.').unwrap_or((&path, ""));
                    json!({ "Fn::GetAtt": [resource, attribute] })
                }
                (name, value) => json!({ format!("Fn::{name}"): value }),
            }
        }
        Yaml::Sequence(items) => items.into_iter().map(plain).collect(),
        Yaml::Mapping(entries) => {
            let entry = |(key, value): (Yaml, Yaml)| (text(&plain(key)), plain(value));
            Json::Object(entries.into_iter().map(entry).collect())
        }
        scalar => serde_json::to_value(scalar).expect("scalars of YAML are some of JSON"),
    }
}
