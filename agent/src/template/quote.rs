//! Writes a value so that a format reads back exactly that value, whatever it contains.
//!
//! `toml`, `json` and `yaml` write whole values on one line. `shell`, and each file in this directory, writes one
//! string, number or boolean. A value that a format cannot represent is rejected, because a wrong file is worse than
//! none.

pub(super) mod env;
pub(super) mod ini;
pub(super) mod pgpass;
pub(super) mod properties;
pub(super) mod url;
pub(super) mod variables;
pub(super) mod xml;

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::refusal::Refusal;
use super::scope::Buffer;
use crate::number;

/// A TOML value: basic strings, numbers, booleans, arrays, inline tables. TOML has no null, and no integers above 2^63
/// - 1. Here and below, a [number] keeps its digits where the format supports them.
///
/// Source: <https://toml.io/en/v1.0.0>
pub(super) fn toml(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    match value {
        Value::Null => return Err(Refusal::of_content("is null or has a null in it")),
        Value::Bool(truth) => display(truth, out),
        Value::Number(number) => match number::in_toml(number) {
            Some(text) => out.push_str(&text),
            None => return Err(Refusal::of_content(TOO_LARGE_FOR_TOML)),
        },
        Value::String(text) => double_quoted(text, out),
        Value::Array(list) => return sequence(list, ", ", out, toml),
        Value::Object(map) if map.is_empty() => out.push_str("{}"),
        Value::Object(map) => {
            for (n, (key, value)) in map.iter().enumerate() {
                out.push_str(if n == 0 { "{ " } else { ", " });
                if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
                    out.push_str(key);
                } else {
                    double_quoted(key, out);
                }
                out.push_str(" = ");
                toml(value, out)?;
            }
            out.push_str(" }");
        }
    }
    Ok(())
}

/// Why TOML cannot represent a number.
pub(super) const TOO_LARGE_FOR_TOML: &str = "is or has a number too large for TOML, whose integers end at 2^63 - 1";

/// JSON without white space.
pub(super) fn json(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => display(truth, out),
        Value::Number(number) => out.push_str(&number::in_json(number)),
        Value::String(text) => double_quoted(text, out),
        Value::Array(list) => return sequence(list, ",", out, json),
        Value::Object(map) => return mapping(map, [",", ":"], out, json),
    }
    Ok(())
}

/// A YAML value that YAML 1.1 and 1.2 read identically: strings always in double quotes, so that `no` and `012` stay
/// strings, lists and maps in flow style, and exponents with a decimal point and a sign.
pub(super) fn yaml(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    match value {
        Value::Number(number) => out.push_str(&number::in_yaml(number)),
        Value::Array(list) => return sequence(list, ", ", out, yaml),
        Value::Object(map) => return mapping(map, [", ", ": "], out, yaml),
        Value::Null | Value::Bool(_) | Value::String(_) => return json(value, out),
    }
    Ok(())
}

/// One POSIX shell word, always in single quotes: an unquoted `2` before `>` is a file descriptor, and an unquoted `if`
/// is a keyword.
pub(super) fn shell(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    if text.contains('\0') {
        return Err(Refusal::of_content("contains a NUL, which no program can be given"));
    }
    out.push('\'');
    for (n, part) in text.split('\'').enumerate() {
        if n > 0 {
            out.push_str(r"'\''");
        }
        out.push_str(part);
    }
    out.push('\'');
    Ok(())
}

/// A string, number or boolean without any quoting.
pub(super) fn scalar(value: &Value) -> Result<Zeroizing<String>, Refusal> {
    match value {
        Value::String(text) => Ok(Zeroizing::new(text.clone())),
        Value::Number(number) => Ok(Zeroizing::new(number.to_string())),
        Value::Bool(truth) => Ok(Zeroizing::new(truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Refusal::of_type(value, "a string, a number or a boolean")),
    }
}

fn display(value: &dyn std::fmt::Display, out: &mut Buffer) {
    // Writing to a buffer in memory cannot fail.
    let _ = write!(out, "{value}");
}

/// A string in double quotes in a form that JSON, YAML and TOML all accept.
///
/// In addition to what JSON requires, it escapes characters that YAML does not allow or treats as line breaks, and
/// characters that TOML forbids: DEL, the C1 controls, U+2028, U+2029, the byte order mark and noncharacters.
fn double_quoted(text: &str, out: &mut Buffer) {
    out.push('"');
    let mut unwritten = 0;
    for (at, character) in text.char_indices() {
        let escape: Cow<'_, str> = match character {
            '"' => r#"\""#.into(),
            '\\' => r"\\".into(),
            '\n' => r"\n".into(),
            '\r' => r"\r".into(),
            '\t' => r"\t".into(),
            '\0'..'\u{20}'
            | '\u{7f}'..'\u{a0}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fffe}'
            | '\u{ffff}' => format!(r"\u{:04x}", u32::from(character)).into(),
            _ => continue,
        };
        out.push_str(&text[unwritten..at]);
        out.push_str(&escape);
        unwritten = at + character.len_utf8();
    }
    out.push_str(&text[unwritten..]);
    out.push('"');
}

type WriteValue = fn(&Value, &mut Buffer) -> Result<(), Refusal>;

fn sequence(list: &[Value], comma: &str, out: &mut Buffer, write: WriteValue) -> Result<(), Refusal> {
    out.push('[');
    for (n, item) in list.iter().enumerate() {
        out.push_str(if n == 0 { "" } else { comma });
        write(item, out)?;
    }
    out.push(']');
    Ok(())
}

fn mapping(map: &Map<String, Value>, [comma, colon]: [&str; 2], out: &mut Buffer, write: WriteValue) -> Result<(), Refusal> {
    out.push('{');
    for (n, (key, value)) in map.iter().enumerate() {
        out.push_str(if n == 0 { "" } else { comma });
        double_quoted(key, out);
        out.push_str(colon);
        write(value, out)?;
    }
    out.push('}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Quote = fn(&Value, &mut Buffer) -> Result<(), Refusal>;

    fn quoted(quote: Quote, value: &Value) -> Option<String> {
        let mut out = Buffer::new();
        quote(value, &mut out).ok()?;
        Some(out.into_secret().expose().to_owned())
    }

    #[test]
    fn quotes_for_each_format() {
        let plain = "it's $5";
        for (quote, value, expected) in [
            (toml as Quote, json!(plain), r#""it's $5""#),
            (toml, json!({"a": [1, true], "b c": {}, "": 1.5}), r#"{ a = [1, true], "b c" = {}, "" = 1.5 }"#),
            (json, json!({"a": [1, null], "b": "x\n"}), r#"{"a":[1,null],"b":"x\n"}"#),
            (yaml, json!({"a": [1, null], "b": "no"}), r#"{"a": [1, null], "b": "no"}"#),
            (yaml, json!(1e16), "1.0e+16"),
            (yaml, json!(1.5e-9), "1.5e-9"),
            (yaml, json!("\u{7f}\u{85}\u{feff}"), r#""\u007f\u0085\ufeff""#),
            (shell, json!(plain), r"'it'\''s $5'"),
            (shell, json!(""), "''"),
            (shell, json!(2), "'2'"),
            (shell, json!("-n\n`id`"), "'-n\n`id`'"),
        ] {
            assert_eq!(quoted(quote, &value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn refuses_what_a_format_cannot_hold() {
        for (quote, value) in [
            (toml as Quote, json!(null)),
            (toml, json!({"a": [null]})),
            (toml, json!(u64::MAX)),
            (shell, json!("a\0b")),
            (shell, json!(null)),
            (shell, json!(["a"])),
        ] {
            assert_eq!(quoted(quote, &value), None, "{value}");
        }
    }
}
