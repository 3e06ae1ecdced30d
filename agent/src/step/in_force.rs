//! The release that this instance goes back to: what of a bundle is spared while another one is tried.

/// A release that is in force, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) name: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl InForce {
    /// Whether what has this digest is part of it.
    pub(crate) fn has(&self, sha256: &str) -> bool {
        self.sha256.as_deref() == Some(sha256)
    }

    /// Whether what came from `source` may be part of it, by its name: `v1` may be in that of `shop-v1-rc1`.
    pub(crate) fn may_have(&self, source: &str) -> bool {
        let is_word = |text: &str| text.chars().next().is_some_and(char::is_alphanumeric);
        let is_named = |name: &String| {
            let ends_before = |at: usize| !source[..at].chars().next_back().is_some_and(char::is_alphanumeric);
            source.match_indices(name.as_str()).any(|(at, _)| ends_before(at) && !is_word(&source[at + name.len()..]))
        };
        self.name.as_ref().is_some_and(is_named)
    }
}
