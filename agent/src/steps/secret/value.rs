//! The forms in which values of secrets and parameters are available: text, lists, and maps of fields.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::aws::{ParameterValue, SecretValue};
use crate::gather::Gather as _;
use crate::number;
use crate::step::HasFields;

/// A JSON object is available by its fields, anything else as one string; `json` requires one or the other.
pub(super) fn from_secret(secret: SecretValue, json: Option<bool>) -> Result<Value, NotAnObject> {
    match secret {
        SecretValue::Text(text) => opened(text.expose(), json, true),
        SecretValue::Binary(_) if json == Some(true) => Err(NotAnObject::Type("binary")),
        SecretValue::Binary(bytes) => Ok(Value::from(STANDARD.encode(&*bytes))),
    }
}

/// A parameter is available as one string or a list, and by its fields only if `json` requires it.
pub(super) fn from_parameter(parameter: &ParameterValue, json: Option<bool>) -> Result<Value, NotAnObject> {
    match parameter {
        ParameterValue::Text(text) => opened(text.expose(), json, false),
        ParameterValue::List(_) if json == Some(true) => Err(NotAnObject::Type("a StringList")),
        ParameterValue::List(_) => Ok(leaf(parameter)),
    }
}

/// The value of a text: by its fields if it is a JSON object and `json` is true, or `json` is not set and `unasked` is
/// true; otherwise the whole text.
fn opened(text: &str, json: Option<bool>, unasked: bool) -> Result<Value, NotAnObject> {
    match json {
        Some(true) => object(text),
        None if unasked => Ok(object(text).unwrap_or_else(|_| Value::from(text))),
        _ => Ok(Value::from(text)),
    }
}

/// Parses a text that has to be a JSON object.
fn object(text: &str) -> Result<Value, NotAnObject> {
    let what = match number::from_json(text) {
        Ok(object @ Value::Object(_)) => return Ok(object),
        Ok(Value::Array(_)) => "a list",
        Ok(Value::String(_)) => "a string",
        Ok(Value::Number(_)) => "a number",
        Ok(Value::Bool(_)) => "a boolean",
        Ok(Value::Null) => "null",
        Err(error) => return Err(NotAnObject::Syntax { line: error.line(), column: error.column() }),
    };
    Err(NotAnObject::Type(what))
}

/// The value that `--facts` gives for a secret, in the form that the secret itself would have.
///
/// # Errors
///
/// If it must be a JSON object and is not.
pub(crate) fn given(value: Value, fields: HasFields) -> Result<Value, NotAnObject> {
    match (value, fields) {
        (Value::String(text), HasFields::Always) => object(&text),
        (Value::String(text), HasFields::Unknown) => opened(&text, None, true),
        (value, _) => Ok(value),
    }
}

fn leaf(parameter: &ParameterValue) -> Value {
    match parameter {
        ParameterValue::Text(text) => Value::from(text.expose()),
        ParameterValue::List(items) => items.iter().map(|item| Value::from(item.expose())).collect(),
    }
}

/// Nests `checkout/limit` as `{checkout: {limit: …}}`.
pub(super) fn tree(path: &str, found: &[(String, ParameterValue)]) -> Result<Value, LeafAndBranch> {
    let segments = |name: &str| name.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let named = |segments: &[String]| format!("{}/{}", path.trim_end_matches('/'), segments.join("/"));
    let leaves: BTreeSet<Vec<String>> = found.iter().map(|(name, _)| segments(name)).gather();
    let mut root = Value::Object(Map::new());
    for (name, parameter) in found {
        let segments = segments(name);
        if let Some(leaf) = (1..segments.len()).map(|end| &segments[..end]).find(|above| leaves.contains(*above)) {
            return Err(LeafAndBranch { leaf: named(leaf), below: named(&segments) });
        }
        let slot = segments.into_iter().try_fold(&mut root, |at, segment| match at {
            Value::Object(fields) => Some(fields.entry(segment).or_insert_with(|| Value::Object(Map::new()))),
            _ => None,
        });
        if let Some(slot) = slot {
            *slot = leaf(parameter);
        }
    }
    Ok(root)
}

/// Why a text is not a JSON object. Contains nothing of the text itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnObject {
    #[error("it is {0}")]
    Type(&'static str),
    #[error("line {line}, column {column} does not parse")]
    Syntax { line: usize, column: usize },
}

/// A parameter whose name is also the path of other parameters.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{leaf} is both a parameter and the path of {below}, so the tree has no place for both")]
pub(crate) struct LeafAndBranch {
    pub(super) leaf: String,
    pub(super) below: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(text: &str) -> SecretValue {
        SecretValue::Text(text.into())
    }

    fn parameter(text: &str) -> ParameterValue {
        ParameterValue::Text(text.into())
    }

    #[test]
    fn offers_the_fields_of_a_json_object_and_nothing_else_as_json() {
        for (written, offered) in [
            (r#"{"password":"p"}"#, json!({"password": "p"})),
            ("[1]", json!("[1]")),
            ("12345", json!("12345")),
            ("hunter2", json!("hunter2")),
        ] {
            assert_eq!(from_secret(text(written), None), Ok(offered));
            assert_eq!(from_secret(text(written), Some(false)), Ok(json!(written)));
            assert_eq!(from_parameter(&parameter(written), None), Ok(json!(written)));
        }
        assert_eq!(from_parameter(&parameter(r#"{"password":"p"}"#), Some(true)), Ok(json!({"password": "p"})));
    }

    #[test]
    fn numbers_of_a_secret_keep_their_digits() {
        let secret = from_secret(text(r#"{"account":12345678901234567890123,"version":1.10,"limit":1E5}"#), None).unwrap();
        let shown: Vec<String> = secret.as_object().unwrap().values().map(ToString::to_string).collect();
        assert_eq!(shown, ["12345678901234567890123", "1.10", "1E5"]);
    }

    #[test]
    fn says_why_a_text_is_not_an_object_but_not_what_it_is() {
        let json = Some(true);
        for (judged, why) in [
            (from_secret(text("hunter2"), json), "line 1, column 1 does not parse"),
            (from_secret(text("{\n \"a\": hunter2}"), json), "line 2, column 7 does not parse"),
            (from_secret(text("[\"hunter2\"]"), json), "it is a list"),
            (from_secret(text("\"hunter2\""), json), "it is a string"),
            (from_secret(text("22"), json), "it is a number"),
            (from_secret(SecretValue::Binary(vec![0].into()), json), "it is binary"),
            (from_parameter(&ParameterValue::List(vec!["hunter2".into()]), json), "it is a StringList"),
            (from_parameter(&parameter(""), json), "line 1, column 0 does not parse"),
        ] {
            assert_eq!(judged.unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn offers_a_binary_secret_as_base64() {
        assert_eq!(from_secret(SecretValue::Binary(vec![0, 255].into()), None), Ok(json!("AP8=")));
    }

    #[test]
    fn what_facts_give_is_offered_as_the_secret_would_be() {
        let (whole, object) = (json!(r#"{"a":1.10}"#), number::from_json(r#"{"a":1.10}"#).unwrap());
        assert_eq!(given(whole.clone(), HasFields::Always), Ok(object.clone()));
        assert_eq!(given(whole.clone(), HasFields::Unknown), Ok(object.clone()));
        assert_eq!(given(whole.clone(), HasFields::Never("")), Ok(whole));
        assert_eq!(given(object.clone(), HasFields::Always), Ok(object));
        assert!(given(json!("text"), HasFields::Always).is_err());
    }

    #[test]
    fn nests_a_tree_by_its_slashes() {
        let found = [("checkout".to_owned(), parameter("on")), ("limits/rate".to_owned(), parameter("9"))];
        assert_eq!(tree("/flags/", &found), Ok(json!({"checkout": "on", "limits": {"rate": "9"}})));
    }

    /// Regression: `/f/a/b` was reported as both a parameter and a path, which it is not.
    #[test]
    fn refuses_a_leaf_that_is_a_branch_too_by_its_whole_name() {
        for path in ["/f", "/f/"] {
            for names in [["a/x", "a/x/b/c", "a/y"], ["a/x/b/c", "a/y", "a/x"]] {
                let found = names.map(|name| (name.to_owned(), parameter("hunter2")));
                let refused = tree(path, &found).unwrap_err().to_string();
                assert_eq!(refused, "/f/a/x is both a parameter and the path of /f/a/x/b/c, so the tree has no place for both");
            }
        }
    }
}
