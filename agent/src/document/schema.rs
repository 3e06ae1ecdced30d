//! The JSON Schema of boot documents, for editors.
//!
//! It is made of the same types that read them, and kept in `schema.json`: tests compare the two, and the program carries
//! the file alone.

use crate::packed;

/// The schema of one document. A layer of several may leave out `version`, which this asks for.
pub(crate) fn schema() -> String {
    packed::text(packed::SCHEMA)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use schemars::generate::SchemaSettings;
    use serde_json::{Map, Value, json};

    use crate::document::include;
    use crate::document::registry::{CLAIMS, Common, KINDS};

    /// The schema that the types make.
    fn made() -> Value {
        let mut generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
        let common = Common::json_schema(&mut generator).to_value();
        let mut properties = Map::new();
        properties.insert("version".into(), json!({ "const": 1, "description": "The version of this format." }));
        properties.insert(include::KEY.into(), include::schema(&mut generator));
        properties
            .insert("values".into(), json!({ "type": ["object", "null"], "description": "Your own facts; later layers override them." }));
        properties.insert(
            CLAIMS.into(),
            json!({
                "type": ["string", "null"],
                "pattern": "^s3://.+/$|\\{\\{",
                "description": "Where the instances of an environment choose one of them: `s3://BUCKET/PREFIX/`. For `once: release` and `once: fleet`, for `leader_only` commands of applications, and for `cron` of workers.",
            }),
        );
        for kind in KINDS {
            let mut step = (kind.schema)(&mut generator).to_value();
            if let (Some(fields), Some(common)) =
                (step.get_mut("properties").and_then(Value::as_object_mut), common["properties"].as_object())
            {
                fields.extend(common.clone());
            }
            take_scalars(&mut step);
            if let Some(short) = kind.short {
                step = json!({ "description": step["description"], "anyOf": [step["properties"][short], step] });
            }
            properties.insert(kind.name.into(), json!({ "type": ["object", "null"], "additionalProperties": step }));
        }
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "ingot boot document",
            "type": "object",
            "required": ["version"],
            "additionalProperties": false,
            "properties": properties,
        })
    }

    /// A number or a boolean is taken for the string that is meant, unless that has a form.
    fn take_scalars(schema: &mut Value) {
        let is_free = !["pattern", "enum", "const"].iter().any(|key| schema.get(key).is_some());
        if let Some(kind) = schema.get_mut("type").filter(|kind| kind.is_string() || kind.is_array()) {
            let mut kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
            if is_free && kinds.contains(&json!("string")) {
                kinds.extend([json!("number"), json!("boolean")]);
                *kind = kinds.into();
            }
        }
        // Whoever takes a boolean by itself says what else it takes.
        let is_said = schema["anyOf"].as_array().is_some_and(|kinds| kinds.contains(&json!({ "type": "boolean" })));
        match schema {
            _ if is_said => {}
            Value::Object(fields) => fields.values_mut().for_each(take_scalars),
            Value::Array(items) => items.iter_mut().for_each(take_scalars),
            _ => {}
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it rewrites a file of the sources when it is asked to")]
    fn the_file_is_what_the_types_make() {
        let made = format!("{}\n", serde_json::to_string_pretty(&made()).unwrap());
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/document/schema.json");
        if std::env::var_os("INGOT_UPDATE_DOCS").is_some() {
            std::fs::write(file, made).unwrap();
            return;
        }
        let kept = std::fs::read_to_string(file).unwrap();
        assert!(kept == made, "run `INGOT_UPDATE_DOCS=1 cargo test --lib document::schema`, then read the difference");
        assert!(super::schema() == kept);
    }
}
