//! What a finished step offers to the steps that refer to it.

use std::fmt;
use std::path::Path;

use serde_json::json;

/// What a finished step offers.
#[derive(Clone, Default)]
pub(crate) struct Outputs {
    /// The value that references see: an object, or a single value.
    pub(crate) value: serde_json::Value,
    /// Changes whenever the result of this step on the machine changes; services compare it to know when to restart.
    pub(crate) stamp: Option<String>,
}

impl Outputs {
    /// The outputs of a step whose result is at a path.
    pub(crate) fn at(path: &Path) -> Self {
        Self { value: json!({ "path": path }), stamp: None }
    }
}

/// Omits the value, which may be a secret.
impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}
