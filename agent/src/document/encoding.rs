//! What a blob of user data is: boot documents, a cloud-config that may carry one, or nothing of ours.
//!
//! [`recognise`] takes gzip, zstd and base64 off ([`unwrap`]) and looks, in this order, for `#ingot` on the
//! first line, for `text/x-ingot` parts of a MIME message ([`mime`]), and for `#cloud-config`. What is damaged
//! is an error and never «no document»: an instance must not come up without its document because of a bad copy.
//!
//! Parses no YAML, and fetches nothing: the first is the business of the boot document, the second of its source.

mod beginnings;
mod bounds;
mod error;
mod mime;
mod part;
mod unwrap;

#[cfg(test)]
mod tests;

use std::fmt;

use self::beginnings::{BYTE_ORDER_MARK, begins_with};
use self::bounds::MAX_UNWRAPPED;
use self::error::EncodingError;
use self::part::{Part, WHOLE, text_of};

/// What user data turned out to be.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum UserData {
    /// Boot documents in their order: one for `#ingot`, one for each `text/x-ingot` part of a MIME message.
    Documents(Vec<Part>),
    /// A `#cloud-config`, which may or may not hold a top-level `ingot:` key.
    CloudConfig(String),
    /// None of ours. `what` says what it looks like, and quotes none of it.
    Other { what: &'static str },
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Documents(parts) => f.debug_tuple("Documents").field(parts).finish(),
            Self::CloudConfig(text) => write!(f, "CloudConfig({} bytes)", text.len()),
            Self::Other { what } => write!(f, "Other({what})"),
        }
    }
}

/// Says what `bytes`, as IMDS or a file gave them, are.
///
/// # Errors
///
/// Every [`EncodingError`] means that somebody meant something by this user data and it did not arrive whole,
/// or that it exceeds a bound. To go on without it would be wrong.
pub(crate) fn recognise(bytes: &[u8]) -> Result<UserData, EncodingError> {
    let whole = unwrap::unwrap(bytes, MAX_UNWRAPPED).map_err(|fault| fault.of(WHOLE))?.bytes;
    let content = whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&whole);

    if begins_with(content, "#ingot") {
        let text = text_of(WHOLE, &whole)?;
        Ok(UserData::Documents(vec![Part { name: WHOLE.to_owned(), text }]))
    } else if mime::is_message(content) {
        Ok(match mime::documents(content, MAX_UNWRAPPED)? {
            parts if parts.is_empty() => UserData::Other { what: "a MIME message without a text/x-ingot part" },
            parts => UserData::Documents(parts),
        })
    } else if begins_with(content, "#cloud-config") {
        Ok(UserData::CloudConfig(text_of(WHOLE, &whole)?))
    } else {
        Ok(UserData::Other { what: looks_like(content) })
    }
}

/// Names, for people, what is none of ours. Never with a word of the content.
fn looks_like(content: &[u8]) -> &'static str {
    /// By the first bytes, as cloud-init tells them apart; the first match holds.
    const BEGINNINGS: [(&[u8], &str); 8] = [
        (b"#!", "a shell script"),
        (b"#cloud-config-archive", "a cloud-config archive"),
        (b"#cloud-boothook", "a cloud boothook"),
        (b"#include", "a cloud-init include list"),
        (b"## template:", "a cloud-init template"),
        (b"<", "a script or text for Windows, or XML"),
        (b"\xff\xfe", "text in UTF-16, not UTF-8"),
        (b"\xfe\xff", "text in UTF-16, not UTF-8"),
    ];
    if content.trim_ascii().is_empty() {
        return "nothing";
    }
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| content.starts_with(beginning)) {
        return what;
    }
    if begins_with(content.trim_ascii_start(), "#ingot") {
        return "text that says `#ingot`, but not at the start of its first line";
    }
    match std::str::from_utf8(content) {
        Ok(_) => "text that is no boot document",
        Err(_) => "data that is no boot document",
    }
}
