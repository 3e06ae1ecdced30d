//! What is known of a stack offline.

use std::time::Duration;

use crate::fleet::{Environment, Releases};

/// Stand-ins for where a stack is.
pub(super) const REGION: &str = "eu-central-1";
pub(super) const ACCOUNT: &str = "123456789012";

/// What is known of a stack without asking AWS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) application: &'a str,
    pub(crate) releases: &'a Releases,
    pub(crate) environment: &'a Environment,
    /// SHA-256 of the boot document.
    pub(crate) document: &'a str,
    /// The longest boot of the document, where that is known.
    pub(crate) longest: Option<Duration>,
    /// How long the messages of its workers may take when an instance leaves, where that is known.
    pub(crate) drain: Option<Duration>,
}

impl Known<'_> {
    pub(super) fn stack(&self) -> String {
        format!("{}-{}", self.application, self.environment.name)
    }
}
