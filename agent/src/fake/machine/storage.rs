//! The disks of a machine in memory, and its mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::gather::Gather as _;
use crate::host::HostError;
use crate::host::disks::{Content, Device, DeviceNumber, Disk, Origin, Wanted};
use crate::host::mounts::{Mounted, MsFlags};

/// The kernel's major number of NVMe disks and partitions ("blkext").
const BLOCK_EXTENDED: u32 = 259;

/// Prefix of the name of a disk whose real name is unknown.
pub(crate) const UNKNOWN_DISK: &str = "/dev/<disk ";

/// The attached disks and the mounts.
#[derive(Default)]
pub(super) struct Storage {
    /// By the number in the kernel's name.
    pub(super) disks: BTreeMap<u32, (Disk, Content)>,
    pub(super) table: Vec<Mounted>,
    pub(super) swaps: Vec<DeviceNumber>,
    /// Whether every disk that is waited for appears, as in a rehearsal.
    pub(super) anything: bool,
    /// Whether the kernel's names of disks are unknown, as in a dry run.
    pub(super) nameless: bool,
    /// The disks that were looked for and not found, in order.
    pub(super) missed: Vec<Wanted>,
    /// How many of the next runs of mkfs fail.
    pub(super) failing: u32,
}

impl Storage {
    /// Attaches a disk, and returns its number.
    pub(super) fn plug(&mut self, origin: Origin, attached_as: Option<&str>, size: u64, content: Content) -> u32 {
        let number = (1..).find(|number| !self.disks.contains_key(number)).expect("a kernel has names enough");
        let disk = Disk {
            node: if self.nameless { format!("{UNKNOWN_DISK}{number}>").into() } else { node(number) },
            number: DeviceNumber { major: BLOCK_EXTENDED, minor: number },
            size,
            read_only: false,
            origin,
            attached_as: attached_as.map(str::to_owned),
            partitions: Vec::new(),
            holders: Vec::new(),
        };
        self.disks.insert(number, (disk, content));
        number
    }

    /// In a rehearsal, makes up a disk for a device node that a document names.
    pub(super) fn invent(&mut self, node: &Path) {
        if self.disks.values().any(|(disk, _)| disk.node == node) {
            return;
        }
        let number = self.plug(Origin::Other, None, 8 << 30, Content::Unspecified);
        if let Some((disk, _)) = self.disks.get_mut(&number) {
            disk.node = node.to_owned();
        }
    }

    pub(super) fn unplug(&mut self, volume: &str) {
        self.disks.retain(|_, (disk, _)| disk.origin != Origin::Volume(volume.to_owned()));
    }

    pub(super) fn unplug_all(&mut self) {
        self.disks.clear();
    }

    /// Removes all mounts and renumbers the disks, as the kernel may after a reboot.
    pub(super) fn reboot(&mut self) {
        self.table.clear();
        self.swaps.clear();
        let disks: Vec<_> = std::mem::take(&mut self.disks).into_values().rev().collect();
        for ((mut disk, content), number) in disks.into_iter().zip(1..) {
            (disk.node, disk.number.minor) = (node(number), number);
            self.disks.insert(number, (disk, content));
        }
    }

    pub(super) fn describe(&self, lines: &mut BTreeMap<String, String>) {
        // Devices that the machine has by itself are not changes.
        for (disk, content) in self.disks.values().filter(|(disk, _)| disk.origin != Origin::Other || disk.attached_as.is_some()) {
            lines.insert(name(disk), format!("{} bytes, {content}", disk.size));
        }
        for mounted in &self.table {
            let source = self.named(mounted.device).unwrap_or_else(|| mounted.source.clone());
            lines.insert(format!("at {}", mounted.at.display()), format!("{source} {} {:?}", mounted.filesystem, mounted.options));
        }
        if !self.swaps.is_empty() {
            let swaps: BTreeSet<Option<String>> = self.swaps.iter().map(|number| self.named(*number)).gather();
            lines.insert("swap on".into(), format!("{swaps:?}"));
        }
    }

    fn named(&self, number: DeviceNumber) -> Option<String> {
        self.disks.values().find(|(disk, _)| disk.number == number).map(|(disk, _)| name(disk))
    }

    /// The mounts, the root filesystem first.
    pub(super) fn table(&self) -> impl Iterator<Item = Mounted> {
        let root = Mounted {
            at: "/".into(),
            root: "/".into(),
            device: DeviceNumber { major: BLOCK_EXTENDED, minor: 0 },
            filesystem: "ext4".into(),
            source: "/dev/root".into(),
            options: named(MsFlags::empty()),
        };
        std::iter::once(root).chain(self.table.iter().cloned())
    }

    /// What a bind mount of `path` shows: the mount that contains it, and its path in that filesystem.
    pub(super) fn seen_at(&self, path: &Path) -> Mounted {
        let holders = self.table().filter(|mounted| path.starts_with(&mounted.at));
        let holder = holders.max_by_key(|mounted| mounted.at.as_os_str().len()).expect("everything lies below the root");
        let rest = path.strip_prefix(&holder.at).unwrap_or(Path::new(""));
        let root = if rest.as_os_str().is_empty() { holder.root.clone() } else { holder.root.join(rest) };
        Mounted { root, ..holder }
    }

    pub(super) fn held(&mut self, device: &Device) -> Option<&mut (Disk, Content)> {
        let found = self.disks.values_mut().find(|(disk, _)| disk.node == device.node && disk.number == device.number);
        found.filter(|(disk, _)| device.volume.as_ref().is_none_or(|volume| disk.origin == Origin::Volume(volume.clone())))
    }
}

/// A name for a disk that does not depend on the kernel's name.
fn name(disk: &Disk) -> String {
    match &disk.origin {
        Origin::Volume(id) => id.clone(),
        Origin::InstanceStore(number) => format!("instance store {}", number.unwrap_or_default()),
        Origin::Other => disk.attached_as.clone().unwrap_or_else(|| disk.node.display().to_string()),
    }
}

fn node(number: u32) -> PathBuf {
    format!("/dev/nvme{number}n1").into()
}

pub(super) fn replaced(device: &Device) -> HostError {
    let wanted = device.volume.clone().unwrap_or_else(|| device.number.to_string());
    HostError::Replaced { node: device.node.clone(), wanted, found: "another".into() }
}

/// Options of a mount, as the kernel prints them.
pub(super) fn named(flags: MsFlags) -> Vec<String> {
    let known = [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_NOATIME, "noatime"),
        (MsFlags::MS_NODIRATIME, "nodiratime"),
    ];
    let writable = if flags.contains(MsFlags::MS_RDONLY) { "ro" } else { "rw" };
    let mut names = vec![writable.to_owned()];
    names.extend(known.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name.to_owned()));
    let relative = !flags.intersects(MsFlags::MS_NOATIME | MsFlags::MS_STRICTATIME);
    names.extend(relative.then(|| "relatime".to_owned()));
    names
}
