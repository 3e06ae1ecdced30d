//! The target of an application's proxy.

use super::proxy::Snippets;
use super::slot::Slot;

/// What the proxy passes requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facing {
    /// The slot of the release, now or in the future.
    pub(super) slot: Slot,
    /// The port on which this machine reaches the application.
    pub(super) port: u16,
    /// As in [`Behind`](super::proxy::Behind).
    pub(super) php: Option<String>,
    /// The configuration that the release adds.
    pub(super) snippets: Snippets,
}
