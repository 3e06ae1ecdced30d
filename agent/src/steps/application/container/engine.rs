//! podman or docker.

use serde::{Deserialize, Serialize};

/// The name of an image query in errors.
pub(super) const INSPECT: &str = "inspect";

/// A program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Podman,
    Docker,
}

impl Engine {
    pub(super) const BOTH: [Self; 2] = [Self::Podman, Self::Docker];

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
        }
    }
}
