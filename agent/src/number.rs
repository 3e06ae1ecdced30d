//! Numbers as they were written.
//!
//! A version, an account ID or an amount of money only looks like a number: to its author, `1.10` is
//! not `1.1`. So numbers in documents and JSON texts are kept as text, in a [`serde_json::Number`], and
//! only written differently if a format lacks that notation.
//!
//! Numbers are those of JSON and of the core schema of YAML 1.2 (`0x1f`, `0o17`, `+1`, `.5`, `1.`), except that those
//! with a leading zero are strings: `0640` is a file mode.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::sorting::Sort as _;

/// A number, stored as the text in which it was written.
pub(crate) fn written(text: &str) -> Number {
    // The only way to store notations that JSON lacks, such as `0x1f`; the functions below
    // convert them for each format.
    Number::from_string_unchecked(text.to_owned())
}

/// Whether an unquoted scalar of YAML is a number.
pub(crate) fn is_number(plain: &str) -> bool {
    Parts::of(plain).is_some()
}

/// The integer that equals a number, if there is one within the range: 100 for `1e2`.
pub(crate) fn whole(text: &str) -> Option<i128> {
    let Decimal { is_negative, digits, exponent } = Parts::of(text)?.decimal()?;
    let zeros = usize::try_from(exponent).ok().filter(|zeros| digits.len() + zeros <= 38)?;
    let magnitude: i128 = format!("0{digits}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if is_negative { -magnitude } else { magnitude })
}

/// The nearest floating-point number; infinite if the number is too large.
pub(crate) fn float(text: &str) -> f64 {
    match Parts::of(text) {
        Some(Parts { notation: Notation::Radix { value, .. }, .. }) => value as f64,
        _ => text.parse().unwrap_or(f64::NAN),
    }
}

pub(crate) fn is_zero(number: &Number) -> bool {
    Parts::of(number.as_str()).and_then(|parts| parts.decimal()).is_some_and(|decimal| decimal.digits.is_empty())
}

/// Whether two numbers are equal to the last digit, regardless of notation.
pub(crate) fn equal(a: &Number, b: &Number) -> bool {
    let decimal = |number: &Number| Parts::of(number.as_str())?.decimal();
    a == b || matches!((decimal(a), decimal(b)), (Some(a), Some(b)) if a == b)
}

/// A number for JSON: as it was written, if JSON has that notation.
pub(crate) fn in_json(number: &Number) -> Cow<'_, str> {
    let text = number.as_str();
    match Parts::of(text) {
        Some(parts) if !parts.is_json(text) => parts.in_json().into(),
        _ => text.into(),
    }
}

/// A number for TOML. `None` for integers beyond 64 bits and floats without a finite value, which TOML lacks.
///
/// Source: <https://toml.io/en/v1.0.0>
pub(crate) fn in_toml(number: &Number) -> Option<Cow<'_, str>> {
    let text = number.as_str();
    let Some(parts) = Parts::of(text) else { return Some(text.into()) };
    let is_integer = !matches!(parts.notation, Notation::Decimal { fraction, exponent, .. } if fraction.is_some() || exponent.is_some());
    match is_integer {
        true => whole(text).is_some_and(|whole| i64::try_from(whole).is_ok()).then(|| text.into()),
        false => float(text).is_finite().then(|| in_json(number)),
    }
}

/// A number that YAML 1.1 and 1.2 read alike: 1.1 takes `0o17` and `1e16` for strings, because
/// its floats need a point and its exponents a sign.
pub(crate) fn in_yaml(number: &Number) -> Cow<'_, str> {
    let text = number.as_str();
    match Parts::of(text) {
        Some(Parts { notation: Notation::Radix { radix: 16, .. }, .. }) => text.into(),
        Some(Parts { notation: Notation::Decimal { exponent: Some(exponent), .. }, .. }) => {
            let json = in_json(number);
            let (mantissa, (e, power)) = (&json[..json.len() - exponent.len()], exponent.split_at(1));
            let point = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if power.starts_with(['-', '+']) { "" } else { "+" };
            format!("{mantissa}{point}{e}{sign}{power}").into()
        }
        _ => in_json(number),
    }
}

/// Every text that may stand for a number in a file: as it was written, and as ingot and other programs write it.
pub(crate) fn spellings(number: &Number) -> Vec<String> {
    let text = number.as_str();
    let whole = whole(text).map(|whole| whole.to_string());
    let float = Some(float(text)).filter(|float| float.is_finite()).map(|float| float.to_string());
    let mut all = vec![text.to_owned(), in_json(number).into_owned(), in_yaml(number).into_owned()];
    all.extend(whole.into_iter().chain(float));
    all.order();
    all.dedup();
    all
}

/// Parses JSON, and keeps its numbers as they are written.
///
/// # Errors
///
/// As [`serde_json::from_str`].
pub(crate) fn from_json(text: &str) -> serde_json::Result<Value> {
    let value: Value = serde_json::from_str(text)?;
    // serde_json keeps the digits, but writes every exponent as `e+5`. Its parse has also checked the depth of nesting.
    if has_exponent(&value) { serde_json::from_str(text).and_then(exactly) } else { Ok(value) }
}

fn has_exponent(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_str().contains('e'),
        Value::Array(items) => items.iter().any(has_exponent),
        Value::Object(fields) => fields.values().any(has_exponent),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn exactly(raw: &RawValue) -> serde_json::Result<Value> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(text)?;
            fields.into_iter().map(|(name, raw)| Ok((name, exactly(raw)?))).collect::<serde_json::Result<Map<_, _>>>().map(Value::Object)
        }
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)?.into_iter().map(exactly).collect(),
        Some(b'-' | b'0'..=b'9') => Ok(Value::Number(written(text))),
        _ => serde_json::from_str(text),
    }
}

/// The fields of a JSON object, in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = entries.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The parts of a number.
#[derive(Clone, Copy)]
struct Parts<'a> {
    is_negative: bool,
    notation: Notation<'a>,
}

#[derive(Clone, Copy)]
enum Notation<'a> {
    /// `0x1f` or `0o17`, which have no sign.
    Radix { radix: u32, value: u128 },
    /// The digits before and after the point, one of which may be empty, and the exponent with its letter.
    Decimal { integer: &'a str, fraction: Option<&'a str>, exponent: Option<&'a str> },
}

/// A number without its notation: digits without zeros at either end, times a power of ten. Zero has no digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return None;
        }
        let is_negative = text.starts_with('-');
        if let Some((radix, digits)) = [(16, "0x"), (8, "0o")].into_iter().find_map(|(radix, mark)| Some((radix, text.strip_prefix(mark)?)))
        {
            let digits = Some(digits).filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))?;
            let value = u128::from_str_radix(digits, radix).ok()?;
            return Some(Self { is_negative, notation: Notation::Radix { radix, value } });
        }
        let (integer, rest) = digits(unsigned);
        let (fraction, rest) = match rest.strip_prefix('.').map(digits) {
            Some((fraction, rest)) => (Some(fraction), rest),
            None => (None, rest),
        };
        let exponent = Some(rest).filter(|rest| !rest.is_empty());
        let has_digits = !integer.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
        let leading_zero = integer.len() > 1 && integer.starts_with('0');
        (has_digits && !leading_zero && exponent.is_none_or(is_exponent))
            .then_some(Self { is_negative, notation: Notation::Decimal { integer, fraction, exponent } })
    }

    /// `None` for an exponent of more than eighteen digits.
    fn decimal(self) -> Option<Decimal> {
        let (all, exponent) = match self.notation {
            Notation::Radix { value, .. } => (value.to_string(), 0),
            Notation::Decimal { integer, fraction, exponent } => {
                let fraction = fraction.unwrap_or_default();
                let power = exponent.map_or(Some(0), |exponent| exponent[1..].parse::<i64>().ok())?;
                (format!("{integer}{fraction}"), power.checked_sub(i64::try_from(fraction.len()).ok()?)?)
            }
        };
        let head = all.trim_start_matches('0');
        let digits = head.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Decimal { is_negative: false, digits: String::new(), exponent: 0 });
        }
        let exponent = exponent.checked_add(i64::try_from(head.len() - digits.len()).ok()?)?;
        Some(Decimal { is_negative: self.is_negative, digits: digits.to_owned(), exponent })
    }

    fn is_json(self, text: &str) -> bool {
        match self.notation {
            Notation::Radix { .. } => false,
            Notation::Decimal { integer, fraction, .. } => !text.starts_with('+') && !integer.is_empty() && fraction != Some(""),
        }
    }

    fn in_json(self) -> String {
        let (integer, fraction, exponent) = match self.notation {
            Notation::Radix { value, .. } => return value.to_string(),
            Notation::Decimal { integer, fraction, exponent } => (integer, fraction, exponent),
        };
        let or_zero = |digits: &'a str| if digits.is_empty() { "0" } else { digits };
        let sign = if self.is_negative { "-" } else { "" };
        let (point, fraction) = fraction.map_or(("", ""), |fraction| (".", or_zero(fraction)));
        format!("{sign}{}{point}{fraction}{}", or_zero(integer), exponent.unwrap_or_default())
    }
}

/// The digits at the beginning of `text`, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn is_exponent(text: &str) -> bool {
    let power = text.strip_prefix(['e', 'E']).map(|power| power.strip_prefix(['-', '+']).unwrap_or(power));
    power.is_some_and(|power| !power.is_empty() && power.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_the_core_schema_calls_one() {
        for text in
            ["0", "-0", "+1", "5432", "12345678901234567890123", "1.10", ".5", "-.5", "1.", "1e3", "1E5", "1.e-2", "0x1F", "0o17", "1e400"]
        {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "e5",
            ".e5",
            "1e",
            "1e+",
            "007",
            "-0640",
            "00.5",
            "1_000",
            "1,5",
            "0x",
            "0xg",
            "-0x1",
            "0x+5",
            "0o8",
            "0b1",
            "1.2.3",
            "12:30",
            "2024-01-01",
            ".inf",
            ".nan",
            "Infinity",
            "1 ",
            "yes",
            "0xfffffffffffffffffffffffffffffffffff",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn each_format_gets_the_digits_that_were_written_where_it_can() {
        for (text, json, toml, yaml) in [
            ("5432", "5432", Some("5432"), "5432"),
            ("-0", "-0", Some("-0"), "-0"),
            ("1.10", "1.10", Some("1.10"), "1.10"),
            ("1E5", "1E5", Some("1E5"), "1.0E+5"),
            ("1.5e-9", "1.5e-9", Some("1.5e-9"), "1.5e-9"),
            ("12345678901234567890123", "12345678901234567890123", None, "12345678901234567890123"),
            ("-9223372036854775808", "-9223372036854775808", Some("-9223372036854775808"), "-9223372036854775808"),
            ("9223372036854775808", "9223372036854775808", None, "9223372036854775808"),
            ("0x1F", "31", Some("0x1F"), "0x1F"),
            ("0o17", "15", Some("0o17"), "15"),
            ("0xffffffffffffffff", "18446744073709551615", None, "0xffffffffffffffff"),
            ("+1", "1", Some("+1"), "1"),
            (".5", "0.5", Some("0.5"), "0.5"),
            ("-1.", "-1.0", Some("-1.0"), "-1.0"),
            ("1.e2", "1.0e2", Some("1.0e2"), "1.0e+2"),
            ("1e400", "1e400", None, "1.0e+400"),
        ] {
            let number = written(text);
            assert_eq!((&*in_json(&number), in_toml(&number).as_deref(), &*in_yaml(&number)), (json, toml, yaml), "{text}");
        }
    }

    #[test]
    fn equality_is_exact_and_blind_to_notation() {
        for (a, b) in [("1", "1.0"), ("1.20", "1.2"), ("0x10", "16"), ("1e3", "1000"), ("-0", "0"), (".5", "0.5"), ("1e400", "10E399")] {
            assert!(equal(&written(a), &written(b)), "{a} {b}");
        }
        for (a, b) in
            [("1", "-1"), ("1.2", "1.20001"), ("12345678901234567890123", "12345678901234567890124"), ("1e99999999999999999999", "1")]
        {
            assert!(!equal(&written(a), &written(b)), "{a} {b}");
        }
    }

    #[test]
    fn knows_integers_in_every_notation() {
        for (text, expected) in [
            ("1e2", Some(100)),
            ("1.0", Some(1)),
            ("0x10", Some(16)),
            ("-5", Some(-5)),
            ("0.0", Some(0)),
            ("1.5", None),
            ("1e39", None),
            ("1e-1", None),
            ("170141183460469231731687303715884105727", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
    }

    #[test]
    fn json_keeps_its_numbers_as_they_are_written() {
        let text = r#"{"z":[1E5,-0,1.10,12345678901234567890123],"a":{"\u0062":1e+05,"a":2},"s":"1E5","n":null,"a ":1e-7}"#;
        let value = from_json(text).unwrap();
        assert_eq!(
            value["z"].as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["1E5", "-0", "1.10", "12345678901234567890123"]
        );
        assert_eq!((value["a"]["b"].to_string().as_str(), &value["s"]), ("1e+05", &Value::from("1E5")));
        assert_eq!(value.as_object().unwrap().keys().collect::<Vec<_>>(), ["z", "a", "s", "n", "a "]);
        assert!(from_json("{} x").is_err() && from_json(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn names_every_spelling_of_a_number() {
        assert_eq!(spellings(&written("1E5")), ["1.0E+5", "100000", "1E5"]);
        assert_eq!(spellings(&written("1.10")), ["1.1", "1.10"]);
        assert_eq!(spellings(&written("5432")), ["5432"]);
    }
}
