//! What the proxy of an application leads to.

use super::proxy::Snippets;
use super::slot::Slot;

/// What the proxy leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facing {
    /// Where the release is, or is to be.
    pub(super) slot: Slot,
    /// Where this machine reaches the application.
    pub(super) port: u16,
    /// As in [`Behind`](super::proxy::Behind).
    pub(super) php: Option<String>,
    /// What the release adds.
    pub(super) snippets: Snippets,
}
