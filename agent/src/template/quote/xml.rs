//! `{{xml x}}`: text of an XML element, or of an attribute in single or double quotes.

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// Escapes the five markup characters, and the white space that a parser would otherwise normalize.
///
/// # Errors
///
/// A character that no XML 1.0 document can contain, even escaped.
///
/// Source: XML 1.0, 2.2 `Char`, 2.11 and 3.3.3
pub(in crate::template) fn xml(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    for character in scalar(value)?.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                return Err(Refusal::of_content("contains a character that XML 1.0 cannot contain"));
            }
            _ => out.push(character),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(text: &str) -> Option<String> {
        let mut out = Buffer::new();
        xml(&json!(text), &mut out).ok()?;
        Some(out.into_secret().expose().to_owned())
    }

    #[test]
    fn is_safe_in_text_and_in_attributes() {
        assert_eq!(written("<a b=\"c\" d='e'>&amp;]]>").as_deref(), Some("&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt;&amp;amp;]]&gt;"));
        assert_eq!(written("a\tb\nc\rd ü\u{7f}🦀").as_deref(), Some("a&#9;b&#10;c&#13;d ü\u{7f}🦀"));
    }

    #[test]
    fn refuses_what_xml_cannot_hold() {
        for text in ["\0", "\u{1}", "\u{b}", "\u{1f}", "\u{fffe}", "\u{ffff}"] {
            assert_eq!(written(text), None, "{text:?}");
        }
    }
}
