//! The JSON Schema of boot documents, for editors.
//!
//! The schema is generated from the types that read documents, and kept in `schema.json`. Tests compare the two; the
//! program embeds only the file.

use crate::packed;

/// The schema of a single document. It requires `version`, which one layer of several may leave out.
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

    /// The schema generated from the types.
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
            let each = step["description"].as_str().unwrap_or_default();
            let section = format!("{each} Each key names one step: its address is `{}.KEY`.", kind.name);
            if let Some(short) = kind.short {
                step = json!({ "description": step["description"], "anyOf": [step["properties"][short], step] });
            }
            let mut steps = json!({ "type": ["object", "null"], "description": section, "additionalProperties": step });
            allow_null_below(&mut steps);
            properties.insert(kind.name.into(), steps);
        }
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:ingot:boot-document:1",
            "title": "ingot boot document",
            "description": "What one instance should be. Layers are merged key by key; null removes what a lower layer has.",
            "type": "object",
            "required": ["version"],
            "additionalProperties": false,
            "properties": properties,
        })
    }

    /// Accepts a number or a boolean in place of any string that has no prescribed form.
    fn take_scalars(schema: &mut Value) {
        let is_free = !["pattern", "enum", "const"].iter().any(|key| schema.get(key).is_some());
        if let Some(kind) = schema.get_mut("type").filter(|kind| kind.is_string() || kind.is_array()) {
            let mut kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
            if is_free && kinds.contains(&json!("string")) {
                kinds.extend([json!("number"), json!("boolean")]);
                *kind = kinds.into();
            }
        }
        // A type that accepts booleans itself already lists everything it accepts.
        let is_said = schema["anyOf"].as_array().is_some_and(|kinds| kinds.contains(&json!({ "type": "boolean" })));
        match schema {
            _ if is_said => {}
            Value::Object(fields) => fields.values_mut().for_each(take_scalars),
            Value::Array(items) => items.iter_mut().for_each(take_scalars),
            _ => {}
        }
    }

    /// Accepts null for every value of a map, because a layer uses null to remove one. A list is replaced as a whole.
    fn allow_null_below(schema: &mut Value) {
        if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            fields.values_mut().for_each(allow_null);
        }
        if let Some(entry) = schema.get_mut("additionalProperties").filter(|entry| entry.is_object()) {
            allow_null(entry);
        }
        for key in ["anyOf", "oneOf"] {
            let forms = schema.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
            forms.for_each(|form| match form.as_object().map(|form| form.keys().eq(["required"])) {
                Some(true) => there_and_not_null(form),
                _ => allow_null_below(form),
            });
        }
    }

    fn allow_null(schema: &mut Value) {
        allow_null_below(schema);
        let no_value = json!({ "type": "null" });
        if schema.get("type").is_some() && schema.get("oneOf").is_some() {
            // Several forms would each match null.
            let description = schema.get("description").cloned();
            *schema = json!({ "anyOf": [schema.take(), no_value] });
            description.into_iter().for_each(|description| schema["description"] = description);
            return;
        }
        match schema.get_mut("type") {
            Some(Value::Array(types)) if !types.contains(&json!("null")) => types.push(json!("null")),
            Some(one @ Value::String(_)) => *one = json!([one.take(), "null"]),
            Some(_) => {}
            None => {
                let forms = ["anyOf", "oneOf"].into_iter().find(|key| schema.get(key).is_some());
                let forms = forms.and_then(|key| schema[key].as_array_mut()).filter(|forms| !forms.contains(&no_value));
                forms.into_iter().for_each(|forms| forms.push(no_value.clone()));
            }
        }
        if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            values.extend((!values.contains(&Value::Null)).then_some(Value::Null));
        }
    }

    /// If one of two fields is required, the other may be null.
    fn there_and_not_null(form: &mut Value) {
        let names = form["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let there: Map<String, Value> = names.map(|name| (name.to_owned(), json!({ "not": { "type": "null" } }))).collect();
        form["properties"] = there.into();
    }

    /// Every section and field of `schema` below `path` that has no description.
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        // A subschema that only says which fields are required describes none of them.
        let is_rule = schema.get("type").is_none() && schema.get("required").is_some();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten().filter(|_| !is_rule) {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
                found.push(path.clone());
            }
            undescribed(field, &path, found);
        }
        let inner = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
        inner.chain(schema.get("items")).chain(schema.get("additionalProperties")).for_each(|inner| undescribed(inner, path, found));
    }

    #[test]
    fn every_section_and_every_field_has_a_description() {
        let mut found = Vec::new();
        undescribed(&made(), "", &mut found);
        assert!(found.is_empty(), "write a doc comment for {found:?}");
    }

    #[test]
    fn a_layer_may_remove_a_step_a_field_and_an_entry_of_a_map() {
        let schema = jsonschema::validator_for(&made()).unwrap();
        let removing = json!({
            "version": 1,
            "files": { "/etc/a": null, "/etc/b": { "template": null, "content": "x", "owner": null, "check": null, "when": null } },
            "commands": { "a": { "run": ["/bin/true"], "environment": { "A": null }, "once": null } },
            "credentials": { "a": null, "b": { "value": "x", "phase": null } },
            "volumes": { "data": { "from": { "blank": {} }, "type": null, "reuse": null } },
        });
        let errors: Vec<String> = schema.iter_errors(&removing).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        for wrong in [
            json!({ "version": null }),
            json!({ "version": 1, "files": { "/etc/a": { "content": "x", "template": "y" } } }),
            json!({ "version": 1, "commands": { "a": { "run": [null] } } }),
        ] {
            assert!(!schema.is_valid(&wrong), "{wrong}");
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
