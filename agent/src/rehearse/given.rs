//! What a dry run assumes: facts and outputs from `--facts` or of this instance, and
//! [placeholders](stand_in) for the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::address::{Address, CREDENTIALS};
use crate::document::error::{DocumentError, Mistake, Sources};
use crate::document::tree::Node;
use crate::document::{KINDS, tree};
use crate::facts::{FACTS, TAGS};
use crate::failure::{Explanation, nearest};
use crate::plan::{Plan, fact_meant};
use crate::redaction::Redactor;
use crate::rehearse::stand_in;
use crate::steps::secret;
use crate::template::Need;
use crate::text::Place;

/// The facts of the instance.
const INSTANCE: &str = "instance";

/// The kind of step whose outputs are secrets.
const SECRETS: &str = "secrets";

/// The content of `--facts`: a tree in the shape of references.
#[derive(Debug, Default)]
pub(crate) struct Given {
    tree: Map<String, Value>,
    /// Where the keys of the tree are, to three levels.
    places: BTreeMap<Vec<String>, Place>,
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
        let mut places = BTreeMap::new();
        tree.iter().for_each(|tree| locate(tree, &[], &mut places));
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
        let given = Self { tree, places, lookups: Vec::new() };
        let mistakes = given.wrong_facts();
        if mistakes.is_empty() { Ok(given) } else { Err(wrong(mistakes)) }
    }

    /// Facts that no instance has.
    fn wrong_facts(&self) -> Vec<Mistake> {
        let known = || FACTS.iter().map(|(name, _)| *name).chain([TAGS]);
        let mut mistakes = Vec::new();
        for (kind, value) in &self.tree {
            if !matches!(value, Value::Object(_) | Value::Null) {
                mistakes.push(self.mistake(&[kind], format!("`{kind}` is not a map"), format!("write `{kind}: {{ NAME: … }}`")));
            }
        }
        for name in self.tree.get(INSTANCE).and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            if !known().any(|known| known == name) {
                let meant = fact_meant(name).or_else(|| nearest(name, known()));
                mistakes.push(self.unknown(&[INSTANCE, name], meant, &known().collect::<Vec<_>>()));
            }
        }
        mistakes
    }

    /// Finds names that `plan` cannot refer to: outputs that a step does not have, and misspelled steps. Steps of other
    /// documents may be given too.
    ///
    /// # Errors
    ///
    /// All of these mistakes.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), DocumentError> {
        let mut mistakes = Vec::new();
        for (kind, steps) in self.tree.iter().filter(|(kind, _)| *kind != INSTANCE) {
            let of_kind = || plan.nodes.iter().filter(|node| node.address.kind() == kind);
            let steps = steps.as_object().into_iter().flatten();
            for (key, value) in steps.clone() {
                let Some(node) = of_kind().find(|node| node.address.key() == key) else {
                    let missing = of_kind().map(|node| node.address.key()).filter(|known| steps.clone().all(|(given, _)| given != known));
                    let meant = nearest(key, missing);
                    mistakes.extend(meant.map(|meant| self.unknown(&[kind, key], Some(meant), &[])));
                    continue;
                };
                let Some(offers) = node.step.shape(key).offers else { continue };
                match value {
                    Value::Object(fields) => mistakes.extend(
                        fields
                            .keys()
                            .filter(|field| !offers.contains(&field.as_str()))
                            .map(|field| self.unknown(&[kind, key, field], nearest(field, offers.iter().copied()), offers)),
                    ),
                    _ => {
                        let hint = format!("give its outputs, as in `{key}: {{ {}: … }}`", offers.first().unwrap_or(&"NAME"));
                        mistakes.push(self.mistake(&[kind, key], format!("`{}` is not a map", node.address), hint));
                    }
                }
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(DocumentError::new(mistakes, Sources::new())) }
    }

    fn unknown(&self, path: &[&str], meant: Option<&str>, known: &[&str]) -> Mistake {
        let hint = match meant {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it: nothing can refer to it".to_owned(),
            None => format!("expected one of: {}", known.join(", ")),
        };
        self.mistake(path, format!("unknown key `{}`", path.last().unwrap_or(&"")), hint)
    }

    fn mistake(&self, path: &[&str], message: String, hint: String) -> Mistake {
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        match self.places.get(&path) {
            Some(place) => Mistake::at(place, message, hint),
            None => Mistake::of_a_file(message, Some(hint)),
        }
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

/// Collects the places of keys, to the depth of the fields of steps.
fn locate(node: &Node, path: &[String], places: &mut BTreeMap<Vec<String>, Place>) {
    let tree::Value::Map(entries) = &node.value else { return };
    for (key, node) in entries {
        let path = [path, std::slice::from_ref(&key.name)].concat();
        if path.len() < 3 {
            locate(node, &path, places);
        }
        places.insert(path, key.place.clone());
    }
}

#[cfg(test)]
mod tests {
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
        let given = Given::parse("facts.yaml", "instance: { account: 12345678901234567890, type: 1.20, zone: 0x10 }\n").unwrap();
        let shown: Vec<String> = given.instance().as_object().unwrap().values().map(ToString::to_string).collect();
        assert_eq!(shown, ["12345678901234567890", "1.20", "0x10"]);
    }

    #[test]
    fn what_nothing_can_refer_to_is_refused_with_what_is_meant() {
        let mut layers = Layers::default();
        let document = "#ingot\nversion: 1\nsecrets: { db: { parameter: /db }, token: { parameter: /t } }\n\
                        databases: { main: { instance: shop } }\nvolumes: { data: { from: { blank: {} }, size_gib: 1 } }\n";
        layers.add_named("test", document.as_bytes());
        let plan = Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap();
        let said = |text: &str| {
            let given = Given::parse("facts.yaml", text);
            let checked = given.and_then(|given| given.check(&plan));
            checked.map_or_else(|error| error.to_string().replace("\n  hint: ", " | "), |()| "fine".to_owned())
        };
        for (text, expected) in [
            ("instance: { regoin: x }\n", "facts.yaml:1:13: unknown key `regoin` | did you mean `region`?"),
            ("instance: { instance_id: x }\n", "facts.yaml:1:13: unknown key `instance_id` | did you mean `id`?"),
            ("databases: { main: { endpont: x } }\n", "facts.yaml:1:22: unknown key `endpont` | did you mean `endpoint`?"),
            (
                "databases: { main: x }\n",
                "facts.yaml:1:14: `databases.main` is not a map | give its outputs, as in `main: { endpoint: … }`",
            ),
            (
                "volumes: { data: { mount: x } }\n",
                "facts.yaml:1:20: unknown key `mount` | expected one of: device, filesystem, id, size_gib",
            ),
            ("secrets: { tokn: x }\n", "facts.yaml:1:12: unknown key `tokn` | did you mean `token`?"),
            ("databases: [main]\n", "facts.yaml:1:1: `databases` is not a map | write `databases: { NAME: … }`"),
            // A file of facts may serve several documents.
            ("secrets: { token: x, tokens: y, other: z }\nworkers: { a: { path: x } }\ninstance: { tags: { any: x } }\n", "fine"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
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
