//! The wording of errors about unsuitable values: in terms of the document, with values quoted as they were written.

use super::forms;
use crate::document::tree::Value;
use crate::number;

/// What a field accepts. serde only passes its Rust name, or the text that one of our types writes in `expecting`.
enum Wanted<'a> {
    /// A whole number; completes "write …".
    Whole(&'a str),
    Text,
    Mode,
    Length,
    Truth,
    List,
    Map,
    Other(&'a str),
}

impl<'a> Wanted<'a> {
    fn of(expected: &'a str) -> Self {
        match expected {
            "u8" => Self::Whole("a whole number from 0 to 255"),
            "u16" => Self::Whole("a whole number from 0 to 65535"),
            "u32" => Self::Whole("a whole number from 0 to 4294967295"),
            "u64" | "u128" | "usize" => Self::Whole("a whole number, 0 or more"),
            "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => Self::Whole("a whole number"),
            _ if expected.starts_with("a whole number") => Self::Whole(expected),
            "a file mode" => Self::Mode,
            "a duration" => Self::Length,
            "a boolean" => Self::Truth,
            "a sequence" => Self::List,
            _ if expected.starts_with("struct ") => Self::Map,
            "a map" => Self::Map,
            _ if expected.contains("string") => Self::Text,
            _ => Self::Other(expected),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Whole(_) => "a whole number",
            Self::Text => "a string",
            Self::Mode => "a file mode in quotes",
            Self::Length => "a duration",
            Self::Truth => "true or false",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Other(expected) => expected,
        }
    }
}

/// The message and the hint for `found`, where a Rust type expects something else.
pub(super) fn refusal(found: &Value, expected: &str) -> (String, String) {
    let wanted = Wanted::of(expected);
    let what = match (found, &wanted) {
        (Value::Number(text), Wanted::Whole(_)) if number::whole(text).is_some() || !text.contains(['.', 'e', 'E']) => {
            return (format!("{text} is out of range"), hint(found, &wanted));
        }
        (Value::Number(text), Wanted::Whole(_)) => text,
        _ => found.describe(),
    };
    (format!("expected {}, found {what}", wanted.name()), hint(found, &wanted))
}

fn hint(found: &Value, wanted: &Wanted<'_>) -> String {
    match (wanted, found) {
        (Wanted::Text, Value::Bool(_, written)) => format!("put it in quotes: \"{written}\""),
        (Wanted::Text, Value::Number(written)) => format!("put it in quotes: \"{written}\""),
        (Wanted::Text | Wanted::Mode | Wanted::Length, Value::Null) => "give it a value; `~` and `null` are strings only in quotes".into(),
        (Wanted::Text, Value::Map(entries)) if entries.iter().any(|(key, _)| matches!(&*key.name, "username" | "user" | "password")) => {
            "store them as one secret, a JSON object, and write its address: secrets.NAME".into()
        }
        (Wanted::Mode, Value::Number(written)) => match octal(written) {
            Some(mode) => format!("put it in quotes: \"{mode}\""),
            None => "write it in octal and in quotes, as in \"0640\"".into(),
        },
        (Wanted::Mode, _) => "write it in octal and in quotes, as in \"0640\"".into(),
        (Wanted::Length, Value::Number(written)) if number::whole(written).is_some_and(|whole| whole > 0) => {
            format!("add its unit: {written}s, {written}m or {written}h")
        }
        (Wanted::Length, _) => "write a number and its unit, as in 90s, 20m or 1h30m".into(),
        (Wanted::Whole(_), Value::String(written)) if number::is_number(&without_marks(written)) => {
            format!("write {}, without quotes", without_marks(written))
        }
        (Wanted::Whole(_), Value::String(written)) if without_unit(written).is_some() => {
            format!("write {}: the unit is in the name of the field", without_unit(written).unwrap_or_default())
        }
        (Wanted::Whole(range), _) => format!("write {range}"),
        (Wanted::Truth, Value::String(written)) => match written.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => "write true, without quotes".into(),
            "false" | "no" | "off" | "n" => "write false, without quotes".into(),
            _ => "write true or false".into(),
        },
        (Wanted::Truth, _) => "write true or false".into(),
        (Wanted::List, Value::String(line)) => format!("write a list: {}", forms::list(line)),
        (Wanted::List, _) => "write a list: [ … ]".into(),
        (Wanted::Map, _) => "write `{ key: value, … }`".into(),
        _ => format!("write {}", wanted.name()),
    }
}

/// The mode that a number was meant as: `0o644` and 644 mean `0644`, whatever their decimal value.
fn octal(written: &str) -> Option<String> {
    let digits = written.strip_prefix("0o").unwrap_or(written);
    let is_octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    is_octal.then(|| format!("{digits:0>4}"))
}

/// The number of GiB or MiB/s, if the text is a number with this unit.
fn without_unit(written: &str) -> Option<&str> {
    let number = written.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = written[number.len()..].trim().to_ascii_lowercase();
    let is_known = matches!(&*unit, "g" | "gb" | "gib" | "gi" | "mib/s" | "mb/s");
    (is_known && number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty()).then_some(number)
}

/// Removes the separators that people put between the digits of a number.
fn without_marks(written: &str) -> String {
    written.replace(['_', ','], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;

    fn said(written: &str, expected: &str) -> String {
        let (message, hint) = refusal(&parse(&"x".into(), written).0.unwrap().value, expected);
        format!("{message}; {hint}")
    }

    #[test]
    fn quotes_a_scalar_as_it_was_written() {
        for written in ["1.10", "1E5", "0x10", "12345678901234567890123", "+1", "-0", ".5", "True"] {
            let hint = said(written, "a string").split_once("; ").unwrap().1.to_owned();
            assert_eq!(hint, format!("put it in quotes: \"{written}\""));
        }
    }

    #[test]
    fn speaks_of_numbers_as_people_do() {
        insta::assert_snapshot!(
            [
                said("-1", "u64"),
                said("-1", "a whole number, 1 or more"),
                said("70000", "u16"),
                said("1e2", "a whole number from 1 to 50"),
                said("1.5", "u32"),
                said("99999999999999999999999", "i64"),
                said("1e99", "u32"),
                said("'100'", "u32"),
                said("1_000", "u64"),
                said("many", "u8"),
                said("100GiB", "u32"),
                said("4TiB", "u32"),
                said("yes", "a boolean"),
                said("0", "a boolean"),
            ]
            .join("\n"),
            @"
        -1 is out of range; write a whole number, 0 or more
        -1 is out of range; write a whole number, 1 or more
        70000 is out of range; write a whole number from 0 to 65535
        1e2 is out of range; write a whole number from 1 to 50
        expected a whole number, found 1.5; write a whole number from 0 to 4294967295
        99999999999999999999999 is out of range; write a whole number
        expected a whole number, found 1e99; write a whole number from 0 to 4294967295
        expected a whole number, found a string; write 100, without quotes
        expected a whole number, found a string; write 1000, without quotes
        expected a whole number, found a string; write a whole number from 0 to 255
        expected a whole number, found a string; write 100: the unit is in the name of the field
        expected a whole number, found a string; write a whole number from 0 to 4294967295
        expected true or false, found a string; write true, without quotes
        expected true or false, found a number; write true or false
        "
        );
    }

    /// Regression: the hint for `mode: 0o644` was "420", and for `timeout: 90` it was "90".
    #[test]
    fn a_hint_can_be_followed() {
        for (written, expected) in [("0o644", "\"0644\""), ("644", "\"0644\""), ("0o4755", "\"4755\""), ("7", "\"0007\"")] {
            assert_eq!(
                said(written, "a file mode"),
                format!("expected a file mode in quotes, found a number; put it in quotes: {expected}")
            );
        }
        for written in ["0x1a4", "999", "6.44", "0o77777"] {
            assert!(said(written, "a file mode").ends_with("as in \"0640\""), "{written}");
        }
        assert_eq!(said("90", "a duration"), "expected a duration, found a number; add its unit: 90s, 90m or 90h");
    }
}
