//! What a release may be named: valid as a key, a tag, a stack parameter, and for `ingot boot --release`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// The longest name, in characters: that of a directory on the instance, with room for digits after it.
const LONGEST: usize = 100;

/// How many digits of a digest tell two dirty trees apart.
const DIGITS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

impl Name {
    /// The name of a revision, as `git describe` prints it. Tags may contain slashes, which names may not.
    ///
    /// A tree with changes is not a revision: digits of its digest tell it from the next one.
    pub(crate) fn of_revision(described: &str, is_dirty: bool, sha256: Sha256) -> Self {
        let end = if is_dirty { format!("-dirty-{}", &sha256.to_string()[..DIGITS]) } else { String::new() };
        let plain = described.chars().map(|c| if is_plain(c) { c } else { '-' });
        let plain: String = plain.skip_while(|c| !c.is_ascii_alphanumeric()).take(LONGEST - end.len()).collect();
        Self(format!("{}{end}", if plain.is_empty() { "release" } else { &plain }))
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._+-".contains(c)
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= LONGEST && text.chars().all(is_plain);
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => {
                Err(format!("expected a name of up to {LONGEST} characters of A-Z a-z 0-9 . _ + -, beginning with a letter or a digit"))
            }
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The template's `AllowedPattern` and the agent's `--release` accept the same.
    #[test]
    fn takes_what_instances_and_stacks_take() {
        for name in ["v42", "1.0.0+build.7", "v1.2-3-gdeadbee", "A_b", &"x".repeat(100)] {
            assert!(name.parse::<Name>().is_ok(), "{name}");
        }
        for name in ["", ".x", "-x", "_x", "a/b", "a@b", "a b", "ä", "a~b", "a=b", &"x".repeat(101)] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }

    #[test]
    fn revisions_become_names() {
        let name = |described: &str, is_dirty| Name::of_revision(described, is_dirty, Sha256::of(b"")).to_string();
        assert_eq!(name("v1.2-3-gdeadbee", false), "v1.2-3-gdeadbee");
        assert_eq!(name("release/2026.11", false), "release-2026.11");
        assert_eq!(name("v1", true), "v1-dirty-e3b0c442");
        assert_eq!(name("@/ü", false), "release");
        for (described, is_dirty) in [("x".repeat(200), true), ("/".to_owned() + &"y".repeat(200), false)] {
            assert_eq!(name(&described, is_dirty).parse::<Name>().map(|name| name.0.len()), Ok(LONGEST));
        }
    }
}
