//! What is known about a stack offline.

use std::time::Duration;

use crate::fleet::{Environment, Releases};

/// Stand-ins for the region and the account of a stack.
pub(super) const REGION: &str = "eu-central-1";
pub(super) const ACCOUNT: &str = "123456789012";

/// What is known about a stack without asking AWS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) application: &'a str,
    pub(crate) releases: &'a Releases,
    pub(crate) environment: &'a Environment,
    /// SHA-256 of the boot document.
    pub(crate) document: &'a str,
    /// The longest time that a boot of the document may take, if it is known.
    pub(crate) longest: Option<Duration>,
    /// How long the workers may take to finish their messages when an instance leaves, if it is known.
    pub(crate) drain: Option<Duration>,
}

impl Known<'_> {
    pub(super) fn stack(&self) -> String {
        format!("{}-{}", self.application, self.environment.name)
    }
}
