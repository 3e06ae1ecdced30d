//! Helpers that turn one string into another: `concat`, `replace`, `trim`, `split`, `base64`, `unbase64`.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use serde_json::Value;
use zeroize::Zeroizing;

use super::quote::scalar;
use super::refusal::Refusal;
use super::scope::{Buffer, Wiped};

/// Reads base64 with or without padding.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The maximum number of parts of a split text: each takes memory, however short it is.
const PARTS_LIMIT: usize = 1_000_000;

pub(super) fn concat(parts: &[&Value]) -> Result<Wiped, Refusal> {
    let mut out = Buffer::new();
    for (n, part) in parts.iter().enumerate() {
        let part = scalar(part).map_err(|refusal| refusal.at(n))?;
        Refusal::beyond_limit(out.len().saturating_add(part.len()))?;
        out.push_str(&part);
    }
    Ok(out.into_value())
}

/// Replaces every `from` in a text with `to`.
pub(super) fn replace(value: &Value, from: &Value, to: &Value) -> Result<Wiped, Refusal> {
    let text = scalar(value)?;
    let from = not_empty(from)?;
    let to = scalar(to).map_err(|refusal| refusal.at(2))?;
    let count = text.matches(from).count();
    Refusal::beyond_limit((text.len() - count * from.len()).saturating_add(count.saturating_mul(to.len())))?;
    let mut out = Buffer::new();
    for (n, part) in text.split(from).enumerate() {
        if n > 0 {
            out.push_str(&to);
        }
        out.push_str(part);
    }
    Ok(out.into_value())
}

/// Removes white space at both ends, including line breaks.
pub(super) fn trim(value: &Value) -> Result<Wiped, Refusal> {
    Ok(scalar(value)?.trim().into())
}

/// The parts of a text between separators. A text without a separator is the only part.
pub(super) fn split(value: &Value, separator: &Value) -> Result<Wiped, Refusal> {
    let text = scalar(value)?;
    let separator = not_empty(separator)?;
    if text.matches(separator).count() >= PARTS_LIMIT {
        return Err(Refusal::of_content("has more than 1,000,000 parts"));
    }
    let parts: Vec<Value> = text.split(separator).map(Value::from).collect();
    Ok(Value::from(parts).into())
}

/// The second argument, which must be a non-empty string.
fn not_empty(text: &Value) -> Result<&str, Refusal> {
    match text {
        Value::String(text) if text.is_empty() => Err(Refusal::of_content("is empty, so it would match everywhere").at(1)),
        Value::String(text) => Ok(text),
        _ => Err(Refusal::of_type(text, "a string to look for").at(1)),
    }
}

pub(super) fn base64(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    let encoded = text.len().div_ceil(3) * 4;
    out.append(encoded, |out| STANDARD.encode_string(text.as_bytes(), out));
    Ok(())
}

/// The text that is encoded in a base64 value. White space, as in wrapped lines, is ignored.
///
/// # Errors
///
/// A value that is not base64, or encodes bytes that are not UTF-8 text.
pub(super) fn unbase64(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    let mut packed = Zeroizing::new(String::with_capacity(text.len()));
    packed.extend(text.chars().filter(|character| !character.is_ascii_whitespace()));
    let decoded = LENIENT.decode(packed.as_bytes()).map(Zeroizing::new);
    let decoded = decoded.map_err(|_| {
        Refusal::of_content("is not base64").hint("remove `unbase64`, or give a value in base64; in a dry run, give it in --facts")
    })?;
    let plain = std::str::from_utf8(&decoded).map_err(|_| {
        Refusal::of_content("is base64 of bytes that are not UTF-8 text").hint("write the bytes to a file with `encoding: base64`")
    })?;
    out.push_str(plain);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(made: Result<Wiped, Refusal>) -> Result<Value, Refusal> {
        made.map(|made| made.value().clone())
    }

    fn decoded(text: &str) -> Option<String> {
        let mut out = Buffer::new();
        unbase64(&json!(text), &mut out).ok()?;
        Some(out.into_secret().expose().to_owned())
    }

    #[test]
    fn concatenates_strings_numbers_and_booleans() {
        assert_eq!(plain(concat(&[&json!("a:"), &json!(1), &json!(true)])), Ok(json!("a:1true")));
        assert_eq!(plain(concat(&[&json!("a"), &json!([])])).unwrap_err().argument, 1);
    }

    #[test]
    fn replaces_each_time() {
        assert_eq!(plain(replace(&json!("a.b.c"), &json!("."), &json!("--"))), Ok(json!("a--b--c")));
        assert_eq!(plain(replace(&json!("aaa"), &json!("aa"), &json!(""))), Ok(json!("a")));
        assert_eq!(plain(replace(&json!("1.5"), &json!("."), &json!(0))), Ok(json!("105")));
        assert_eq!(plain(replace(&json!("a"), &json!(""), &json!("b"))).unwrap_err().argument, 1);
        assert_eq!(plain(replace(&json!("a"), &json!("a"), &json!(null))).unwrap_err().argument, 2);
        assert!(replace(&json!([]), &json!("a"), &json!("b")).is_err());
    }

    /// Regression: one `replace` inside another turned a few kilobytes into terabytes, and the process aborted.
    #[test]
    fn what_would_become_too_large_is_refused_before_it_is_made() {
        let large = json!(format!("{}{}", "a".repeat(5_000), "b".repeat(60_000)));
        let refused = Err(Refusal::of_content("becomes larger than 16 MiB").hint("use a shorter text"));
        assert_eq!(plain(replace(&large, &json!("a"), &large)), refused);
        assert_eq!(plain(concat(&[&large; 300])), refused);
        assert!(replace(&large, &json!("a"), &json!("cc")).is_ok());
        // As long as the original.
        let long = json!("a".repeat(9 << 20));
        assert!(replace(&long, &json!("a"), &json!("b")).is_ok());
        assert!(split(&json!("a".repeat(1_000_000)), &json!("a")).is_err());
    }

    #[test]
    fn trims_both_ends_only() {
        assert_eq!(plain(trim(&json!(" \ta b\r\n\n"))), Ok(json!("a b")));
        assert_eq!(plain(trim(&json!(5))), Ok(json!("5")));
        assert!(trim(&json!({})).is_err());
    }

    #[test]
    fn splits_at_every_separator() {
        assert_eq!(plain(split(&json!("a,b,,c"), &json!(","))), Ok(json!(["a", "b", "", "c"])));
        assert_eq!(plain(split(&json!("a"), &json!(", "))), Ok(json!(["a"])));
        assert_eq!(plain(split(&json!(""), &json!(","))), Ok(json!([""])));
        assert_eq!(plain(split(&json!("a"), &json!(""))).unwrap_err().argument, 1);
        assert_eq!(plain(split(&json!("a"), &json!(1))).unwrap_err().argument, 1);
    }

    #[test]
    fn decodes_base64_as_programs_write_it() {
        for (encoded, text) in [("YTpi", "a:b"), ("w7w=", "ü"), ("w7w", "ü"), ("YT\npi\n", "a:b"), ("", "")] {
            assert_eq!(decoded(encoded).as_deref(), Some(text), "{encoded:?}");
        }
        for encoded in ["a:b", "YTpi=", "/w==", "<secrets.key>"] {
            assert_eq!(decoded(encoded), None, "{encoded:?}");
        }
    }

    #[test]
    fn base64_and_back_is_the_same() {
        for text in ["", "a", "a:b", "ü🦀\n", &"x".repeat(300)] {
            let mut out = Buffer::new();
            base64(&json!(text), &mut out).unwrap();
            assert_eq!(decoded(out.into_secret().expose()).as_deref(), Some(text));
        }
    }
}
