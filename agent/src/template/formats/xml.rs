//! Whether a text is a well-formed XML document.
//!
//! The document type is not read: if there is one, any entity may have been declared.
//!
//! Source: XML 1.0, 2.1

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// An offset, and the mistake at that offset.
pub(super) type Mistake = (usize, &'static str);

const UNREADABLE: &str = "does not parse";

/// # Errors
///
/// The first position where the text is not well-formed.
pub(super) fn check(text: &str) -> Result<(), Mistake> {
    if let Some((at, _)) = text.char_indices().find(|(_, character)| !is_character(*character)) {
        return Err((at, "has a character that XML cannot contain"));
    }
    let text_from = text.len() - text.trim_start_matches('\u{feff}').len();
    let mut reader = Reader::from_str(&text[text_from..]);
    reader.config_mut().enable_all_checks(true);
    let mut document = Document::default();
    loop {
        let at = text_from + offset(reader.buffer_position());
        let event = reader.read_event().map_err(|_| (text_from + offset(reader.error_position()), UNREADABLE))?;
        if matches!(event, Event::Eof) {
            return if document.is_complete() { Ok(()) } else { Err((text.len(), "ends too early")) };
        }
        document.takes(&event).map_err(|reason| (at, reason))?;
    }
}

/// The reader's position, which counts bytes of a text in memory.
fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..) && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// What has been seen of a document so far.
#[derive(Default)]
struct Document {
    begun: bool,
    typed: bool,
    root: bool,
    open: usize,
}

impl Document {
    fn is_complete(&self) -> bool {
        self.root && self.open == 0
    }

    fn takes(&mut self, event: &Event<'_>) -> Result<(), &'static str> {
        let first = !std::mem::replace(&mut self.begun, true);
        match event {
            Event::Start(tag) => {
                self.element(tag)?;
                self.open += 1;
            }
            Event::Empty(tag) => self.element(tag)?,
            // The reader rejects an end tag without a start tag.
            Event::End(_) => self.open -= 1,
            Event::Text(text) if self.open == 0 && !text.trim().is_empty() => return Err("has text outside of the one element"),
            Event::Text(text) if text.contains("]]>") => return Err("has `]]>` in text"),
            Event::CData(_) | Event::GeneralRef(_) if self.open == 0 => return Err("has text outside of the one element"),
            Event::GeneralRef(entity) => {
                let known = match entity.resolve_char_ref() {
                    Ok(Some(character)) => is_character(character),
                    Ok(None) => self.typed || resolve_predefined_entity(&entity.xml10_content()).is_some(),
                    Err(_) => false,
                };
                if !known {
                    return Err("has an entity that is not defined");
                }
            }
            Event::DocType(_) if self.root || self.typed => return Err("has a document type that does not come first"),
            Event::DocType(_) => self.typed = true,
            Event::Decl(_) if !first => return Err("has an XML declaration that does not come first"),
            _ => {}
        }
        Ok(())
    }

    fn element(&mut self, tag: &BytesStart<'_>) -> Result<(), &'static str> {
        if self.open == 0 && std::mem::replace(&mut self.root, true) {
            return Err("has a second element beside the first");
        }
        if !is_name(tag.name().as_ref()) {
            return Err(UNREADABLE);
        }
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| "has an attribute that does not parse")?;
            let entity = |name: &str| resolve_predefined_entity(name).or(self.typed.then_some(""));
            let value = attribute.normalized_value_with(XmlVersion::Implicit1_0, 1, entity);
            if !is_name(attribute.key.as_ref()) || attribute.value.contains('<') || value.is_err() {
                return Err("has an attribute that does not parse");
            }
        }
        Ok(())
    }
}

/// Whether this can name an element or an attribute. Characters beyond ASCII are not checked in detail.
fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | ':') || !first.is_ascii());
    starts_well && name.chars().all(|character| character.is_ascii_alphanumeric() || "_:-.".contains(character) || !character.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_documents() {
        for text in [
            "<a/>",
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c -->\n<a b='1' c=\"&lt;&#10;>\">x &amp; y<b:c/><![CDATA[<x>]]></a>\n<!-- d -->\n",
            "<!DOCTYPE a [<!ENTITY e 'x'>]>\n<a b='&e;'>&e;</a>",
            "<ü>é🦀</ü>",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_well_formed() {
        for (text, at) in [
            ("", 0),
            ("text", 0),
            ("<a>", 3),
            ("<a></b>", 3),
            ("<a/><b/>", 4),
            ("<a/>x", 4),
            ("<a>x & y</a>", 5),
            ("<a>&x;</a>", 3),
            ("<a>&#1;</a>", 3),
            ("<a>5 < 6</a>", 5),
            ("<a>]]></a>", 3),
            ("<a b=1/>", 0),
            ("<a b='1' b='2'/>", 0),
            ("<a b='<'/>", 0),
            ("<a b='&x;'/>", 0),
            ("<a>\u{1}</a>", 3),
            ("<a/><?xml version='1.0'?>", 4),
            ("<a><!-- a -- b --></a>", 3),
        ] {
            let (found, reason) = check(text).expect_err(text);
            assert!(found >= at, "{text}: {found} {reason}");
        }
    }
}
