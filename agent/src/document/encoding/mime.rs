//! `text/x-ingot` parts of a MIME message, as cloud-init's tools and Terraform write them.
//!
//! ```text
//! Content-Type: multipart/mixed; boundary="XX"
//! MIME-Version: 1.0
//!
//! --XX
//! Content-Type: text/x-ingot
//! Content-Disposition: attachment; filename="db.yaml"
//!
//! version: 1
//! --XX--
//! ```
//!
//! Headers are mail-parser's. Bodies are cut here, because mail-parser takes the boundary for a delimiter anywhere
//! in a line (the one AWS documents is `//`, which a comment may well hold) and decodes text by its charset, which
//! loses bytes. Parts of other types are cloud-init's business: neither decoded nor looked at.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{HeaderName, MessageParser, MimeHeaders};

use super::beginnings::begins_as_message;
use super::error::{Encoding, EncodingError};
use super::part::{Part, WHOLE, text_of};
use super::unwrap::{self, Fault};

/// How deep multiparts may nest. A part that holds the message of another tool makes two.
const MAX_DEPTH: usize = 8;

/// The most the headers of one part may be, in bytes: as much as EC2 takes for all of the user data.
const MAX_HEADERS: usize = 16 << 10;

/// How much of a file name messages repeat, in characters.
const MAX_NAME: usize = 64;

/// Whether `content` begins with headers, and one of them is of MIME.
pub(crate) fn is_message(content: &[u8]) -> bool {
    let head = &content[..content.len().min(MAX_HEADERS)];
    let mut headers = lines(head).map(|line| line.content).take_while(|line| !line.is_empty());
    headers.clone().next().is_some_and(is_header) && headers.any(begins_as_message)
}

fn is_header(line: &[u8]) -> bool {
    line.split(|byte| *byte == b':').next().is_some_and(|name| {
        !name.is_empty() && name.len() < line.len() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    })
}

/// The `text/x-ingot` parts of `message` in their order, whose sizes once unwrapped add up to at most `limit`.
pub(crate) fn documents(message: &[u8], limit: usize) -> Result<Vec<Part>, EncodingError> {
    let mut walk = Walk { left: limit, leaves: 0, documents: Vec::new() };
    walk.entity(message, 0)?;
    Ok(walk.documents)
}

struct Walk {
    /// Bytes that the parts still to come may unwrap to.
    left: usize,
    /// Parts passed that are no multipart, of whatever type: people count them all.
    leaves: usize,
    documents: Vec<Part>,
}

impl Walk {
    /// Takes what `entity`, the message or a part of it with its own headers, holds of ours.
    fn entity(&mut self, entity: &[u8], depth: usize) -> Result<(), EncodingError> {
        let (head, body) = split_headers(entity);
        let headers = Headers::parse(head)?;
        match headers.kind {
            Kind::Multipart { boundary } if depth < MAX_DEPTH => {
                for part in split_parts(body, &boundary)? {
                    self.entity(part, depth + 1)?;
                }
                Ok(())
            }
            Kind::Multipart { .. } => Err(broken("multiparts are nested too deep")),
            Kind::Document => {
                self.leaves += 1;
                let name = self.name(depth, headers.file_name.as_deref());
                let text = self.text(&name, body, &headers.transfer_encoding)?;
                self.documents.push(Part { name, text });
                Ok(())
            }
            Kind::Other => {
                self.leaves += 1;
                Ok(())
            }
        }
    }

    fn name(&self, depth: usize, file_name: Option<&str>) -> String {
        let mut name = WHOLE.to_owned();
        if depth > 0 {
            name += &format!(", part {}", self.leaves);
        }
        if let Some(file_name) = file_name {
            name += &format!(" ({file_name})");
        }
        name
    }

    fn text(&mut self, name: &str, body: &[u8], transfer_encoding: &str) -> Result<String, EncodingError> {
        let body = match transfer_encoding {
            "" | "7bit" | "8bit" | "binary" => Cow::Borrowed(body),
            "base64" => Cow::Owned(unwrap::decode_base64(body, self.left).map_err(|fault| fault.of(name))?),
            "quoted-printable" => Cow::Owned(decode_quoted_printable(body).map_err(|fault| fault.of(name))?),
            _ => return Err(EncodingError::BrokenMessage { part: name.to_owned(), why: "its Content-Transfer-Encoding is unknown" }),
        };
        let unwrapped = unwrap::unwrap(&body, self.left).map_err(|fault| fault.of(name))?;
        self.left -= unwrapped.largest;
        text_of(name, &unwrapped.bytes)
    }
}

enum Kind {
    Multipart {
        boundary: String,
    },
    /// A `text/x-ingot`.
    Document,
    Other,
}

struct Headers {
    kind: Kind,
    /// In lower case, and empty if there is none.
    transfer_encoding: String,
    file_name: Option<String>,
}

impl Headers {
    fn parse(head: &[u8]) -> Result<Self, EncodingError> {
        if head.len() > MAX_HEADERS {
            return Err(broken("its headers are too long"));
        }
        let parser = MessageParser::new()
            .header_content_type(HeaderName::ContentType)
            .header_content_type(HeaderName::ContentDisposition)
            .header_text(HeaderName::ContentTransferEncoding)
            .default_header_ignore();
        // A part without headers is text/plain, and one with headers ends them with an empty line.
        let whole = [head, b"\n\n"].concat();
        let Some(message) = parser.parse_headers(&whole) else {
            return Ok(Self { kind: Kind::Other, transfer_encoding: String::new(), file_name: None });
        };
        let content_type = message.content_type();
        let kind = if content_type.is_some_and(|it| it.ctype().eq_ignore_ascii_case("multipart")) {
            let boundary = content_type.and_then(|it| it.attribute("boundary")).map(str::trim_end).unwrap_or_default();
            if boundary.is_empty() {
                return Err(broken("a multipart has no boundary"));
            }
            Kind::Multipart { boundary: boundary.to_owned() }
        } else if message.is_content_type("text", "x-ingot") {
            Kind::Document
        } else {
            Kind::Other
        };
        Ok(Self {
            kind,
            transfer_encoding: message.content_transfer_encoding().unwrap_or_default().trim().to_ascii_lowercase(),
            file_name: message.attachment_name().map(printable).filter(|name| !name.is_empty()),
        })
    }
}

/// A file name fit for a message: one line, and not a long one.
fn printable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(MAX_NAME).collect()
}

/// One line, and where it and the next begin.
struct Line<'a> {
    start: usize,
    /// Without its end and blanks before it.
    content: &'a [u8],
    next: usize,
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> + Clone {
    let mut start = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let line = Line { start, content: line.trim_ascii_end(), next: start + line.len() };
        start = line.next;
        line
    })
}

/// Cuts at the first empty line.
fn split_headers(entity: &[u8]) -> (&[u8], &[u8]) {
    match lines(entity).find(|line| line.content.is_empty()) {
        Some(line) => (&entity[..line.start], &entity[line.next..]),
        None => (entity, &[]),
    }
}

/// Cuts the body of a multipart at its delimiters, as RFC 2046 section 5.1.1 has it: each a line of its own, which
/// owns the line break before it.
///
/// A message that ends after a delimiter other than the closing one is tolerated: AWS documented one like that. A
/// message that ends inside a part is not, for then the part may have been longer.
fn split_parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, EncodingError> {
    let mut parts = Vec::new();
    let mut part_start = None;
    for line in lines(body) {
        let Some(suffix) = line.content.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary.as_bytes())) else { continue };
        let closing = match suffix {
            b"" => false,
            b"--" => true,
            _ => continue,
        };
        if let Some(start) = part_start {
            parts.push(without_line_break(&body[start..line.start]));
        }
        if closing {
            return Ok(parts);
        }
        part_start = Some(line.next);
    }
    match part_start {
        None => Err(broken("a multipart has no parts")),
        Some(start) if body[start..].trim_ascii().is_empty() => Ok(parts),
        Some(_) => Err(broken("it ends inside a part, without the closing delimiter")),
    }
}

fn without_line_break(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Decodes quoted-printable. mail-parser's decoder drops what is left of an escape cut short, so that is looked for here.
fn decode_quoted_printable(body: &[u8]) -> Result<Vec<u8>, Fault> {
    let is_escape = |after: &[u8]| matches!(after, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let is_soft_break = |after: &[u8]| lines(after).next().is_none_or(|line| line.content.is_empty());
    let whole = body.split(|byte| *byte == b'=').skip(1).all(|after| is_escape(after) || is_soft_break(after));
    let decoded = if whole { quoted_printable_decode(body) } else { None };
    decoded.ok_or_else(|| Fault::Corrupt(Encoding::QuotedPrintable, "what follows an `=` is not a byte in hexadecimal".into()))
}

fn broken(why: &'static str) -> EncodingError {
    EncodingError::BrokenMessage { part: WHOLE.to_owned(), why }
}
