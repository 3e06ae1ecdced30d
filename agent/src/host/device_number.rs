//! The number by which the kernel identifies a block device.

use std::fmt;

use super::calls;

/// A block device's number, which does not change while the device is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceNumber {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl DeviceNumber {
    /// From a field of stat(2) (`st_rdev`, `st_dev`).
    pub(in crate::host) fn of(device: u64) -> Self {
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        let (major, minor) = calls::numbers(device);
        Self { major: number(major), minor: number(minor) }
    }

    /// Parses the kernel's notation: `259:1`.
    pub(in crate::host) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}
