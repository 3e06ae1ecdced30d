//! The JSON Schema accepts what ingot accepts, and refuses steps of the wrong shape.

use serde_json::{Value, json};

use crate::document::source::Layers;
use crate::document::{self, BootDocument};
use crate::laws::example::{below, examples};

fn schema() -> Value {
    serde_json::from_str(&document::schema::schema()).unwrap()
}

/// Whether ingot finds a mistake in a document before it checks relations between steps.
fn is_wrong(document: &Value) -> bool {
    let mut layers = Layers::default();
    layers.add("document", &document.to_string());
    !BootDocument::of(layers).mistakes.is_empty()
}

#[test]
fn is_a_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}

#[tokio::test]
async fn takes_every_example() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for example in examples().await {
        let errors: Vec<String> = validator.iter_errors(&example.tree).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert_eq!(errors, [""; 0], "{}", example.name);
    }
}

/// Each step of an invalid document is checked alone, so that no mistake hides another.
#[tokio::test]
async fn refuses_every_step_of_the_wrong_shape() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let (mut refused, mut accepted) = (Vec::new(), Vec::new());
    for (path, text) in below("invalid").await {
        // Text that is not valid YAML, including duplicate keys, is refused before a schema applies.
        let Ok(Value::Object(document)) = serde_yaml::from_str(&text) else { continue };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for (map, entries) in document.iter().filter(|(map, _)| *map != "version") {
            // Null removes a step, which only a lower layer can have defined.
            let steps = entries
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, step)| !step.is_null())
                .map(|(key, step)| (key.clone(), json!({ key: step })));
            for (key, step) in steps {
                let alone = json!({ "version": 1, map: step });
                let what = format!("{name}: {map}.{key}");
                match (is_wrong(&alone), validator.is_valid(&alone)) {
                    (true, true) => panic!("the schema takes {what}, ingot does not"),
                    (false, false) => panic!("the schema refuses {what}, ingot does not"),
                    (true, false) => refused.push(what),
                    (false, true) => accepted.push(what),
                }
            }
        }
    }
    assert!(refused.len() >= 8, "{refused:#?}");
    assert!(accepted.iter().any(|what| what.starts_with("cycles.yaml")), "{accepted:#?}");
}

#[test]
fn refuses_what_is_wrong_at_the_top() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for document in
        [json!({}), json!([]), json!({ "version": 2 }), json!({ "version": 1, "servces": {} }), json!({ "version": 1, "files": [] })]
    {
        assert!(!validator.is_valid(&document), "{document}");
    }
}
