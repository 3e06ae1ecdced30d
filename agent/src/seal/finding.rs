//! What is wrong with an image, and what is allowed and why.
//!
//! ```yaml
//! # /etc/ingot/seal.yaml, in the image
//! allow:
//!   - path: /home/ops/.ssh/authorized_keys     # * and ? within a name, ** for directories
//!     rule: authorized-keys
//!     reason: break-glass key of the operations team, rotated every year
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One reason not to seal an image. Never contains the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    /// The absolute path in the image, without `--root`.
    pub(crate) path: PathBuf,
    /// Counted from 1. `None` for a whole file, a directory, or something that does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    /// The name of the rule, such as `private-key`, by which the finding can be allowed.
    pub(crate) rule: String,
    /// What it is, as a lower-case fragment.
    pub(crate) says: String,
    /// One imperative sentence that can be done now.
    pub(crate) hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}: {}", self.rule, self.says)
    }
}

/// What may stay in the image, and why: `/etc/ingot/seal.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowList {
    #[serde(default)]
    pub(crate) allow: Vec<Allowed>,
}

/// A finding that is intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowed {
    /// An absolute path; `*` and `?` match within one name, `**` matches any directories.
    pub(crate) path: String,
    /// The exact name of the rule.
    pub(crate) rule: String,
    /// Why it does no harm. Becomes part of the attestation.
    pub(crate) reason: String,
}

impl Allowed {
    /// Whether this allows `finding`.
    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && self.matches(&finding.path)
    }

    fn matches(&self, path: &Path) -> bool {
        let exactly = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        glob::Pattern::new(&self.path).is_ok_and(|pattern| pattern.matches_path_with(path, exactly))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str) -> Finding {
        Finding { path: path.into(), line: Some(3), rule: "private-key".into(), says: "a private key".into(), hint: "remove it".into() }
    }

    fn allowed(path: &str, rule: &str) -> Allowed {
        Allowed { path: path.into(), rule: rule.into(), reason: "a key for tests".into() }
    }

    #[test]
    fn is_printed_as_a_place_a_rule_and_what_it_is() {
        assert_eq!(finding("/etc/x").to_string(), "/etc/x:3: private-key: a private key");
    }

    #[test]
    fn allows_one_path_or_a_pattern_for_one_rule() {
        let found = finding("/opt/app/tests/server.key");
        assert!(allowed("/opt/app/tests/server.key", "private-key").covers(&found));
        assert!(allowed("/opt/**/*.key", "private-key").covers(&found));
        assert!(!allowed("/opt/*.key", "private-key").covers(&found), "a star stays within a directory");
        assert!(!allowed("/opt/app/tests/server.key", "aws-access-token").covers(&found));
    }
}
