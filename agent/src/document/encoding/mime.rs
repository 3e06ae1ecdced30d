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
//! Headers are parsed by mail-parser. Bodies are split here, because mail-parser accepts the boundary as a delimiter
//! anywhere in a line (the one AWS documents is `//`, which a comment may well contain) and decodes text by its
//! charset, which loses bytes. Parts of other types are for cloud-init. They are read as far as possible, but only to
//! find a boot document that its author put into a part of the wrong type, or after headers that do not end.

mod headers;
mod lines;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use mail_parser::decoders::quoted_printable::quoted_printable_decode;

use self::headers::{Cut, Headers, Kind, MAX_HEADERS, broken, cut, cut_strictly, is_header};
use self::lines::lines;
use super::beginnings::{MARKER, begins_as_message};
use super::claims::{in_part, is_for_others, is_generic_text, is_of_others, is_our_type, may_go_on_as_ours};
use super::error::{Encoding, EncodingError};
use super::marker::shown;
use super::part::{Part, WHOLE, readable};
use super::slip::Slip;
use super::unread::UTF_16;
use super::unwrap::{self, Fault};
use crate::failure::{Explanation, Failure as _};

/// How deep multiparts may nest. A part that contains another tool's message makes two levels.
const MAX_DEPTH: usize = 8;

/// The maximum length of a UTF-8 character in bytes: a truncated text may end inside one.
const LONGEST_CHARACTER: usize = 4;

/// Whether `content` begins with headers that include a MIME header.
pub(crate) fn is_message(content: &[u8]) -> bool {
    let content = without_envelope(content);
    let head = &content[..content.len().min(MAX_HEADERS)];
    let mut headers = lines(head).map(|line| line.content).take_while(|line| !line.is_empty());
    headers.clone().next().is_some_and(is_header) && headers.any(begins_as_message)
}

/// Removes the line `From …` that mailboxes, and tools with the same format, put first.
fn without_envelope(content: &[u8]) -> &[u8] {
    match lines(content).next() {
        Some(line) if line.content.starts_with(b"From ") => &content[line.next..],
        _ => content,
    }
}

/// The `text/x-ingot` parts of `message` in order, whose unwrapped sizes add up to at most `limit`. Also includes, each
/// with a slip, content for ingot in other parts.
pub(crate) fn documents(message: &[u8], limit: usize) -> Result<Vec<Part>, EncodingError> {
    let mut walk = Walk { left: limit, left_for_others: limit, leaves: 0, is_cut: false, documents: Vec::new(), unread: Vec::new() };
    walk.entity(without_envelope(message), 0, "")?;
    if walk.is_cut && !walk.documents.is_empty() {
        return Err(broken("it ends inside a part, without the closing delimiter"));
    }
    walk.with_unread()
}

struct Walk {
    /// How many bytes the remaining parts may unwrap to: the parts for ingot, and the others.
    left: usize,
    left_for_others: usize,
    /// The number of parts so far that are not multipart, whatever their type. Messages number parts by this count.
    leaves: usize,
    /// Whether a multipart ends inside a part. cloud-init accepts that, but the document may have been longer.
    is_cut: bool,
    documents: Vec<Part>,
    unread: Vec<Unread>,
}

/// A part that cannot be read and may contain a document.
struct Unread {
    name: String,
    why: EncodingError,
    /// Whether the part is clearly for another program, provided that there is a part for ingot.
    is_passable: bool,
}

impl Walk {
    /// All parts, including those that cannot be read. An author who has sent a document in a part of the right type
    /// knows that type, so a binary script or an archive in the same message is for another program. A compressed part,
    /// however, may be the second half of the document: it is reported as a mistake, and the signals of the documents
    /// are still sent.
    fn with_unread(mut self) -> Result<Vec<Part>, EncodingError> {
        if self.documents.is_empty() {
            return self.unread.into_iter().next().map_or(Ok(Vec::new()), |unread| Err(unread.why));
        }
        let has_sound = self.documents.iter().any(|part| part.slip.is_none());
        for Unread { name, why, .. } in self.unread.into_iter().filter(|unread| !(has_sound && unread.is_passable)) {
            let slip = Slip::at((1, 1), with_causes(&why), why.hint().unwrap_or_default());
            self.documents.push(Part { name, text: String::new(), slip: Some(slip) });
        }
        Ok(self.documents)
    }

    /// Collects the content for ingot in `entity`, which is the message or a part of it with its own headers.
    /// `boundary` is the boundary of the enclosing multipart.
    fn entity(&mut self, entity: &[u8], depth: usize, boundary: &str) -> Result<(), EncodingError> {
        let Cut { head, body, ended } = cut(entity);
        let headers = Headers::parse(head)?;
        match &headers.kind {
            Kind::Multipart { .. } | Kind::Message if depth == MAX_DEPTH => Err(broken("multiparts are nested too deeply")),
            Kind::Message => self.entity(body, depth + 1, boundary),
            Kind::Multipart { boundary } => {
                let known = self.documents.len();
                let Split { parts, outside, is_cut } = split_parts(body, boundary)?;
                self.is_cut |= is_cut;
                for part in parts {
                    self.entity(part, depth + 1, boundary)?;
                }
                self.documents.extend(outside.into_iter().filter_map(lost));
                if let Some(first) = self.documents.get_mut(known).filter(|_| !ended) {
                    first.slip.get_or_insert_with(|| unended("the headers of the MIME message do not end with an empty line"));
                }
                Ok(())
            }
            Kind::Document | Kind::Nearly(_) => {
                self.leaves += 1;
                match self.document(entity, depth, &headers) {
                    Ok(part) => self.documents.push(part),
                    Err(why @ EncodingError::TooLarge { .. }) => return Err(why),
                    Err(why) => {
                        let name = self.name(depth, headers.file_name.as_deref());
                        self.unread.push(Unread { name, why, is_passable: false });
                    }
                }
                Ok(())
            }
            Kind::Other(kind) => {
                self.leaves += 1;
                let name = self.name(depth, headers.file_name.as_deref());
                for body in [body, cut_strictly(entity).body] {
                    let text = match self.text_of_other(kind, &name, body, &headers.transfer_encoding) {
                        Ok(Some(text)) => text,
                        Ok(None) => continue,
                        Err(why) => {
                            let file_name = headers.file_name.as_deref().unwrap_or_default();
                            let is_passable = matches!(why, EncodingError::Unread { what, .. } if is_of_others(what, kind, file_name));
                            self.unread.push(Unread { name, why, is_passable });
                            break;
                        }
                    };
                    if let Some(slip) = in_part(kind, &text).or_else(|| delimiter_in(&text, boundary)) {
                        self.documents.push(Part { name, text, slip: Some(slip) });
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// A part whose type declares it as a document for ingot.
    fn document(&mut self, entity: &[u8], depth: usize, headers: &Headers) -> Result<Part, EncodingError> {
        let Cut { body, ended, .. } = cut_strictly(entity);
        let name = self.name(depth, headers.file_name.as_deref());
        let decoded = decode(body, &headers.transfer_encoding, self.left, &name)?;
        let unwrapped = unwrap::unwrap(&decoded, self.left).map_err(|fault| fault.of(&name))?;
        self.left -= unwrapped.largest;
        let mut part = Part::read(&name, &unwrapped.bytes)?;
        if part.slip.is_some() {
            return Ok(part);
        }
        if let Kind::Nearly(kind) = &headers.kind {
            let message = match kind.as_str() {
                "" => "the header with the type of this part cannot be read".to_owned(),
                kind => format!("the type of this part is `{}`, not `text/x-ingot`", shown(kind)),
            };
            part.slip = Some(Slip::at((1, 1), message, "give the part the header `Content-Type: text/x-ingot`"));
        } else if !ended {
            part.slip = Some(unended("the headers of this part do not end with an empty line"));
        }
        Ok(part)
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

    /// The text of a part of another type, as far as it can be read. An error is returned only if the content is text
    /// for no known program.
    fn text_of_other(&mut self, kind: &str, name: &str, body: &[u8], transfer_encoding: &str) -> Result<Option<String>, EncodingError> {
        let limit = self.left_for_others;
        let decoded = match decode(body, transfer_encoding, limit, name) {
            Ok(decoded) => decoded,
            Err(EncodingError::Corrupt { encoding: Encoding::Base64, .. }) => Cow::Owned(unwrap::whole_base64(body, limit)),
            Err(_) => return Ok(None),
        };
        let unwrapped = match unwrap::unwrap(&decoded, limit) {
            Ok(unwrapped) => unwrapped,
            Err(fault) => {
                let rest = unwrap::as_far_as_it_goes(&decoded, limit);
                let text = readable(&rest);
                let is_text = text.len() + LONGEST_CHARACTER > rest.len();
                let may_be_ours = is_text && may_go_on_as_ours(kind, text);
                return if in_part(kind, text).is_none() && may_be_ours { Err(fault.of(name)) } else { Ok(Some(text.to_owned())) };
            }
        };
        self.left_for_others -= unwrapped.largest;
        match Part::read(name, &unwrapped.bytes) {
            Ok(part) if part.slip.is_some() && is_generic_text(kind) && !is_for_others(kind, &part.text) => {
                Err(EncodingError::Unread { part: name.to_owned(), what: UTF_16 })
            }
            Ok(part) => Ok(Some(part.text)),
            Err(EncodingError::NotText { .. }) => Ok(Some(readable(&unwrapped.bytes).to_owned())),
            Err(error) if is_generic_text(kind) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// Decodes the transfer encoding of a part's body.
fn decode<'a>(body: &'a [u8], transfer_encoding: &str, limit: usize, name: &str) -> Result<Cow<'a, [u8]>, EncodingError> {
    Ok(match transfer_encoding {
        "" | "7bit" | "8bit" | "binary" => Cow::Borrowed(body),
        "base64" => Cow::Owned(unwrap::decode_base64(body, limit).map_err(|fault| fault.of(name))?),
        "quoted-printable" => Cow::Owned(decode_quoted_printable(body).map_err(|fault| fault.of(name))?),
        _ => return Err(EncodingError::BrokenMessage { part: name.to_owned(), why: "its Content-Transfer-Encoding is unknown" }),
    })
}

/// An error and its causes in one line.
fn with_causes(error: &EncodingError) -> String {
    let Explanation { message, causes, .. } = Explanation::of(error);
    std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ")
}

fn unended(message: &str) -> Slip {
    Slip::at((1, 1), message, "put an empty line between the last header and what comes after it")
}

/// Content for ingot before the first delimiter of a multipart, or after the last one, where no program reads it.
fn lost(outside: &[u8]) -> Option<Part> {
    let text = String::from_utf8_lossy(outside);
    let line = text.lines().position(|line| is_our_type(line) || line.trim() == MARKER)?;
    let hint = "look for a delimiter that is missing, misspelled, or closes too early";
    let slip = Slip::at((line + 1, 1), "a boot document is outside the parts of the MIME message", hint);
    Some(Part { name: format!("{WHOLE}, outside of its parts"), slip: Some(slip), text: text.into_owned() })
}

/// A delimiter that was misspelled or indented, so that a part for ingot was appended to another program's part.
fn delimiter_in(text: &str, boundary: &str) -> Option<Slip> {
    /// Within how many lines after the delimiter the type header must come.
    const HEADERS: usize = 6;

    let bare = |line: &str| line.trim().trim_matches('-').to_lowercase();
    let boundary = bare(boundary);
    let mut like = None;
    let line = text.lines().enumerate().find_map(|(index, line)| {
        if !boundary.is_empty() && bare(line) == boundary {
            like = Some(index);
        }
        like.filter(|like| index - like <= HEADERS && is_our_type(line))
    })?;
    let message = "this line is not the delimiter of the MIME message, and a boot document comes after it";
    Some(Slip::at((line + 1, 1), message, "write the delimiter as `--` and the boundary, at the start of its line"))
}

/// The body of a multipart, split into parts.
struct Split<'a> {
    parts: Vec<&'a [u8]>,
    /// The content before the first delimiter, and after the closing one.
    outside: [&'a [u8]; 2],
    /// Whether it ends inside its last part.
    is_cut: bool,
}

/// Splits the body of a multipart at its delimiters according to RFC 2046 section 5.1.1: each is a line of its own, and
/// the line break before it belongs to it.
///
/// A message that ends after a delimiter other than the closing one is complete: AWS documented such a message.
fn split_parts<'a>(body: &'a [u8], boundary: &str) -> Result<Split<'a>, EncodingError> {
    let mut split = Split { parts: Vec::new(), outside: [&[], &[]], is_cut: false };
    let mut part_start = None;
    for line in lines(body) {
        let Some(suffix) = line.content.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary.as_bytes())) else { continue };
        let closing = match suffix {
            b"" => false,
            b"--" => true,
            _ => continue,
        };
        match part_start {
            Some(start) => split.parts.push(without_line_break(&body[start..line.start])),
            None => split.outside[0] = &body[..line.start],
        }
        if closing {
            split.outside[1] = &body[line.next..];
            return Ok(split);
        }
        part_start = Some(line.next);
    }
    match part_start {
        None => Err(broken("a multipart has no parts")),
        Some(start) if body[start..].trim_ascii().is_empty() => Ok(split),
        Some(start) if cut(&body[start..]).ended => {
            split.parts.push(&body[start..]);
            Ok(Split { is_cut: true, ..split })
        }
        Some(_) => Err(broken("it ends in the headers of a part")),
    }
}

fn without_line_break(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Decodes quoted-printable. mail-parser's decoder drops the rest of a truncated escape, so that case is detected here.
fn decode_quoted_printable(body: &[u8]) -> Result<Vec<u8>, Fault> {
    let is_escape = |after: &[u8]| matches!(after, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let is_soft_break = |after: &[u8]| lines(after).next().is_none_or(|line| line.content.is_empty());
    let whole = body.split(|byte| *byte == b'=').skip(1).all(|after| is_escape(after) || is_soft_break(after));
    let decoded = if whole { quoted_printable_decode(body) } else { None };
    decoded.ok_or_else(|| Fault::Corrupt(Encoding::QuotedPrintable, "what follows an `=` is not a byte in hexadecimal".into()))
}
