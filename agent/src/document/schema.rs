//! The JSON Schema of boot documents, for editors: made of the same types that read them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::document::include;
use crate::document::registry::{Common, KINDS};

/// The schema of one document. A layer of several may leave out `version`, which this asks for.
pub(crate) fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let common = Common::json_schema(&mut generator).to_value();
    let mut properties = Map::new();
    properties.insert("version".into(), json!({ "const": 1, "description": "The version of this format." }));
    properties.insert(include::KEY.into(), include::schema(&mut generator));
    properties.insert("values".into(), json!({ "type": ["object", "null"], "description": "Your own facts; later layers override them." }));
    for kind in KINDS {
        let mut step = (kind.schema)(&mut generator).to_value();
        if let (Some(fields), Some(common)) = (step.get_mut("properties").and_then(Value::as_object_mut), common["properties"].as_object())
        {
            fields.extend(common.clone());
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
