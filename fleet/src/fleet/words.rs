//! Values of single fields of fleet.yaml: strings of a certain form, such as the ID of a VPC, and numbers within
//! bounds.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use ingot::desk::Objection;
use regex_lite::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// The form of a string.
pub(crate) trait Form: fmt::Debug + Clone {
    /// Regular expression that must match the whole string.
    const PATTERN: &'static str;
    /// What the string is, with its article.
    const WHAT: &'static str;
    /// Hint on what to write.
    const HINT: &'static str;
}

/// A string of a certain form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<F>(String, PhantomData<F>);

impl<F> Word<F> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<F> Serialize for Word<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<F: Form> Word<F> {
    pub(crate) fn parse(text: &str) -> Result<Self, Objection> {
        match has_form(text, F::PATTERN) {
            true => Ok(Self(text.to_owned(), PhantomData)),
            false => Err(Objection::new(format!("`{text}` is not {}", F::WHAT), F::HINT)),
        }
    }
}

impl<'de, F: Form> Deserialize<'de> for Word<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<F>(PhantomData<F>);

        impl<F: Form> Visitor<'_> for Reader<F> {
            type Value = Word<F>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<F>, E> {
                Word::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Reader(PhantomData))
    }
}

impl<F: Form> JsonSchema for Word<F> {
    fn schema_name() -> Cow<'static, str> {
        F::WHAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": format!("^({})$", F::PATTERN) })
    }
}

/// Returns whether a regular expression matches all of `text`.
pub(crate) fn has_form(text: &str, pattern: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|form| form.is_match(text))
}

macro_rules! forms {
    ($($form:ident = $pattern:literal, $what:literal, $hint:literal;)*) => {
        $(
            #[doc = concat!("The form of ", $what, ".")]
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub(crate) struct $form;

            impl Form for $form {
                const PATTERN: &'static str = $pattern;
                const WHAT: &'static str = $what;
                const HINT: &'static str = $hint;
            }
        )*
    };
}

forms! {
    Vpc = "vpc-[0-9a-f]{4,17}", "the ID of a VPC", "write an ID such as vpc-0a1b2c3d";
    Subnet = "subnet-[0-9a-f]{4,17}", "the ID of a subnet", "write an ID such as subnet-0a1b2c3d";
    SecurityGroup = "sg-[0-9a-f]{4,17}", "the ID of a security group", "write an ID such as sg-0a1b2c3d";
    Cidr = "(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(\\.(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}/(3[0-2]|[12]?[0-9])",
        "an IPv4 range", "write a range such as 10.0.0.0/8";
    Certificate = "arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]+", "the ARN of an ACM certificate",
        "write the ARN that `aws acm list-certificates` prints";
    Key = "arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", "the ARN of a KMS key",
        "write the ARN that `aws kms describe-key --key-id KEY` prints";
    Image = "ami-[0-9a-f]{8,17}|ssm:/[A-Za-z0-9/_.-]+", "an image",
        "write the ID of an AMI, or ssm:/NAME for the SSM parameter that holds one";
    InstanceType = "[a-z][a-z0-9-]*\\.[a-z0-9-]+", "an instance type", "write a type such as m7g.large";
    DatabaseClass = "db\\.[a-z0-9-]+\\.[a-z0-9-]+", "a database instance class", "write a class such as db.m7g.large";
    CacheNode = "cache\\.[a-z0-9-]+\\.[a-z0-9-]+", "a cache node type", "write a type such as cache.t4g.small";
    Snapshot = "[A-Za-z][A-Za-z0-9:-]*|arn:[a-z-]+:rds:[a-z0-9-]+:[0-9]{12}:snapshot:[A-Za-z0-9:-]+", "a database snapshot",
        "write the name or the ARN of a snapshot";
    DatabaseName = "[a-z][a-z0-9_]{0,62}", "the name of a database", "write 1 to 63 lower-case letters, digits and _, starting with a letter";
    DatabaseUser = "[a-z][a-z0-9_]{0,15}", "the name of a database user", "write 1 to 16 lower-case letters, digits and _, starting with a letter";
    Email = "[^@ ]+@[^@ ]+", "an e-mail address", "write an address such as ops@example.com";
    Link = "[A-Za-z0-9:/._~-]+", "a URL or a path", "write letters, digits and : / . _ ~ -";
    HealthPath = "/[A-Za-z0-9._~/?&=%-]{0,1023}", "a path of a health check", "write a path such as /health";
    Device = "/dev/[a-z0-9]+", "a device name", "write a name such as /dev/xvda";
    Alarm = "[^\\x00-\\x1f]{1,255}", "the name of an alarm", "write a name of 1 to 255 characters";
    Edge = "[a-z]([a-z0-9-]{0,21}[a-z0-9])?", "the name of an edge", "write lower-case letters, digits and hyphens, starting with a letter";
    QueueUrl = "https://[A-Za-z0-9.:-]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\\.fifo)?", "the URL of a queue",
        "write the URL that `aws sqs get-queue-url --queue-name NAME` prints";
}

/// A whole number from `LOW` to `HIGH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Whole<const LOW: u32, const HIGH: u32>(pub(crate) u32);

impl<'de, const LOW: u32, const HIGH: u32> Deserialize<'de> for Whole<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<const LOW: u32, const HIGH: u32>;

        impl<const LOW: u32, const HIGH: u32> Visitor<'_> for Reader<LOW, HIGH> {
            type Value = Whole<LOW, HIGH>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {LOW} to {HIGH}")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                match u32::try_from(number) {
                    Ok(whole) if (LOW..=HIGH).contains(&whole) => Ok(Whole(whole)),
                    _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }
        }

        deserializer.deserialize_u32(Reader)
    }
}

impl<const LOW: u32, const HIGH: u32> JsonSchema for Whole<LOW, HIGH> {
    fn schema_name() -> Cow<'static, str> {
        format!("from {LOW} to {HIGH}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LOW, "maximum": HIGH })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_must_match_the_whole_text() {
        assert!(Word::<Vpc>::parse("vpc-0a1b2c3d").is_ok());
        for text in ["vpc-0a1b2c3d ", "my vpc-0a1b2c3d", "vpc-", ""] {
            assert!(Word::<Vpc>::parse(text).is_err(), "{text}");
        }
        assert!(Word::<Cidr>::parse("10.0.0.0/8").is_ok() && Word::<Cidr>::parse("10.0.0.256/8").is_err());
    }
}
