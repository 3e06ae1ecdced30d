//! What a blob of user data is: boot documents, a cloud-config that may carry one, or nothing of ours.
//!
//! [`recognise`] takes gzip, zstd and base64 off ([`unwrap`]) and looks, in this order, for `#ingot` on the
//! first line, for `text/x-ingot` parts of a MIME message ([`mime`]), and for `#cloud-config`. What is damaged
//! is an error and never «no document»: an instance must not come up without its document because of a bad copy.
//!
//! Parses no YAML, and fetches nothing: the first is the business of the boot document, the second of its source.

mod mime;
mod unwrap;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use crate::failure::Failure;

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

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Documents(parts) => f.debug_tuple("Documents").field(parts).finish(),
            Self::CloudConfig(text) => write!(f, "CloudConfig({} bytes)", text.len()),
            Self::Other { what } => write!(f, "Other({what})"),
        }
    }
}

/// The most that user data may be once unwrapped, in bytes; the parts of a MIME message share it.
///
/// EC2 takes 16 KiB. A thousand times that is more than any document, also one fetched from elsewhere, and
/// little enough for the smallest instance.
const MAX_UNWRAPPED: usize = 16 << 20;

/// What the whole is called in messages.
const WHOLE: &str = "user data";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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

/// Whether the first line is `marker`, with or without a remark after a blank.
///
/// cloud-init reads `#cloud-config # web` the same way, and `#cloud-config-archive` is another thing.
fn begins_with(content: &[u8], marker: &str) -> bool {
    content.strip_prefix(marker.as_bytes()).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// The text of `part`. The offset in the error counts from its first byte once unwrapped.
fn text_of(part: &str, bytes: &[u8]) -> Result<String, EncodingError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
        Err(error) => Err(EncodingError::NotText { part: part.to_owned(), offset: error.valid_up_to() }),
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

/// What can be taken off user data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
    Base64,
    QuotedPrintable,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
        })
    }
}

/// Why user data could not be read. `part` is the name as in [`Part`].
///
/// No variant quotes the content, nor does any source: it may hold secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodingError {
    #[error("{part} is wrapped in gzip, zstd or base64 more than {most} times", most = unwrap::MAX_LAYERS)]
    TooDeep { part: String },

    #[error("{part} goes beyond the {} MiB that user data may be once unwrapped", MAX_UNWRAPPED >> 20)]
    TooLarge { part: String },

    #[error("{part} is {encoding} that is damaged or cut short")]
    Corrupt {
        part: String,
        encoding: Encoding,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },

    #[error("{part} is not UTF-8 at byte {offset}")]
    NotText { part: String, offset: usize },

    #[error("{part} is a broken MIME message: {why}")]
    BrokenMessage { part: String, why: &'static str },
}

impl Failure for EncodingError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooDeep { part } => {
                format!("encode {part} once: `gzip` or `zstd`, then base64 if the tool that sends it does not do that itself")
            }
            Self::TooLarge { part } => {
                format!(
                    "move what is large in {part} into a bundle on S3; if zstd wrote it, compress with level 19 or lower and without --long"
                )
            }
            Self::Corrupt { encoding: Encoding::Gzip, .. } => {
                "make it again with `gzip --stdout FILE`, and send the bytes unchanged".into()
            }
            Self::Corrupt { encoding: Encoding::Zstd, .. } => {
                "make it again with `zstd --stdout FILE`, and send the bytes unchanged".into()
            }
            Self::Corrupt { encoding: Encoding::Base64, .. } => "make it again with `base64 --wrap=0 FILE`, and send all of it".into(),
            Self::Corrupt { encoding: Encoding::QuotedPrintable, .. } => {
                "send the part as it is, with `Content-Transfer-Encoding: 8bit`".into()
            }
            Self::NotText { part, .. } => format!("save {part} as UTF-8"),
            Self::BrokenMessage { .. } => "make it with `cloud-init devel make-mime` or Terraform's cloudinit_config, not by hand".into(),
        })
    }
}
