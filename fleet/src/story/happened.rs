//! What happened, as it is told by whoever saw it.

use jiff::Timestamp;
use serde::Serialize;

/// One event of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    /// Its name in the template; that of the stack for events of the stack itself.
    pub(crate) resource: String,
    /// ResourceStatus, such as `UPDATE_FAILED`.
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// ClientRequestToken of the operation that it belongs to.
    #[serde(skip)]
    pub(crate) token: Option<String>,
}

/// What an instance left in the evidence bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) instance: String,
    pub(crate) at: Timestamp,
    /// The first failure: address, message, causes.
    pub(crate) reason: Option<String>,
    /// Where it is, for who wants all of it.
    pub(crate) url: String,
}
