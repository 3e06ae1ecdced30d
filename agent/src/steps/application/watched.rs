//! The recorded settings of an application's watch.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an application is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// How long it may be down, in seconds.
    pub(super) after_s: u64,
    /// The path that has to answer. `None` if a connection is enough.
    pub(super) http: Option<String>,
}

impl Watched {
    pub(super) fn after(&self) -> Duration {
        Duration::from_secs(self.after_s)
    }
}
