//! Block devices: which there are, whose they are, what lies on them.
//!
//! A disk is known by what it is (the id of its EBS volume, its place among the instance's stores), never by the name
//! the kernel gave it: names change from boot to boot, and links in /dev/disk/by-id can be stale. What is to be written
//! to or mounted is a [`Device`], whose identity is looked at again in the last moment.

mod attached;
mod content;
mod find;
mod identity;
mod mounted_xfs;
mod nvme;
mod sysfs;
mod tools;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HostError;

pub(crate) use attached::AttachedDisks;
pub(crate) use find::find;
pub(super) use identity::{hold, owner, replaced};
pub(super) use sysfs::number_of;
pub(super) use tools::run_tool;

/// The disks of this machine.
#[async_trait(?Send)]
pub(crate) trait Disks {
    /// Every whole disk, by kernel name; no partitions, loop devices without a file, RAM disks or optical drives.
    async fn all(&self) -> Result<Vec<Disk>, HostError>;

    /// The one that is meant. `None` if it is not there (yet).
    async fn find(&self, wanted: &Wanted) -> Result<Option<Disk>, HostError>;

    /// The disk that a device node stands for now, and the number of the partition if it is one. `None` where there is
    /// no such node, or it is no block device.
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

/// A block device's number, which it keeps while anybody has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceNumber {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl DeviceNumber {
    /// Of what stat(2) says (`st_rdev`, `st_dev`).
    pub(in crate::host) fn of(device: u64) -> Self {
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        Self { major: number(nix::sys::stat::major(device)), minor: number(nix::sys::stat::minor(device)) }
    }

    /// As the kernel writes it: `259:1`.
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

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Its node, such as `/dev/nvme1n1`.
    pub(crate) node: PathBuf,
    pub(crate) number: DeviceNumber,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) read_only: bool,
    pub(crate) origin: Origin,
    /// The name in the block device mapping, such as `/dev/sdf`: what the controller says (Nitro), or the node's own
    /// name (Xen: `/dev/xvdf` stands for `/dev/sdf`). `None` where neither is known.
    pub(crate) attached_as: Option<String>,
    pub(crate) partitions: Vec<Partition>,
    /// Kernel devices built on it or its partitions, such as `dm-0` and `md127`.
    pub(crate) holders: Vec<String>,
}

/// Where a disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An EBS volume, by its id with the dash: `vol-0123456789abcdef0`.
    Volume(String),
    /// An instance store; its number in the block device mapping (`ephemeral0`), if the controller says it.
    InstanceStore(Option<u32>),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) node: PathBuf,
    pub(crate) number: u32,
    pub(crate) device: DeviceNumber,
    /// In bytes.
    pub(crate) size: u64,
}

/// Which disk is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The EBS volume with this id.
    Volume(String),
    /// The disk with this name in the block device mapping; with or without `/dev/`, `sdf` and `xvdf` being the same.
    /// Last, the disk whose node has exactly this path.
    AttachedAs(String),
    /// The instance store with this number: what the controllers say or, where they say nothing, the place in the order
    /// of their PCI addresses.
    InstanceStore(u32),
}

/// What lies on a disk or partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeros wherever a signature could be.
    Blank,
    /// What is recognised. More than one signature: nobody can tell which of them is meant.
    Holds(Vec<Signature>),
    /// Something, and nothing that is recognised: the first bytes that are not zero, in hexadecimal.
    Unknown { at: u64, bytes: String },
    /// Nobody knows, for this is a rehearsal: it is taken for what is asked for.
    Unspecified,
}

/// What a superblock, a label or a partition table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// As blkid(8) names it: `xfs`, `ext4`, `btrfs`, `swap`, `LVM2_member`, `linux_raid_member`, `crypto_LUKS`, `gpt`, `dos` …
    pub(crate) kind: String,
    pub(crate) label: Option<String>,
    /// In lower case, with dashes.
    pub(crate) uuid: Option<String>,
    /// In bytes; `None` where the kind is not one of [`Filesystem`], ext2 or ext3.
    pub(crate) size: Option<u64>,
    pub(crate) state: State,
}

/// In which state a filesystem was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Clean,
    /// It was in use, or is; mounting it replays its journal.
    Unreplayed,
    /// ext4: errors were met, or it has no journal and was in use, or is. To be checked before it is mounted.
    Unchecked,
    /// Its superblock contradicts itself, such as by a wrong checksum: the reason.
    Damaged(String),
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Holds(signatures) => {
                let names: Vec<String> = signatures.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(" and "))
            }
            Self::Unknown { at, bytes } => write!(f, "something unknown ({bytes} at byte {at})"),
            Self::Unspecified => f.write_str("what is asked for"),
        }
    }
}

/// The filesystems that ingot makes, checks and grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filesystem {
    Xfs,
    Ext4,
    Btrfs,
    Swap,
}

impl Filesystem {
    /// As mount(8) and blkid(8) name it.
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

/// A disk or partition that is to be written to, mounted or used, and what makes it that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) node: PathBuf,
    pub(crate) number: DeviceNumber,
    /// The EBS volume it must be (a part of), by its id with the dash. `None` where it is none.
    pub(crate) volume: Option<String>,
    /// The number of the partition, if it is one.
    pub(crate) partition: Option<u32>,
}

impl Device {
    /// A disk, or one of its partitions.
    pub(crate) fn of(disk: &Disk, partition: Option<u32>) -> Self {
        let volume = match &disk.origin {
            Origin::Volume(id) => Some(id.clone()),
            Origin::InstanceStore(_) | Origin::Other => None,
        };
        let part = disk.partitions.iter().find(|known| Some(known.number) == partition);
        let (node, number) = part.map_or((&disk.node, disk.number), |part| (&part.node, part.device));
        Self { node: node.clone(), number, volume, partition }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFilesystem {
    pub(crate) kind: Filesystem,
    pub(crate) label: Option<String>,
    pub(crate) uuid: Option<String>,
}
