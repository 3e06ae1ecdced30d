//! `{{properties x}}`: a key or a value of Java's `.properties`.

use std::fmt::Write;

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// Escapes separators, comment signs and continuations, so that the result can be a key as well as a value, and all
/// characters except printable ASCII, because Java reads a stream as ISO-8859-1.
///
/// Source: `java.util.Properties.load`
pub(in crate::template) fn properties(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    for character in scalar(value)?.chars() {
        match character {
            '\\' | ' ' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(character);
            }
            '\t' => out.push_str(r"\t"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '!'..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a buffer in memory cannot fail.
                    let _ = write!(out, r"\u{unit:04X}");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn can_be_a_key_or_a_value() {
        for (value, expected) in [
            (json!("plain-1.2_3"), "plain-1.2_3"),
            (json!(" a = b:c#d!e"), r"\ a\ \=\ b\:c\#d\!e"),
            (json!("C:\\new\ttwo\nlines\r"), r"C\:\\new\ttwo\nlines\r"),
            (json!("ü🦀\0\u{c}\u{7f}"), r"\u00FC\uD83E\uDD80\u0000\u000C\u007F"),
            (json!("'\"${x}"), "'\"${x}"),
            (json!(false), "false"),
        ] {
            let mut out = Buffer::new();
            properties(&value, &mut out).unwrap();
            assert_eq!(out.into_secret().expose(), expected);
        }
    }
}
