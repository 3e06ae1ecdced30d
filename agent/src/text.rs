//! Strings of a document: [`Text`] may contain `{{references}}`; [`SecretText`] is the rendered result, wiped on drop.
//! Also how any text is shown safely ([`shown`]).

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Visitor;
use serde::de::value::StrDeserializer;
use zeroize::Zeroizing;

/// A position in the input, for messages. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A string of the document, which may contain `{{references}}`.
///
/// Only stores what was written: [`template`](crate::template) does the parsing and rendering.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text {
    raw: String,
    place: Option<Place>,
}

/// The name by which [`Text`] asks a deserializer for the place as well, which [`placed`] passes. A deserializer that
/// does not know the name passes the bare string.
pub(crate) const TEXT_WITH_PLACE: &str = "$ingot::Text";

impl Text {
    pub(crate) fn new(raw: impl Into<String>) -> Self {
        Self { raw: raw.into(), place: None }
    }

    pub(crate) fn at(raw: impl Into<String>, place: Place) -> Self {
        Self { raw: raw.into(), place: Some(place) }
    }

    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether there is anything to render.
    pub(crate) fn is_plain(&self) -> bool {
        // Most texts contain neither character, and each is checked several times.
        let has_sign = self.raw.bytes().any(|byte| matches!(byte, b'{' | b'\\'));
        !has_sign || (!self.raw.contains("{{") && !self.raw.contains('\\'))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.raw, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::new(text))
            }

            fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
                let (place, raw) = (PLACE.take(), String::deserialize(deserializer)?);
                Ok(match place {
                    Some(place) => Text::at(raw, place),
                    None => Text::new(raw),
                })
            }
        }

        deserializer.deserialize_newtype_struct(TEXT_WITH_PLACE, TextVisitor)
    }
}

thread_local! {
    /// The place of the text that is being deserialized: serde cannot pass it from a deserializer to a type.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Passes a string with its place, for a deserializer that knows [`TEXT_WITH_PLACE`].
pub(crate) fn placed<'de, V: Visitor<'de>, E: serde::de::Error>(text: &str, place: &Place, visitor: V) -> Result<V::Value, E> {
    PLACE.set(Some(place.clone()));
    visitor.visit_newtype_struct(StrDeserializer::new(text))
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A string; {{references}} to facts and to outputs of other steps are filled in."
        })
    }
}

/// A string that is or may be made from a secret: wiped on drop, and impossible to print.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret itself. What is made from it must be a `SecretText` again, or go to the file,
    /// process or service for which it is meant.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Prints a fixed text, never the content, because containers derive `Debug`, and panics print it.
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `text` as it may be shown on a terminal or in a log: without characters that move the cursor, change colors or
/// reorder text. They are escaped, as `\x1b` or `\u{202e}`; line breaks and tabs stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) { Cow::Borrowed(text) } else { escaped(text, is_unshowable) }
}

/// The same on a single line: line breaks are escaped as well.
pub(crate) fn shown_on_a_line(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character == '\n' || is_unshowable(character))
}

/// Whether a character acts on a terminal instead of being displayed: a C0 or C1 control, or
/// one that reorders text. Except for line breaks and tabs.
///
/// Source of the latter: <https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>
pub(crate) fn is_unshowable(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// Whether a text consists only of ASCII that is shown as it is, like most texts: checking
/// characters takes three times as long.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'))
}

fn escaped(text: &str, is_escaped: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' | '\r' if is_escaped(character) => out.extend(character.escape_default()),
            _ if is_escaped(character) && character.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(character))),
            _ if is_escaped(character) => out.extend(character.escape_unicode()),
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// The JSON document `json` with every character escaped that must not be shown. The meaning stays the same: such
/// characters only occur within strings.
pub fn shown_in_json(json: &str) -> Cow<'_, str> {
    if is_plain(json) || !json.contains(is_unshowable) {
        return Cow::Borrowed(json);
    }
    let escaped = |character| match is_unshowable(character) {
        true => format!("\\u{:04x}", u32::from(character)),
        false => String::from(character),
    };
    Cow::Owned(json.chars().map(escaped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", SecretText::from("hunter2")), "[redacted]");
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        let hostile = "a\x1b[2Kb\rc\x08d\0\x7f\u{9b}31m\u{202e}e\u{2066}\t\nü€😀";
        assert_eq!(shown(hostile), "a\\x1b[2Kb\\rc\\x08d\\x00\\x7f\\u{9b}31m\\u{202e}e\\u{2066}\t\nü€😀");
        assert_eq!(shown_on_a_line("a\nb"), "a\\nb");
        assert!(matches!(shown("plain ü\n"), Cow::Borrowed(_)));
        let json = serde_json::Value::from(hostile).to_string();
        let shown = shown_in_json(&json);
        assert!(!shown.contains(is_unshowable) && shown.contains("\\u202e"), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), hostile);
    }

    #[test]
    fn a_place_is_of_the_text_it_was_handed_over_with() {
        type Bare<'a> = StrDeserializer<'a, serde::de::value::Error>;
        struct Placing(Place);

        impl<'de> serde::Deserializer<'de> for Placing {
            type Error = serde::de::value::Error;

            fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
                placed("a:b", &self.0, visitor)
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
                newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }

        let place = Place { file: "C:x.yaml".into(), line: 3, column: 7 };
        assert_eq!(Text::deserialize(Placing(place.clone())), Ok(Text::at("a:b", place)));
        assert_eq!(Text::deserialize(Bare::new("a:b")), Ok(Text::new("a:b")));
    }
}
