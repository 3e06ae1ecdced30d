//! The JSON Schema of fleet.yaml for editors, generated from the types that read it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::fleet::{EdgeSettings, Settings};

pub(crate) fn schema() -> Value {
    let mut settings = of::<Settings>();
    let mut edge = of::<EdgeSettings>();
    edge["description"] = json!("One edge.");
    let mut defaults = settings.clone();
    defaults["type"] = json!(["object", "null"]);
    defaults["description"] = json!("Settings of every environment and edge, unless it overrides them.");
    settings["description"] = json!("One environment.");
    let name = "^[a-z]([a-z0-9-]{0,29}[a-z0-9])?$";
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fleet.yaml of ingot-fleet",
        "type": "object",
        "required": ["version", "application", "releases", "environments"],
        "additionalProperties": false,
        "properties": {
            "version": { "const": 1, "description": "Version of this format." },
            "application": { "type": "string", "pattern": name, "description": "Name of the application." },
            "releases": {
                "type": "string",
                "pattern": "^s3://[a-z0-9][a-z0-9.-]+/(.*/)?$",
                "description": "Location of releases, boot documents and records: `s3://BUCKET/` or `s3://BUCKET/PREFIX/`.",
            },
            "defaults": defaults,
            "edges": {
                "type": ["object", "null"],
                "additionalProperties": false,
                "patternProperties": { "^[a-z]([a-z0-9-]{0,21}[a-z0-9])?$": edge },
                "description": "Load balancers that two environments share (blue/green), by name. The stack of an edge is called APPLICATION-edge-EDGE. Default: none.",
            },
            "environments": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": false,
                "patternProperties": { name: settings },
                "description": "Environments, by name. The stack of an environment is called APPLICATION-ENVIRONMENT, at most 32 characters.",
            },
        },
    })
}

/// Returns the schema of one kind of settings.
fn of<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut settings = generator.root_schema_for::<T>().to_value();
    tidy(&mut settings);
    if let Some(fields) = settings.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
    }
    settings
}

/// Removes `default`, since descriptions state the defaults.
fn tidy(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            // A field may also be called `default`.
            fields.retain(|name, value| name != "default" || value.get("type").is_some());
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
