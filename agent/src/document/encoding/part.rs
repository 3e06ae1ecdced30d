//! A boot document in user data: its name, its text, and its author's mistake in marking it.

use std::fmt;

use super::beginnings::BYTE_ORDER_MARK;
use super::error::EncodingError;
use super::slip::Slip;
use super::unread;

/// The name of the whole user data in messages.
pub(crate) const WHOLE: &str = "user data";

/// A boot document in user data: its name for messages, and its text without a byte order mark.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// For example `user data`, or `user data, part 2 (db.yaml)`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Why it does not count as a boot document, although it was meant as one.
    pub(crate) slip: Option<Slip>,
}

/// Shows only the length: the document may hold secrets that must not appear in a panic.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.name, self.text.len())?;
        match &self.slip {
            Some(slip) => write!(f, ", {}:{}: {}", slip.line, slip.column, slip.objection.message),
            None => Ok(()),
        }
    }
}

impl Part {
    /// The text of `bytes`. The offset in an error counts from the first byte.
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self, EncodingError> {
        let name = name.to_owned();
        if let Some(what) = unread::known(bytes) {
            return Err(EncodingError::Unread { part: name, what });
        }
        if let Some(text) = unread::utf16(bytes) {
            let slip = Slip::at((1, 1), "this is UTF-16", "save it as UTF-8");
            return Ok(Self { name, text, slip: Some(slip) });
        }
        match std::str::from_utf8(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)) {
            Ok(text) => Ok(Self { name, text: text.to_owned(), slip: None }),
            Err(error) => {
                let mark = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
                Err(EncodingError::NotText { part: name, offset: mark + error.valid_up_to() })
            }
        }
    }
}

/// The longest prefix of `content` that is valid text.
pub(super) fn readable(content: &[u8]) -> &str {
    std::str::from_utf8(content).unwrap_or_else(|error| {
        let (text, _) = content.split_at(error.valid_up_to());
        std::str::from_utf8(text).unwrap_or_default()
    })
}
