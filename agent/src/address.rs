//! Names for steps and their outputs: `files./etc/shop.toml` is an [`Address`], `secrets.db.password` a [`Reference`].

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Objection;

/// A step's name: its kind, a dot, its key. The key may itself hold dots and slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(transparent)]
pub(crate) struct Address(#[schemars(regex(pattern = r"^[a-z]+\..+"))] String);

impl Address {
    pub(crate) fn new(kind: &str, key: &str) -> Self {
        Self([kind, ".", key].concat())
    }

    /// The section of the document that contains the step, such as `files`.
    pub(crate) fn kind(&self) -> &str {
        self.dot().map_or(&*self.0, |dot| &self.0[..dot])
    }

    /// The key in that section, such as `/etc/shop.toml`.
    pub(crate) fn key(&self) -> &str {
        self.dot().map_or("", |dot| &self.0[dot + 1..])
    }

    /// The end of the kind. Searches bytes, because the kind is short and searching characters
    /// takes five times as long.
    fn dot(&self) -> Option<usize> {
        self.0.bytes().position(|byte| byte == b'.')
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = Objection;

    fn from_str(text: &str) -> Result<Self, Objection> {
        match text.split_once('.') {
            Some((kind, key)) if !kind.is_empty() && !key.is_empty() => Ok(Self(text.to_owned())),
            _ => Err(Objection::new(format!("`{text}` is not an address"), "write the kind, a dot and the key, as in files./etc/motd")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The outputs of a database that are secrets.
pub(crate) const CREDENTIALS: [&str; 3] = ["username", "password", "dbname"];

/// A path segment that stands for all keys of a map or all indices of a list.
pub(crate) const EACH: &str = "*";

/// Whether there is a secret at the path `segments` or below it. A whole database, or a field of it that is only known
/// during the boot, may be a credential.
pub(crate) fn is_secret(segments: &[String]) -> bool {
    match segments {
        [root, ..] if root == "secrets" => true,
        [root, rest @ ..] if root == "databases" => rest.get(1).is_none_or(|field| field == EACH || CREDENTIALS.contains(&field.as_str())),
        _ => false,
    }
}

/// One use of a fact or of an output of another step.
///
/// `secrets.db.password` has the segments `secrets`, `db`, `password`. A key that holds dots or slashes is
/// one segment, written `files.[/etc/motd].path` in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    pub(crate) segments: Vec<String>,
    pub(crate) usage: Usage,
    /// The path as the author wrote it, to find its place in the document again.
    pub(crate) written: String,
}

/// How a referenced value is used, which decides what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Usage {
    /// Printed as it is: must be a string, a number or a boolean.
    Printed,
    /// Passed to a helper or a block: must exist.
    Given,
    /// Tested by `has` or `default`, or used where such a test has succeeded: may be missing.
    Tested,
}

impl Reference {
    /// The first segment: `values`, `instance`, or the kind of a step.
    pub(crate) fn root(&self) -> &str {
        self.segments.first().map_or("", String::as_str)
    }

    /// Whether it refers to a secret: any part of one, or the credentials of a database.
    pub(crate) fn is_secret(&self) -> bool {
        is_secret(&self.segments)
    }

    /// The address of the step it refers to: the first two segments are its kind and key. `None` for values and facts.
    pub(crate) fn address(&self) -> Option<Address> {
        match self.segments.as_slice() {
            [root, ..] if matches!(root.as_str(), "values" | "instance") => None,
            [kind, key, ..] => Some(Address::new(kind, key)),
            _ => None,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_dot_only() {
        let address: Address = "files./etc/conf.d/a.conf".parse().unwrap();
        assert_eq!((address.kind(), address.key()), ("files", "/etc/conf.d/a.conf"));
    }

    #[test]
    fn credentials_of_databases_are_secrets_and_their_addresses_are_not() {
        let is_secret = |path: &str| is_secret(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        for path in ["secrets", "secrets.db", "databases", "databases.main", "databases.main.*", "databases.*.*", "databases.main.username"]
        {
            assert!(is_secret(path), "{path}");
        }
        for path in ["databases.main.endpoint", "databases.*.port", "values.secrets", "volumes.d.device"] {
            assert!(!is_secret(path), "{path}");
        }
    }

    #[test]
    fn refuses_a_kind_alone() {
        assert!("files".parse::<Address>().is_err());
        assert!("files.".parse::<Address>().is_err());
    }
}
