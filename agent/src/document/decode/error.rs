//! The error that ends a reading: one mistake, and the value that it belongs to.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::reading::{Numbered, ROOT, Reading};
use crate::document::error::Mistake;
use crate::failure::nearest;
use crate::text::Place;

/// One mistake, in the words of documents rather than of Rust.
#[derive(Debug)]
pub(super) struct DecodeError {
    message: String,
    hint: Option<String>,
    missing: Option<&'static str>,
    at: Option<Box<At>>,
}

/// The value that an error came from.
#[derive(Debug)]
struct At {
    number: usize,
    place: Place,
    /// Whether the error only follows from another mistake.
    is_echo: bool,
}

impl DecodeError {
    fn new(message: String, hint: String) -> Self {
        Self { message, hint: Some(hint), missing: None, at: None }
    }

    /// Ties the error to the innermost value that it came from.
    pub(super) fn within(mut self, at: Numbered<'_>, reading: &Reading<'_>) -> Self {
        if self.at.is_none() {
            let is_echo = reading.explains(at, self.missing);
            self.at = Some(Box::new(At { number: at.number, place: at.node.place.clone(), is_echo }));
        }
        self
    }

    /// The value to set aside, and the mistake unless it only follows from another one. An error without a value
    /// belongs to `root`.
    pub(super) fn found(self, root: Numbered<'_>, reading: &Reading<'_>) -> (usize, Option<Mistake>) {
        let Self { message, hint, at, .. } = self.within(root, reading);
        let Some(At { number, place, is_echo }) = at.map(|at| *at) else { return (ROOT, None) };
        (number, (!is_echo).then_some(Mistake { place: Some(place), message, hint, may_come_later: false }))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    /// `what` is an [`Objection`](crate::failure::Objection), or a message without a hint, which prints alike in both
    /// forms.
    fn custom<T: fmt::Display>(what: T) -> Self {
        let (message, hint) = (what.to_string(), format!("{what:#}"));
        let hint = (hint != message).then_some(hint);
        Self { message, hint, missing: None, at: None }
    }

    /// A number that its field cannot hold.
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            other => other.to_string(),
        };
        let hint = match expected.to_string().as_str() {
            "u8" => format!("write a number from 0 to {}", u8::MAX),
            "u16" => format!("write a number from 0 to {}", u16::MAX),
            "u32" => format!("write a number from 0 to {}", u32::MAX),
            expected => format!("write {expected}"),
        };
        Self::new(format!("{found} is out of range"), hint)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let hint = match found {
            Unexpected::Bool(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Signed(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Float(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Str(_) if expected.contains("sequence") => "write a list: [ … ]".into(),
            _ if expected == "a map" => "write `{ key: value, … }`".into(),
            Unexpected::Map if expected.contains("string") => "put a value that begins with {{ in quotes".into(),
            _ => "write it in the form that is expected here".into(),
        };
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Unit => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        let expected = if expected.starts_with("struct ") {
            "a map"
        } else if expected == "a sequence" {
            "a list"
        } else if ["u8", "u16", "u32", "u64", "i64"].contains(&expected.as_str()) {
            "a number"
        } else {
            &expected
        };
        Self::new(format!("expected {expected}, found {found}"), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("`{field}` is missing here"), format!("add `{field}:`")) }
    }

    /// Of a map that might have been something shorter; all others are looked through before serde sees them.
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(field, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", expected.join(", ")),
        };
        Self::new(format!("unknown key `{field}`"), hint)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", expected.join(", ")),
        };
        Self::new(format!("`{variant}` is not one of {}", expected.join(", ")), hint)
    }
}
