//! Disks and partitions, and ways to select one.

use std::path::PathBuf;

use crate::host::device_number::DeviceNumber;

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Its device node, such as `/dev/nvme1n1`.
    pub(crate) node: PathBuf,
    pub(crate) number: DeviceNumber,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) read_only: bool,
    pub(crate) origin: Origin,
    /// The name in the block device mapping, such as `/dev/sdf`: as the controller reports it (Nitro), or derived from
    /// the node's name (Xen: `/dev/xvdf` is `/dev/sdf`). `None` if neither is known.
    pub(crate) attached_as: Option<String>,
    pub(crate) partitions: Vec<Partition>,
    /// Kernel devices built on the disk or its partitions, such as `dm-0` and `md127`.
    pub(crate) holders: Vec<String>,
}

/// Where a disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An EBS volume, by its id with the dash: `vol-0123456789abcdef0`.
    Volume(String),
    /// An instance store, with its number in the block device mapping (`ephemeral0`) if the controller reports one.
    InstanceStore(Option<u32>),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) node: PathBuf,
    pub(crate) number: u32,
    pub(crate) device: DeviceNumber,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// Selects a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The EBS volume with this id.
    Volume(String),
    /// The disk with this name in the block device mapping. `/dev/` is optional, and `sdf` and `xvdf` are equivalent.
    /// If there is none, the disk whose node has exactly this path.
    AttachedAs(String),
    /// The instance store with this number: as the controllers report it or, if they do not, the position in the order
    /// of their PCI addresses.
    InstanceStore(u32),
}

/// A disk or partition that is to be written to, mounted or used, and its expected identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) node: PathBuf,
    pub(crate) number: DeviceNumber,
    /// The EBS volume that it must be, or be part of, by its id with the dash. `None` if it is not on an EBS volume.
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
