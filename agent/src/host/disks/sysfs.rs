//! Disks as described by /sys. Runs on one thread and does not wait.
//!
//! /sys is read again each time: cached data is wrong as soon as a disk is detached.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::disk::{Disk, Origin, Partition};
use super::nvme::{self, Identity};
use crate::host::device_number::DeviceNumber;
use crate::host::tree::found;
use crate::sorting::Sort as _;

/// The model name of an instance store. An EBS volume has `Amazon Elastic Block Store`, and is recognized by its
/// serial.
const INSTANCE_STORE: &str = "Amazon EC2 NVMe Instance Storage";

/// The unit of sizes in sysfs, in bytes, whatever the disk's own sector size.
const SECTOR: u64 = 512;

/// The directories in which the kernel describes its devices.
#[derive(Debug, Clone)]
pub(super) struct Sysfs {
    sys: PathBuf,
    dev: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into() }
    }
}

impl Sysfs {
    pub(super) fn block(&self) -> PathBuf {
        self.sys.join("block")
    }

    /// Every whole disk, sorted by kernel name.
    pub(super) fn disks(&self) -> io::Result<Vec<Disk>> {
        Ok(self.placed()?.into_iter().map(|(_, disk)| disk).collect())
    }

    /// Every whole disk that has a node, in the order of the controllers; disks without a PCI address come last.
    pub(super) fn usable_disks(&self) -> io::Result<Vec<Disk>> {
        let mut placed = self.placed()?;
        placed.order_by_key(|(address, _)| (address.is_none(), *address));
        let mut usable = Vec::new();
        for (_, disk) in placed {
            // The node may appear later than the disk, or still be another disk's.
            if number_of(&disk.node)? == Some(disk.number) {
                usable.push(disk);
            }
        }
        Ok(usable)
    }

    fn placed(&self) -> io::Result<Vec<(Option<PciAddress>, Disk)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.block())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !["ram", "zram", "sr", "fd"].iter().any(|kind| is_numbered(name, kind)));
        names.order_by(|one, other| natural(one).cmp(&natural(other)));
        let mut disks = Vec::new();
        for name in names {
            let directory = self.block().join(&name);
            let is_unused_loop = is_numbered(&name, "loop") && attribute(&directory, "loop/backing_file").is_none();
            // A hidden disk is one of several paths to a disk (`nvme0c0n1`); only the multipath head can be opened.
            let is_hidden = attribute(&directory, "hidden").as_deref() == Some("1");
            if is_unused_loop || is_hidden {
                continue;
            }
            // The disk may disappear while it is read. A device without a size, such as an unused nbd, holds nothing.
            if let Some(disk) = found(self.disk(&directory))?.filter(|disk| disk.size > 0) {
                disks.push((pci_address(&directory), disk));
            }
        }
        Ok(disks)
    }

    /// The disk with this number, and the number of the partition if it is one.
    pub(super) fn behind(&self, number: DeviceNumber) -> io::Result<Option<(Disk, Option<u32>)>> {
        let link = self.sys.join("dev/block").join(number.to_string());
        let Some(directory) = found(fs::canonicalize(link))? else { return Ok(None) };
        let partition = number_in(&directory, "partition");
        let whole = if partition.is_some() { directory.parent().unwrap_or(&directory) } else { &directory };
        Ok(found(self.disk(whole))?.map(|disk| (disk, partition)))
    }

    /// Describes the disk in a sysfs directory.
    fn disk(&self, directory: &Path) -> io::Result<Disk> {
        let kernel_name = name(directory);
        let node = self.node(&kernel_name);
        let mut holders = list(&directory.join("holders"))?;
        let mut partitions = Vec::new();
        for entry in list(directory)?.into_iter().filter(|entry| entry.starts_with(&kernel_name)) {
            let inner = directory.join(&entry);
            let Some(number) = number_in(&inner, "partition") else { continue };
            // Like the disk, a partition may disappear while it is read.
            let Some(device) = found(device_in(&inner))? else { continue };
            partitions.push(Partition { node: self.node(&entry), number, device, size: size_in(&inner) });
            holders.extend(list(&inner.join("holders"))?);
        }
        partitions.order_by_key(|partition| partition.number);
        holders.order();
        holders.dedup();
        let (origin, attached_as) = origin(directory, &kernel_name, &node);
        Ok(Disk {
            number: device_in(directory)?,
            size: size_in(directory),
            read_only: attribute(directory, "ro").as_deref() == Some("1"),
            node,
            origin,
            attached_as,
            partitions,
            holders,
        })
    }

    /// A slash in a device name becomes an exclamation mark in sysfs.
    fn node(&self, kernel_name: &str) -> PathBuf {
        self.dev.join(kernel_name.replace('!', "/"))
    }
}

/// The number of a block device, by its node. `None` if the node does not exist or is not a block device.
pub(in crate::host) fn number_of(node: &Path) -> io::Result<Option<DeviceNumber>> {
    match fs::metadata(node) {
        Ok(metadata) if metadata.file_type().is_block_device() => Ok(Some(DeviceNumber::of(metadata.rdev()))),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where a disk comes from, and the name under which it was attached.
fn origin(directory: &Path, kernel_name: &str, node: &Path) -> (Origin, Option<String>) {
    if kernel_name.starts_with("nvme") {
        let said = asked(node);
        let serial = attribute(directory, "device/serial").unwrap_or(said.serial);
        let is_store = attribute(directory, "device/model").as_deref() == Some(INSTANCE_STORE);
        let other = || if is_store { Origin::InstanceStore(said.store) } else { Origin::Other };
        return (volume_id(&serial).map_or_else(other, Origin::Volume), said.attached_as);
    }
    // virtio-blk has its serial in the directory of the disk itself.
    let origin = attribute(directory, "serial").and_then(|serial| volume_id(&serial)).map_or(Origin::Other, Origin::Volume);
    let letters = kernel_name.strip_prefix("xvd").or_else(|| kernel_name.strip_prefix("sd"));
    (origin, letters.map(|letters| format!("/dev/sd{letters}")))
}

/// The controller's answer, which is empty if it does not answer or if this process may not ask.
fn asked(node: &Path) -> Identity {
    let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(node);
    let answer = open.and_then(|disk| nvme::identify(&disk).map_err(io::Error::from));
    answer.unwrap_or_else(|error| {
        log::debug!("cannot ask the controller of {} for its name: {error}", node.display());
        Identity::default()
    })
}

/// The id of an EBS volume, from the serial of its disk: `vol-0123456789abcdef0` for `vol0123456789abcdef0`.
fn volume_id(serial: &str) -> Option<String> {
    let digits = serial.trim().strip_prefix("vol")?;
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let is_id = matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| format!("vol-{digits}"))
}

/// The address of a device on the PCI bus: domain, bus, device, function.
type PciAddress = [u32; 4];

/// The address of the last PCI device on the path to a disk.
fn pci_address(directory: &Path) -> Option<PciAddress> {
    let path = fs::canonicalize(directory).ok()?;
    path.iter().rev().find_map(|part| {
        let (rest, function) = part.to_str()?.rsplit_once('.')?;
        let mut numbers = rest.split(':').chain([function]).map(|digits| u32::from_str_radix(digits, 16).ok());
        let address = [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(address)
    })
}

/// A sort key that places `nvme2n1` before `nvme10n1`: each run of digits is compared as a number.
fn natural(name: &str) -> Vec<(&str, Option<u64>)> {
    let mut runs = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (letters, after) = rest.split_at(rest.find(|next: char| next.is_ascii_digit()).unwrap_or(rest.len()));
        let (digits, after) = after.split_at(after.find(|next: char| !next.is_ascii_digit()).unwrap_or(after.len()));
        runs.push((letters, digits.parse().ok()));
        rest = after;
    }
    runs
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The content of a sysfs file. `None` if it does not exist or is empty.
fn attribute(directory: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(directory.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number_in(directory: &Path, name: &str) -> Option<u32> {
    attribute(directory, name)?.parse().ok()
}

fn size_in(directory: &Path) -> u64 {
    let sectors: u64 = attribute(directory, "size").and_then(|text| text.parse().ok()).unwrap_or(0);
    sectors.saturating_mul(SECTOR)
}

fn device_in(directory: &Path) -> io::Result<DeviceNumber> {
    let text = fs::read_to_string(directory.join("dev"))?;
    DeviceNumber::parse(text.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no device number")))
}

fn list(directory: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = found(fs::read_dir(directory))? else { return Ok(Vec::new()) };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests;
