//! Types of fields that several kinds of step share: [`TimeLimit`], [`Mode`], [`OrMap`], [`Excerpt`].

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Unexpected, Visitor};

use crate::failure::Objection;

/// A duration, written `90s`, `20m`, `1h 30m`, `4d` or `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeLimit(pub Duration);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest duration: a year is as good as forever, and clocks overflow with far longer ones.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl TryFrom<String> for TimeLimit {
    type Error = Objection;

    fn try_from(text: String) -> Result<Self, Objection> {
        text.parse()
    }
}

/// A duration that was waited, as a person would say it: `1s` and not `999.7ms`.
pub(crate) fn rounded(waited: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(100);
    if waited < 5 * STEP { waited } else { STEP * ((waited + STEP / 2).as_millis() / STEP.as_millis()) as u32 }
}

impl std::str::FromStr for TimeLimit {
    type Err = Objection;

    fn from_str(text: &str) -> Result<Self, Objection> {
        let refuse = |why: &str, hint: &str| Objection::new(format!("`{text}` is {why}"), hint);
        let unreadable = || refuse("not a duration", "write a number and its unit, as in 90s, 20m or 1h30m");
        let too_short = || refuse("too short", "write a duration of more than 0, as in 1s, or leave it out");
        let too_long = || refuse("too long", "write a duration of at most 365d");
        // jiff does not parse days, which are not all equally long on the wall clock.
        let (days, rest) = match text.split_once('d') {
            Some((days, rest)) if !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit()) => {
                (Some(days.parse().map_err(|_| too_long())?), rest.trim())
            }
            _ => (None, text),
        };
        let rest = match (days, rest) {
            (Some(_), "") => Duration::ZERO,
            _ => match rest.parse::<jiff::SignedDuration>() {
                Ok(parsed) if parsed.is_negative() => return Err(too_short()),
                Ok(parsed) => parsed.unsigned_abs(),
                Err(_) => return Err(unreadable()),
            },
        };
        match rest.saturating_add(DAY.saturating_mul(days.unwrap_or_default())) {
            Duration::ZERO => Err(too_short()),
            duration if duration > LONGEST => Err(too_long()),
            duration => Ok(Self(duration)),
        }
    }
}

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Spelled("a duration", PhantomData))
    }
}

impl JsonSchema for TimeLimit {
    fn schema_name() -> Cow<'static, str> {
        "TimeLimit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration: a number and its unit, as in 90s, 20m or 1h30m.",
            "pattern": r"^[0-9]+(\.[0-9]+)? ?[a-z]"
        })
    }
}

/// Permission bits in octal, as chmod(1) takes them: `"0640"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

impl TryFrom<String> for Mode {
    type Error = Objection;

    fn try_from(text: String) -> Result<Self, Objection> {
        let octal = matches!(text.len(), 3..=5) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if octal && bits <= 0o7777 => Ok(Self(bits)),
            _ => Err(Objection::new(format!("`{text}` is not a file mode"), "write it in octal and in quotes, as in \"0640\"")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Spelled("a file mode", PhantomData))
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Permission bits in octal, in quotes.",
            "pattern": "^0?[0-7]{3,4}$"
        })
    }
}

/// The mistake of a map that gives none, or several, of the fields of which it needs one.
pub(crate) fn one_of(of: &str, given: bool, examples: &str, fields: &str) -> Objection {
    match given {
        true => Objection::new(format!("{of} has one source"), format!("keep one of {fields}")),
        false => Objection::new(format!("{of} needs a source"), format!("add {examples}")),
    }
}

/// Parses a string as a `T`. The name of the type is in the error for a number, so that the
/// message says how to write it.
struct Spelled<T>(&'static str, PhantomData<T>);

impl<T: TryFrom<String, Error = Objection>> Visitor<'_> for Spelled<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::try_from(text.to_owned()).map_err(E::custom)
    }
}

/// Parses a whole number from `LOW` to `HIGH`, or of any size from `LOW` on if `HIGH` is [`u32::MAX`].
pub(crate) fn within<'de, D: serde::Deserializer<'de>, const LOW: u32, const HIGH: u32>(deserializer: D) -> Result<Option<u32>, D::Error> {
    struct Whole<const LOW: u32, const HIGH: u32>;

    impl<const LOW: u32, const HIGH: u32> Visitor<'_> for Whole<LOW, HIGH> {
        type Value = Option<u32>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match HIGH {
                u32::MAX => write!(f, "a whole number, {LOW} or more"),
                _ => write!(f, "a whole number from {LOW} to {HIGH}"),
            }
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Option<u32>, E> {
            Ok(None)
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Option<u32>, E> {
            let within = u32::try_from(number).ok().filter(|number| (LOW..=HIGH).contains(number));
            within.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Option<u32>, E> {
            self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
        }
    }

    deserializer.deserialize_any(Whole::<LOW, HIGH>)
}

/// Either a short form, such as a string or a list, or a map with all fields.
#[derive(Debug, Clone)]
pub(crate) enum OrMap<P, M> {
    Plain(P),
    Map(M),
}

impl<'de, P: Deserialize<'de>, M: Deserialize<'de>> Deserialize<'de> for OrMap<P, M> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<P, M>(PhantomData<(P, M)>);

        impl<'de, P: Deserialize<'de>, M: Deserialize<'de>> serde::de::Visitor<'de> for Either<P, M> {
            type Value = OrMap<P, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the short form or a map")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                P::deserialize(StrDeserializer::new(text)).map(OrMap::Plain)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                P::deserialize(SeqAccessDeserializer::new(items)).map(OrMap::Plain)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                M::deserialize(MapAccessDeserializer::new(entries)).map(OrMap::Map)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<P: JsonSchema, M: JsonSchema> JsonSchema for OrMap<P, M> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", P::schema_name(), M::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [generator.subschema_for::<P>(), generator.subschema_for::<M>()] })
    }
}

/// The last lines of a program's or unit's output, as the cause of an error. Already without secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Excerpt {
    lines: std::collections::VecDeque<String>,
}

/// How many lines of output an error shows.
const EXCERPT_LINES: usize = 10;

impl Excerpt {
    pub(crate) fn push(&mut self, line: String) {
        if self.lines.len() == EXCERPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl FromIterator<String> for Excerpt {
    fn from_iter<I: IntoIterator<Item = String>>(lines: I) -> Self {
        let mut excerpt = Self::default();
        lines.into_iter().for_each(|line| excerpt.push(line));
        excerpt
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return f.write_str("it printed nothing");
        }
        f.write_str("last lines of its output:")?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

impl std::error::Error for Excerpt {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lengths_of_time() {
        for (text, seconds) in
            [("90s", 90.0), ("20m", 1200.0), ("1h30m", 5400.0), ("1h 30m", 5400.0), ("500ms", 0.5), ("4d", 345_600.0), ("1d 2h", 93_600.0)]
        {
            assert_eq!(text.parse::<TimeLimit>().unwrap().0.as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "90", "-5s", "0s", "soon", "9223372036854775807s", "0d", "d", "366d", "99999999999d", "1day"] {
            assert!(text.parse::<TimeLimit>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_a_duration_but_not_allowed_is_not_called_something_else() {
        for (text, said) in [
            ("0s", "too short"),
            ("0d", "too short"),
            ("0m 0s", "too short"),
            ("-5s", "too short"),
            ("366d", "too long"),
            ("99999999999d", "too long"),
            ("9223372036854775807s", "too long"),
            ("90", "not a duration"),
            ("d", "not a duration"),
            ("soon", "not a duration"),
        ] {
            assert_eq!(text.parse::<TimeLimit>().unwrap_err().message, format!("`{text}` is {said}"));
        }
    }

    #[test]
    fn says_times_as_people_do() {
        for (millis, said) in [(999, "1s"), (1_049, "1s"), (61_280, "61.3s"), (7, "7ms")] {
            assert_eq!(format!("{:?}", rounded(Duration::from_millis(millis))), said);
        }
    }

    #[test]
    fn reads_modes_as_octal_only() {
        assert_eq!(Mode::try_from("0640".to_owned()).unwrap().0, 0o640);
        assert_eq!(Mode::try_from("4755".to_owned()).unwrap().0, 0o4755);
        for text in ["", "64", "0888", "rw-r-----", "+640", "77777"] {
            assert!(Mode::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_excerpt_keeps_the_end() {
        let excerpt: Excerpt = (0..30).map(|n| n.to_string()).collect();
        assert!(excerpt.to_string().starts_with("last lines of its output:\n  | 20\n"));
    }
}
