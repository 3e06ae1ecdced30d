//! The release that is requested, as the command line names it and as its layer holds it.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256;
use crate::document::source::Layers;
use crate::document::tree::{self, Node, Value};
use crate::failure::Objection;
use crate::step::InForce;

/// The word for the release with which the instance was launched.
const LAUNCHED: &str = "launched";

/// The separator between the name of a release and its digest.
const BETWEEN: &str = "@sha256:";

/// The longest name, in bytes: a directory is named after it, with room for a number at its end.
const LONGEST: usize = 100;

/// A requested release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one in user data.
    Launched,
    Release {
        name: String,
        sha256: Sha256,
    },
}

impl Wanted {
    /// An empty layer.
    pub(super) const NO_LAYER: &str = "#ingot\nversion: 1\n";

    /// The layer that names the release; `None` if user data names it.
    pub(crate) fn layer(&self) -> Option<String> {
        match self {
            Self::Launched => None,
            Self::Release { name, sha256 } => {
                Some(format!("{}values:\n  release: \"{name}\"\n  release_sha256: \"{sha256}\"\n", Self::NO_LAYER))
            }
        }
    }

    /// The release as the one in force. `layers` are those of the launch.
    pub(super) fn in_force(&self, layers: &Layers) -> InForce {
        let launched = |name: &str| {
            let found = layers.nodes.iter().rev().find_map(|layer| layer.get("values")?.get(name));
            match found.map(|node| &node.value) {
                Some(Value::String(text) | Value::Number(text)) if !text.is_empty() && !text.contains("{{") => Some(text.clone()),
                _ => None,
            }
        };
        match self {
            Self::Launched => InForce { name: launched("release"), sha256: launched("release_sha256") },
            Self::Release { name, sha256 } => InForce { name: Some(name.clone()), sha256: Some(sha256.to_string()) },
        }
    }

    /// Parses a layer that [`layer`](Self::layer) has written. `None` for any other text.
    pub(crate) fn of_layer(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (node, mistakes) = tree::parse(&"".into(), text);
        let node = node.filter(|_| mistakes.is_empty())?;
        let string = |name: &str| match node.get("values").and_then(|values| values.get(name)) {
            Some(Node { value: Value::String(text), .. }) => Some(text.as_str()),
            _ => None,
        };
        let wanted = match (string("release"), string("release_sha256")) {
            (Some(name), Some(sha256)) => format!("{name}{BETWEEN}{sha256}").parse().ok()?,
            _ => Self::Launched,
        };
        (wanted.layer().as_deref().unwrap_or(Self::NO_LAYER) == text).then_some(wanted)
    }

    /// The hint to request this release once more.
    pub(super) fn again(&self) -> String {
        format!("run `ingot boot --release {self}` again")
    }
}

impl FromStr for Wanted {
    type Err = Objection;

    fn from_str(text: &str) -> Result<Self, Objection> {
        if text == LAUNCHED {
            return Ok(Self::Launched);
        }
        let hint = "write NAME@sha256:DIGEST, or `launched` for the release that the instance was launched with";
        let Some((name, digits)) = text.split_once(BETWEEN) else {
            return Err(Objection::new(format!("`{text}` does not name a release with its digest"), hint));
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_plain) || name.len() > LONGEST {
            let hint = format!("write letters, digits and . _ + ~ -, at most {LONGEST}, the first a letter or a digit");
            return Err(Objection::new(format!("`{name}` is not a valid name of a release"), hint));
        }
        let is_hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match Sha256::parse(digits).filter(|_| is_hex) {
            Some(sha256) => Ok(Self::Release { name: name.to_owned(), sha256 }),
            None => Err(Objection::new(format!("`{digits}` is not a SHA-256 digest"), "write the 64 digits that `sha256sum FILE` prints")),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launched => f.write_str(LAUNCHED),
            Self::Release { name, sha256 } => write!(f, "{name}{BETWEEN}{sha256}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_name_and_a_digest() {
        let digest = Sha256::of(b"a").to_string();
        for name in ["v1", "1.2.3", "v1.2-4-g0a1b2c3+x~y_z"] {
            let text = format!("{name}@sha256:{digest}");
            let wanted: Wanted = text.parse().unwrap();
            assert_eq!(wanted.to_string(), text);
            assert_eq!(Wanted::of_layer(wanted.layer().unwrap().as_bytes()), Some(wanted));
        }
        let upper = format!("v1@sha256:{}", digest.to_uppercase());
        assert_eq!(upper.parse::<Wanted>().unwrap().to_string(), format!("v1@sha256:{digest}"));
        assert_eq!("launched".parse(), Ok(Wanted::Launched));
        let long = "a".repeat(101);
        for name in ["", ".v1", "-v1", "v/1", "v 1", "v\"1", "v\n1", "v@1", "{{x}}", &long] {
            assert!(format!("{name}@sha256:{digest}").parse::<Wanted>().is_err(), "{name}");
        }
        for text in ["v1", "v1@sha256:", "v1@sha256:12", &format!("v1@sha256:{digest}0"), "Launched", ""] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_layer_of_ours_is_one() {
        assert_eq!(Wanted::of_layer(Wanted::NO_LAYER.as_bytes()), Some(Wanted::Launched));
        for text in ["", "version: 1\n", "#ingot\nversion: 1\nvalues: { release: v1 }\n", "#ingot\nversion: 1\nvalues:\n  rel", "\u{0}"] {
            assert_eq!(Wanted::of_layer(text.as_bytes()), None, "{text}");
        }
    }
}
