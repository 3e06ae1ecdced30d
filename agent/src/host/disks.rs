//! Block devices: which there are, whose they are, what lies on them.
//!
//! A disk is known by what it is (the id of its EBS volume, its place among the instance's stores), never by the name
//! the kernel gave it: names change from boot to boot, and links in /dev/disk/by-id can be stale. What is to be written
//! to or mounted is a [`Device`], whose identity is looked at again in the last moment.

pub(super) mod attached;
mod content;
mod disk;
mod filesystem;
mod find;
mod identity;
mod mounted_xfs;
mod nvme;
mod signature;
mod sysfs;
mod tools;
mod watch;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(test)]
pub(crate) use self::disk::Partition;
pub(crate) use self::disk::{Device, Disk, Origin, Wanted};
pub(crate) use self::filesystem::{Filesystem, NewFilesystem};
pub(crate) use self::find::find;
pub(super) use self::identity::{hold, owner, replaced};
pub(crate) use self::signature::{Content, Signature, State};
pub(super) use self::sysfs::number_of;
pub(super) use self::tools::run_tool;
pub(crate) use super::device_number::DeviceNumber;
use super::error::HostError;

/// The disks of this machine.
#[async_trait(?Send)]
pub(crate) trait Disks {
    /// Every whole disk, by kernel name; no partitions, loop devices without a file, RAM disks or optical drives.
    async fn all(&self) -> Result<Vec<Disk>, HostError>;

    /// The one that is meant. `None` if it is not there (yet).
    async fn find(&self, wanted: &Wanted) -> Result<Option<Disk>, HostError>;

    /// The disk that a device node stands for now, and the number of the partition if it is one. `None` where there is
    /// no such node, or it is not a block device.
    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError>;

    /// Begins to listen for disks and partitions that come and go. What comes after this call is not missed.
    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError>;

    /// What lies on a disk or partition. Reads a few megabytes at its beginning and its end.
    async fn content(&self, node: &Path) -> Result<Content, HostError>;

    /// Makes a filesystem, by the mkfs program of its kind. `device` is compared with what is there first. What lies on
    /// it is overwritten: whoever calls this has looked.
    async fn make_filesystem(&self, device: &Device, new: &NewFilesystem, timeout: Duration) -> Result<(), HostError>;

    /// Repairs what can be repaired without loss (`e2fsck -p`); an error if more is needed.
    async fn check(&self, device: &Device, filesystem: Filesystem, timeout: Duration) -> Result<(), HostError>;

    /// Grows a mounted filesystem to the size of its device, online. `at` is where it is mounted, as
    /// programs see it: below `--root`, if there is one.
    async fn grow(&self, device: &Device, filesystem: Filesystem, at: &Path, timeout: Duration) -> Result<(), HostError>;
}

/// Listens for disks that come and go.
#[async_trait(?Send)]
pub(crate) trait DiskWatch {
    /// Returns as soon as something has come or gone since the last call, or else after `timeout`.
    async fn changed(&mut self, timeout: Duration);
}
