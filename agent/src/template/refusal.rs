//! Why a helper rejects a value.

use serde_json::Value;

use super::scope::SIZE_LIMIT;

/// The type of a value, for messages, which never show the value.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Why a helper rejects an argument. Contains only fixed text, because a value may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The index of the argument, from 0.
    pub(super) argument: usize,
    pub(super) reason: Reason,
    /// The hint, if it differs from the general one.
    pub(super) hint: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Type { found: &'static str, needs: &'static str },
    Content(&'static str),
}

impl Refusal {
    pub(super) fn of_type(value: &Value, needs: &'static str) -> Self {
        Self { argument: 0, reason: Reason::Type { found: type_of(value), needs }, hint: None }
    }

    /// `what` completes a sentence that begins with the path, as in "holds a line break".
    pub(super) fn of_content(what: &'static str) -> Self {
        Self { argument: 0, reason: Reason::Content(what), hint: None }
    }

    /// Rejects a result of this many bytes before it is built.
    pub(super) fn beyond_limit(bytes: usize) -> Result<(), Self> {
        if bytes <= SIZE_LIMIT { Ok(()) } else { Err(Self::of_content("becomes larger than 16 MiB").hint("use a shorter text")) }
    }

    pub(super) fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    pub(super) fn at(self, argument: usize) -> Self {
        Self { argument, ..self }
    }
}
