//! The release to which this instance returns: what of a bundle is kept while another one is tried.

/// A release that is in force, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) name: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl InForce {
    /// Whether an archive with this digest is part of the release.
    pub(crate) fn has(&self, sha256: &str) -> bool {
        self.sha256.as_deref() == Some(sha256)
    }

    /// Whether an archive from `source` may be part of the release, by its name: `v1` may also match `shop-v1-rc1`.
    pub(crate) fn may_have(&self, source: &str) -> bool {
        let is_word = |text: &str| text.chars().next().is_some_and(char::is_alphanumeric);
        let is_named = |name: &String| {
            let ends_before = |at: usize| !source[..at].chars().next_back().is_some_and(char::is_alphanumeric);
            source.match_indices(name.as_str()).any(|(at, _)| ends_before(at) && !is_word(&source[at + name.len()..]))
        };
        self.name.as_ref().is_some_and(is_named)
    }
}
