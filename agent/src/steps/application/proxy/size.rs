//! A number of bytes in nginx's notation: `10m`.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::Objection;

/// A number of bytes, written `512k`, `10m` or `2g`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size {
    bytes: u64,
}

impl Size {
    pub(super) const fn mebibytes(count: u64) -> Self {
        Self { bytes: count << 20 }
    }
}

impl TryFrom<String> for Size {
    type Error = Objection;

    fn try_from(text: String) -> Result<Self, Objection> {
        let refuse = || Objection::new(format!("`{text}` is not a size"), "write a number and its unit, as in 512k, 10m or 2g");
        let (digits, shift) = match text.strip_suffix(|unit: char| unit.is_ascii_alphabetic()).zip(text.chars().next_back()) {
            Some((digits, 'k' | 'K')) => (digits, 10),
            Some((digits, 'm' | 'M')) => (digits, 20),
            Some((digits, 'g' | 'G')) => (digits, 30),
            Some(_) => return Err(refuse()),
            None => (text.as_str(), 0),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        // nginx stores it in an off_t, and 0 would mean no limit.
        match bytes.filter(|bytes| (1..=i64::MAX as u64).contains(bytes)) {
            Some(bytes) => Ok(Self { bytes }),
            None => Err(refuse()),
        }
    }
}

/// Prints bytes, which every nginx directive accepts.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A number of bytes and its unit, as in 512k, 10m or 2g.",
            "pattern": "^[0-9]*[1-9][0-9]*[kKmMgG]?$"
        })
    }
}
