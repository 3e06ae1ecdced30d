//! Block devices: which ones exist, where they come from, and what they contain.
//!
//! A disk is identified by what it is (the id of its EBS volume, its position among the instance stores), never by the
//! kernel's name: names change from boot to boot, and links in /dev/disk/by-id can be stale. A disk to be written to or
//! mounted is passed as a [`Device`], whose identity is checked again just before it is used.

// Disks are found in /sys and by netlink(7), and held by their numbers, which only Linux has.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/disks.rs")]
pub(super) mod attached;
mod content;
mod disk;
mod filesystem;
mod find;
#[cfg(target_os = "linux")]
mod identity;
mod mounted_xfs;
mod nvme;
mod signature;
mod sysfs;
#[cfg(target_os = "linux")]
mod tools;
#[cfg(target_os = "linux")]
mod watch;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(test)]
pub(crate) use self::disk::Partition;
pub(crate) use self::disk::{Device, Disk, Origin, Wanted};
pub(crate) use self::filesystem::{Filesystem, NewFilesystem};
pub(crate) use self::find::find;
#[cfg(target_os = "linux")]
pub(super) use self::identity::{hold, owner, replaced};
pub(crate) use self::signature::{Content, Signature, State};
pub(super) use self::sysfs::number_of;
#[cfg(target_os = "linux")]
pub(super) use self::tools::run_tool;
pub(crate) use super::device_number::DeviceNumber;
use super::error::HostError;

/// The disks of this machine.
#[async_trait(?Send)]
pub(crate) trait Disks {
    /// Every whole disk, sorted by kernel name; no partitions, loop devices without a file, RAM disks or optical
    /// drives.
    async fn all(&self) -> Result<Vec<Disk>, HostError>;

    /// Finds the disk that `wanted` selects. `None` if it is not attached (yet).
    async fn find(&self, wanted: &Wanted) -> Result<Option<Disk>, HostError>;

    /// The disk that a device node currently refers to and, if it is a partition, its number. `None` if the node does
    /// not exist or is not a block device.
    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError>;

    /// Starts to listen for disks and partitions that are added or removed. No event after this call is missed.
    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError>;

    /// What a disk or partition contains. Reads a few megabytes at its beginning and its end.
    async fn content(&self, node: &Path) -> Result<Content, HostError>;

    /// Makes a filesystem with the mkfs program of its kind. Checks first that `device` is still the same disk.
    /// Existing content is overwritten: the caller has to have checked it.
    async fn make_filesystem(&self, device: &Device, new: &NewFilesystem, timeout: Duration) -> Result<(), HostError>;

    /// Repairs what can be repaired without loss (`e2fsck -p`); returns an error if more is needed.
    async fn check(&self, device: &Device, filesystem: Filesystem, timeout: Duration) -> Result<(), HostError>;

    /// Grows a mounted filesystem to the size of its device, online. `at` is the mount point as programs see it: below
    /// `--root`, if there is one.
    async fn grow(&self, device: &Device, filesystem: Filesystem, at: &Path, timeout: Duration) -> Result<(), HostError>;
}

/// Listens for disks that are added or removed.
#[async_trait(?Send)]
pub(crate) trait DiskWatch {
    /// Returns as soon as a disk has been added or removed since the last call, or after `timeout`.
    async fn changed(&mut self, timeout: Duration);
}
