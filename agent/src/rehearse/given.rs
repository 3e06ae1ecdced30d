//! What a dry run assumes: facts and outputs from `--facts` or of this instance, and
//! [placeholders](stand_in) for the rest.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::address::{Address, CREDENTIALS};
use crate::document::error::{DocumentError, Mistake, Sources};
use crate::document::{KINDS, tree};
use crate::failure::{Explanation, nearest};
use crate::plan::Plan;
use crate::redaction::Redactor;
use crate::rehearse::stand_in;
use crate::steps::secret;
use crate::template::Need;

/// The facts of the instance.
const INSTANCE: &str = "instance";

/// The kind of step whose outputs are secrets.
const SECRETS: &str = "secrets";

/// The content of `--facts`: a tree in the shape of references.
#[derive(Debug, Default)]
pub(crate) struct Given {
    tree: Map<String, Value>,
    /// Lookups whose keys are only known once the values are.
    lookups: Vec<Need>,
}

impl Given {
    /// Parses the YAML of `--facts`.
    ///
    /// # Errors
    ///
    /// If it is not YAML, not a map, or has a name that nothing refers to.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, DocumentError> {
        let (tree, mut mistakes) = tree::parse(&name.into(), text);
        // A hint that quotes a value may quote a secret.
        let hints = mistakes.iter_mut().filter_map(|mistake| mistake.hint.as_mut());
        hints.filter(|hint| hint.starts_with(tree::QUOTE)).for_each(|hint| hint.truncate(tree::QUOTE.len()));
        // Without the source lines, because they may contain secrets.
        let wrong = |mistakes| DocumentError::new(mistakes, Sources::new());
        if !mistakes.is_empty() {
            return Err(wrong(mistakes));
        }
        let tree = match tree.map(|tree| tree.to_json()) {
            Some(Value::Object(tree)) => tree,
            None | Some(Value::Null) => Map::new(),
            _ => {
                let hint = "begin with `instance:` or `secrets:`".to_owned();
                return Err(wrong(vec![Mistake::of_a_file(format!("{name}: facts must be a map"), Some(hint))]));
            }
        };
        for key in tree.keys() {
            let known = || KINDS.iter().map(|kind| kind.name).chain([INSTANCE]);
            if !known().any(|known| known == key) {
                let hint = match nearest(key, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected one of: {}", known().collect::<Vec<_>>().join(", ")),
                };
                return Err(wrong(vec![Mistake::of_a_file(format!("{name}: unknown key `{key}`"), Some(hint))]));
            }
        }
        Ok(Self { tree, lookups: Vec::new() })
    }

    /// Gives secrets the shape that the real ones would have: a text that is a JSON object becomes
    /// its fields, if the document refers to fields.
    ///
    /// # Errors
    ///
    /// If the document refers to fields, and a text is not a JSON object.
    pub(crate) fn open_secrets(&mut self, plan: &Plan) -> Result<(), Explanation> {
        let Some(Value::Object(secrets)) = self.tree.get_mut(SECRETS) else { return Ok(()) };
        for node in plan.nodes.iter().filter(|node| node.address.kind() == SECRETS) {
            let Some(value) = secrets.get_mut(node.address.key()) else { continue };
            let fields = node.step.shape(node.address.key()).fields;
            *value = secret::given(value.take(), fields).map_err(|why| {
                let hint = format!("give its fields, as in `{}: {{ user: … }}`", node.address.key());
                Explanation::new(format!("{} in --facts is not a JSON object: {why}", node.address), Some(hint))
            })?;
        }
        Ok(())
    }

    /// Adds a placeholder for every fact and output that the plan refers to and that was not given, except below the
    /// roots that are completely `known`. Returns the references that got one.
    pub(crate) fn complete(&mut self, plan: &Plan, known: &[&str]) -> BTreeSet<String> {
        let (stand_ins, lookups) = stand_in::complete(&mut self.tree, plan, known);
        self.lookups = lookups;
        stand_ins
    }

    /// The same for what is looked up by a value.
    pub(crate) fn complete_keys(&mut self, values: &Value) {
        stand_in::complete_keys(&mut self.tree, &self.lookups, values);
    }

    /// The `instance` object.
    pub(crate) fn instance(&self) -> Value {
        self.tree.get(INSTANCE).cloned().unwrap_or_else(|| json!({}))
    }

    /// Sets the facts of an instance.
    pub(crate) fn set_instance(&mut self, instance: Value) {
        self.tree.insert(INSTANCE.into(), instance);
    }

    /// The outputs that were given for a step.
    pub(crate) fn outputs(&self, address: &Address) -> Option<Value> {
        self.tree.get(address.kind())?.get(address.key()).cloned()
    }

    /// Makes the redactor hide every secret that the user gave, except what `public:` names in `plan`.
    pub(crate) fn tell(&self, plan: &Plan, redactor: &Redactor) {
        let steps = |kind: &str| self.tree.get(kind).and_then(Value::as_object).into_iter().flatten();
        for (key, value) in steps(SECRETS) {
            let node = plan.nodes.iter().find(|node| node.address.kind() == SECRETS && node.address.key() == key);
            let shape = node.map(|node| node.step.shape(key));
            redactor.learn(value, shape.as_ref().map_or(&[], |shape| shape.public));
        }
        let credentials = steps("databases").flat_map(|(_, database)| CREDENTIALS.iter().filter_map(|name| database.get(*name)));
        // After the secrets: what their `public:` names may also be printed as part of a database.
        credentials.for_each(|credential| redactor.learn_made(credential, &[credential]));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    #[test]
    fn credentials_are_redacted_and_public_fields_are_not() {
        let mut layers = Layers::default();
        let document = "#ingot\nversion: 1\nsecrets: { db: { parameter: /db, json: true, public: [username] } }\n\
                        databases: { main: { host: db.internal, engine: postgres, credentials: secrets.db } }\n";
        layers.add_named("test", document.as_bytes());
        let plan = Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap();
        let given = "secrets: { db: { username: shop_rw, password: hunter22 }, old: hunter33 }\n\
                     databases: { main: { endpoint: db.internal, username: shop_rw, password: hunter44 } }\n";
        let redactor = Redactor::default();
        Given::parse("facts.yaml", given).unwrap().tell(&plan, &redactor);
        let line = "shop_rw hunter22 hunter33 db.internal hunter44";
        assert_eq!(redactor.redact(line), "shop_rw [redacted] [redacted] db.internal [redacted]");
    }

    /// Regression: `1.20` was read as `1.2`, and twenty digits as a float.
    #[test]
    fn numbers_keep_the_text_they_were_written_as() {
        let given = Given::parse("facts.yaml", "instance: { account: 12345678901234567890, version: 1.20, mask: 0x10 }\n").unwrap();
        let shown: Vec<String> = given.instance().as_object().unwrap().values().map(ToString::to_string).collect();
        assert_eq!(shown, ["12345678901234567890", "1.20", "0x10"]);
    }

    #[test]
    fn a_mistake_has_its_line_and_shows_no_secret() {
        let wrong = |text: &str| Given::parse("facts.yaml", text).unwrap_err().to_string();
        let said = wrong("secrets:\n  db: hunter2\n  db: hunter2\n");
        assert_eq!(said, "facts.yaml:3:3: the key `db` is defined twice; first in line 2\n  hint: keep one of the two");
        let said = wrong("secrets:\n  db: {{hunter2}}secret\n");
        assert!(said.contains("put the whole value in quotes") && !said.contains("hunter2"), "{said}");
        assert!(wrong("secrets: [\n").starts_with("facts.yaml:"));
        assert!(wrong("- a\n").contains("facts must be a map"));
        assert!(Given::parse("facts.yaml", "# nothing\n").is_ok());
    }
}
