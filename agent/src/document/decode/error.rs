//! The error that ends one reading: a single mistake, and the value it belongs to.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::reading::{Numbered, ROOT, Reading};
use super::wording;
use crate::document::error::Mistake;
use crate::document::meant;
use crate::failure::nearest;
use crate::text::Place;

/// One mistake, worded in terms of the document rather than of Rust.
#[derive(Debug)]
pub(super) struct DecodeError {
    message: String,
    hint: Option<String>,
    missing: Option<&'static str>,
    /// What Rust expected instead of a value that has the wrong type or is out of range, until that value is known.
    expected: Option<String>,
    at: Option<Box<At>>,
}

/// The value that an error came from.
#[derive(Debug)]
struct At {
    number: usize,
    place: Place,
    /// Whether the error is only a consequence of another mistake.
    is_echo: bool,
}

impl DecodeError {
    pub(super) fn new(message: String, hint: String) -> Self {
        Self { message, hint: Some(hint), missing: None, expected: None, at: None }
    }

    /// Attaches the error to the innermost value that it came from.
    pub(super) fn within(mut self, at: Numbered<'_>, reading: &Reading<'_>) -> Self {
        if self.at.is_none() {
            if let Some(expected) = self.expected.take() {
                let (message, hint) = wording::refusal(&at.node.value, &expected);
                self = Self { message, hint: Some(hint), ..self };
            }
            let is_echo = reading.explains(at, self.missing);
            // An error about a value may quote one of its fields.
            let quoted = if self.missing.is_none() { at.node.quoted_in(&self.message) } else { None };
            let place = quoted.unwrap_or(&at.node.place).clone();
            self.at = Some(Box::new(At { number: at.number, place, is_echo }));
        }
        self
    }

    /// The value to set aside, and the mistake unless it is only a consequence of another one. An error without a value
    /// belongs to `root`.
    pub(super) fn found(self, root: Numbered<'_>, reading: &Reading<'_>) -> (usize, Option<Mistake>) {
        let Self { message, hint, at, .. } = self.within(root, reading);
        let Some(At { number, place, is_echo }) = at.map(|at| *at) else { return (ROOT, None) };
        (number, (!is_echo).then_some(Mistake { hint, ..Mistake::at(&place, message, "") }))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    /// `what` is an [`Objection`](crate::failure::Objection), or a message without a hint, which prints the same in
    /// both forms.
    fn custom<T: fmt::Display>(what: T) -> Self {
        let (message, hint) = (what.to_string(), format!("{what:#}"));
        let hint = (hint != message).then_some(hint);
        Self { message, hint, missing: None, expected: None, at: None }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // The value is quoted as the document has it, not as serde converted it.
        Self { message: String::new(), hint: None, missing: None, expected: Some(expected.to_string()), at: None }
    }

    fn missing_field(field: &'static str) -> Self {
        let hint = match field {
            "from" => "add `from: { blank: {} }` or `from: { snapshot: … }`".to_owned(),
            _ => format!("add `{field}:`"),
        };
        Self { missing: Some(field), ..Self::new(format!("`{field}` is missing here"), hint) }
    }

    /// For a map that could also have a shorter form. All other maps are checked for unknown keys before serde sees
    /// them.
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`"), meant::hint(field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", expected.join(", ")),
        };
        Self::new(format!("`{variant}` is not one of {}", expected.join(", ")), hint)
    }
}
