//! Durations and shares: `90s`, `25%`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use ingot::desk::{Objection, TimeLimit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use crate::deployment::terms;

/// A duration in whole seconds: `90s`, `20m`, `1h30m` or `4d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Length(pub(crate) u64);

impl Length {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    pub(crate) const fn minutes(minutes: u64) -> Self {
        Self(minutes * 60)
    }

    pub(crate) const fn hours(hours: u64) -> Self {
        Self(hours * 60 * 60)
    }

    /// Rounds `time` up to whole minutes.
    pub(crate) fn minutes_of(time: Duration) -> u64 {
        time.as_secs().div_ceil(60)
    }
}

/// Written in customary units: `90s`, `20m`, `1h30m`, `4d`.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m"), (1, "s")];
        // Below two minutes, seconds are as customary as minutes.
        if self.0 < 120 && self.0 != 60 {
            return write!(f, "{}s", self.0);
        }
        let mut left = self.0;
        for (seconds, unit) in units {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let TimeLimit(time) = TimeLimit::deserialize(deserializer)?;
        match time.subsec_nanos() {
            0 => Ok(Self(time.as_secs())),
            _ => Err(D::Error::custom(Objection::new("this duration is not a whole number of seconds", "write whole seconds, such as 2s"))),
        }
    }
}

impl JsonSchema for Length {
    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?[a-z]" })
    }
}

/// A share of instances, written `25%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn percent(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?.trim_end();
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?.filter(|percent| *percent <= 100)
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
                let wrong = || E::custom(Objection::new(format!("`{text}` is not a percentage"), "write 0% to 100%, without quotes"));
                percent(text).map(Percent).ok_or_else(wrong)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Percent, E> {
                Err(E::custom(Objection::new(format!("{number} has no unit"), format!("write {number}%"))))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(100|[0-9]{1,2}) *%$" })
    }
}

/// How many instances are replaced at a time: a number, or a share of those that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batch {
    Instances(u32),
    Share(Percent),
}

impl Batch {
    /// Returns the number of instances out of `capacity`: a share is rounded down to at least one.
    pub(crate) fn of(self, capacity: u32) -> u32 {
        self.sized().of(capacity)
    }

    /// Converts it to the form that deployments record.
    pub(crate) fn sized(self) -> terms::Batch {
        match self {
            Self::Instances(count) => terms::Batch::Instances(count),
            Self::Share(Percent(percent)) => terms::Batch::Percent(percent),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances(count) => write!(f, "{count}"),
            Self::Share(percent) => write!(f, "{percent}"),
        }
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Instances(count) => serializer.serialize_u32(*count),
            Self::Share(percent) => percent.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        fn wrong<E: Error>(written: &dyn fmt::Display) -> E {
            E::custom(Objection::new(format!("a batch of {written} replaces nothing"), "write 1 or more instances, or 1% to 100%"))
        }

        impl Visitor<'_> for Reader {
            type Value = Batch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 1 to 1000, or a percentage")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Batch, E> {
                match u32::try_from(number) {
                    Ok(count @ 1..=1000) => Ok(Batch::Instances(count)),
                    _ if number > 1000 => Err(E::custom(Objection::new(
                        format!("a batch of {number} is too large"),
                        "write 1 to 1000 instances, or a percentage",
                    ))),
                    _ => Err(wrong(&number)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Batch, E> {
                match percent(text) {
                    Some(0) => Err(wrong(&text)),
                    Some(share) => Ok(Batch::Share(Percent(share))),
                    None => {
                        let hint = "write a number of instances or a percentage, such as 2 or 25%, without quotes";
                        Err(E::custom(Objection::new(format!("`{text}` is neither a number of instances nor a percentage"), hint)))
                    }
                }
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Batch {
    fn schema_name() -> Cow<'static, str> {
        "Batch".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": 1000 },
            { "type": "string", "pattern": "^(100|[1-9][0-9]?) *%$" }
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_customary_units() {
        let shown: Vec<String> = [30, 60, 90, 120, 5400, 345_600].map(|seconds| Length(seconds).to_string()).into();
        assert_eq!(shown, ["30s", "1m", "90s", "2m", "1h30m", "4d"]);
    }

    #[test]
    fn a_share_is_at_least_one_instance() {
        assert_eq!([1, 2, 3, 4, 7, 8].map(|capacity| Batch::Share(Percent(25)).of(capacity)), [1, 1, 1, 1, 1, 2]);
        assert_eq!(Batch::Share(Percent(100)).of(7), 7);
        assert_eq!(Batch::Instances(3).of(2), 3);
    }
}
