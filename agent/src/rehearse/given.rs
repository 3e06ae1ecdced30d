//! What a rehearsal takes for granted: facts and outputs from `--facts`, readable placeholders for the rest.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::address::{Address, Usage};
use crate::document::KINDS;
use crate::failure::nearest;
use crate::plan::Plan;

/// What `--facts` says: a tree of the shape of references.
#[derive(Debug, Default)]
pub(crate) struct Given {
    tree: Map<String, Value>,
}

impl Given {
    /// Reads the YAML of `--facts`.
    ///
    /// # Errors
    ///
    /// A sentence for people: not YAML, not a map, or a name that nothing refers to.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let tree: Value = serde_yaml::from_str(text).map_err(|error| format!("{name}: this is not YAML: {error}"))?;
        let tree = match tree {
            Value::Object(tree) => tree,
            Value::Null => Map::new(),
            _ => return Err(format!("{name}: facts are a map\n  hint: begin with `instance:` or `secrets:`")),
        };
        for key in tree.keys() {
            let known = || KINDS.iter().map(|kind| kind.name).chain(["instance"]);
            if !known().any(|known| known == key) {
                let hint = match nearest(key, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
                };
                return Err(format!("{name}: unknown key `{key}`\n  hint: {hint}"));
            }
        }
        Ok(Self { tree })
    }

    /// Fills in a placeholder for every fact and output that the plan refers to and nobody gave. Returns the references
    /// that got one. What is only tested, by `has` or `default`, stays missing.
    pub(crate) fn complete(&mut self, plan: &Plan) -> BTreeSet<String> {
        let mut placeholders = BTreeSet::new();
        for reference in plan.unknowns().into_iter().filter(|reference| reference.usage != Usage::Tested) {
            let mut at = self.tree.entry(reference.root()).or_insert_with(|| json!({}));
            let mut invented = false;
            for segment in &reference.segments[1..] {
                if at.is_string() && invented {
                    *at = json!({});
                }
                let Value::Object(fields) = at else { break };
                if !fields.contains_key(segment) {
                    invented = true;
                    fields.insert(segment.clone(), json!(format!("<{reference}>")));
                }
                at = fields.get_mut(segment).expect("it was put there");
            }
            if invented {
                placeholders.insert(reference.to_string());
            }
        }
        placeholders
    }

    /// The `instance` object.
    pub(crate) fn instance(&self) -> Value {
        self.tree.get("instance").cloned().unwrap_or_else(|| json!({}))
    }

    /// What a step is said to offer.
    pub(crate) fn outputs(&self, address: &Address) -> Option<Value> {
        self.tree.get(address.kind())?.get(address.key()).cloned()
    }

    /// Everything that came from the user and is a secret.
    pub(crate) fn secrets(&self) -> Value {
        self.tree.get("secrets").cloned().unwrap_or(Value::Null)
    }
}
