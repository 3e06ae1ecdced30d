//! The headers of a MIME message or of one of its parts, and where they end.

use mail_parser::{HeaderName, MessageParser, MimeHeaders};

use super::lines::{Line, lines};
use crate::document::encoding::claims::{is_nearly_our_type, is_our_type};
use crate::document::encoding::error::EncodingError;
use crate::document::encoding::part::WHOLE;

/// The maximum size of the headers of one part, in bytes: as much as EC2 accepts for all user data.
pub(super) const MAX_HEADERS: usize = 16 << 10;

/// How much of a file name messages repeat, in characters.
const MAX_NAME: usize = 64;

/// Headers that a part for ingot may have in addition to `Content-…` and `X-…`. A line with another name belongs to the
/// document.
///
/// RFC 5322 section 3.6, RFC 2045 and cloud-init's `Launch-Index` and `Merge-Type`.
const NAMES: [&str; 17] = [
    "mime-version",
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "sender",
    "reply-to",
    "received",
    "return-path",
    "user-agent",
    "number-attachments",
    "launch-index",
    "merge-type",
    "comments",
    "keywords",
];

/// An entity, split where its headers end.
pub(super) struct Cut<'a> {
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    /// Whether an empty line ends the headers, as required.
    pub(super) ended: bool,
}

/// Splits at the first empty line, or before the first line that is not a header. Python's `email`, and therefore
/// cloud-init, treats that line as the start of the body.
pub(super) fn cut(entity: &[u8]) -> Cut<'_> {
    cut_before(entity, |line, first| !is_header(line.content) && (first || !begins_blank(line.content)))
}

/// Also splits before a line that only has the form of a header, such as `version: 1`. A line with a capital letter,
/// such as `Priority: normal`, belongs to the headers if they end with an empty line.
pub(super) fn cut_strictly(entity: &[u8]) -> Cut<'_> {
    let cut_at_unknown = |is_known: fn(&[u8]) -> bool| {
        cut_before(entity, move |line, first| match name(line.content) {
            Some(name) => !is_known(name),
            None => first || !begins_blank(line.content),
        })
    };
    let whole = cut_at_unknown(|name| is_name_of_mime(name) || name.first().is_some_and(u8::is_ascii_uppercase));
    if whole.ended { whole } else { cut_at_unknown(is_name_of_mime) }
}

fn cut_before<'a>(entity: &'a [u8], is_body: impl Fn(&Line<'a>, bool) -> bool) -> Cut<'a> {
    for (index, line) in lines(entity).enumerate() {
        if line.content.is_empty() {
            return Cut { head: &entity[..line.start], body: &entity[line.next..], ended: true };
        }
        if is_body(&line, index == 0) {
            return Cut { head: &entity[..line.start], body: &entity[line.start..], ended: false };
        }
    }
    Cut { head: entity, body: &[], ended: false }
}

/// Whether a line continues the previous header.
fn begins_blank(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

pub(super) fn is_header(line: &[u8]) -> bool {
    name(line).is_some()
}

fn name(line: &[u8]) -> Option<&[u8]> {
    let name = line.split(|byte| *byte == b':').next()?;
    let is_name = !name.is_empty() && name.len() < line.len() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    is_name.then_some(name)
}

fn is_name_of_mime(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with(b"content-") || name.starts_with(b"x-") || NAMES.iter().any(|known| known.as_bytes() == name)
}

pub(super) enum Kind {
    Multipart {
        boundary: String,
    },
    /// A message that is a part of another message.
    Message,
    /// A `text/x-ingot` part.
    Document,
    /// A part meant as `text/x-ingot`, with the type that it gives.
    Nearly(String),
    /// Any other part, with its type in lower case; empty if it has none.
    Other(String),
}

pub(super) struct Headers {
    pub(super) kind: Kind,
    /// In lower case; empty if there is none.
    pub(super) transfer_encoding: String,
    pub(super) file_name: Option<String>,
}

impl Headers {
    pub(super) fn parse(head: &[u8]) -> Result<Self, EncodingError> {
        if head.len() > MAX_HEADERS {
            return Err(broken("its headers are too long"));
        }
        let parser = MessageParser::new()
            .header_content_type(HeaderName::ContentType)
            .header_content_type(HeaderName::ContentDisposition)
            .header_text(HeaderName::ContentTransferEncoding)
            .default_header_ignore();
        // A part without headers is text/plain.
        let whole = [head, b"\n\n"].concat();
        let Some(message) = parser.parse_headers(&whole) else {
            return Ok(Self { kind: Kind::Other(String::new()), transfer_encoding: String::new(), file_name: None });
        };
        let content_type = message.content_type();
        let kind = content_type.map(|it| match it.subtype() {
            Some(subtype) => format!("{}/{subtype}", it.ctype()),
            None => it.ctype().to_owned(),
        });
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let kind = if kind.starts_with("multipart/") {
            let boundary = content_type.and_then(|it| it.attribute("boundary")).map(str::trim_end).unwrap_or_default();
            if boundary.is_empty() {
                return Err(broken("a multipart has no boundary"));
            }
            Kind::Multipart { boundary: boundary.to_owned() }
        } else if kind == "text/x-ingot" {
            Kind::Document
        } else if kind == "message/rfc822" {
            Kind::Message
        } else if is_nearly_our_type(&kind) || String::from_utf8_lossy(head).lines().any(is_our_type) {
            Kind::Nearly(kind)
        } else {
            Kind::Other(kind)
        };
        Ok(Self {
            kind,
            transfer_encoding: message.content_transfer_encoding().unwrap_or_default().trim().to_ascii_lowercase(),
            file_name: message.attachment_name().map(printable).filter(|name| !name.is_empty()),
        })
    }
}

/// A file name in a form suitable for a message: short and on one line.
fn printable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect()
}

pub(super) fn broken(why: &'static str) -> EncodingError {
    EncodingError::BrokenMessage { part: WHOLE.to_owned(), why }
}
