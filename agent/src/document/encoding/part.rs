//! A boot document of the user data: its name and its text.

use std::fmt;

use super::error::EncodingError;

/// What the whole is called in messages.
pub(super) const WHOLE: &str = "user data";

/// One boot document of the user data: its name for messages, and its text without a byte order mark.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Such as `user data`, or `user data, part 2 (db.yaml)`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Only the length: a document may hold what nobody should read in a panic.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.name, self.text.len())
    }
}

/// The text of `part`. The offset in the error counts from its first byte once unwrapped.
pub(super) fn text_of(part: &str, bytes: &[u8]) -> Result<String, EncodingError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
        Err(error) => Err(EncodingError::NotText { part: part.to_owned(), offset: error.valid_up_to() }),
    }
}
