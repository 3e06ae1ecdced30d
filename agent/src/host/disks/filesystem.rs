//! The filesystems that ingot makes, checks and grows.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of the supported filesystems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filesystem {
    Xfs,
    Ext4,
    Btrfs,
    Swap,
}

impl Filesystem {
    /// The name that mount(8) and blkid(8) use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Swap => "swap",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Xfs, Self::Ext4, Self::Btrfs, Self::Swap].into_iter().find(|filesystem| filesystem.name() == name)
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFilesystem {
    pub(crate) kind: Filesystem,
    pub(crate) label: Option<String>,
    pub(crate) uuid: Option<String>,
}
