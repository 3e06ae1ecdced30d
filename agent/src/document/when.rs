//! `when:` of a step as it is written: true, false, or a template that renders to one of them.
//!
//! It is evaluated during [planning](crate::plan).

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Visitor;

/// The text of a `when:`.
#[derive(Debug, Clone)]
pub(crate) struct When(pub(crate) String);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = When;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a template")
            }

            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<When, E> {
                Ok(When(value.to_string()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<When, E> {
                Ok(When(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for When {
    fn schema_name() -> Cow<'static, str> {
        "When".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string" }] })
    }
}
