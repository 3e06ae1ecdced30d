//! Identifies the device behind a mount.

use std::path::{Path, PathBuf};

use super::trouble::PreloadError;
use crate::host::disks::{Device, Disk, Origin};
use crate::host::mounts::{self, Mounted};
use crate::step::Context;

/// A mount as found, and the device behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The device that contains the extents of its files. `None` if there is no such device, or files are not stored on
    /// it directly.
    pub(super) device: Option<Device>,
    /// Identifies the volume, independent of the order in which the kernel found it. Contains no white space.
    pub(super) identity: String,
}

/// Filesystems that store files in extents of the one device they are on. btrfs has its own address space.
const PLAIN: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

/// Examines what is mounted.
pub(super) async fn shown(mount: &Path, cx: &Context<'_>) -> Result<Shown, PreloadError> {
    let host = cx.host();
    let table = host.mounts.table().await.map_err(PreloadError::Host)?;
    let Some(mounted) = mounts::seen(&table, mount, &*host.files).await.map_err(PreloadError::Host)? else {
        return Err(PreloadError::NotMounted { mount: mount.to_owned() });
    };
    let node = PathBuf::from(&mounted.source);
    let behind = if node.is_absolute() { host.disks.behind(&node).await.map_err(PreloadError::Host)? } else { None };
    let plain = mounted.device.major != 0 && PLAIN.contains(&mounted.filesystem.as_str());
    let device = plain.then_some(Device { node, number: mounted.device, volume: None, partition: None });
    Ok(Shown { device, identity: identity(mounted, behind.as_ref()) })
}

fn identity(mounted: &Mounted, behind: Option<&(Disk, Option<u32>)>) -> String {
    let name = match behind {
        None => mounted.source.clone(),
        Some((disk, partition)) => {
            let disk = match (&disk.origin, &disk.attached_as) {
                (Origin::Volume(id), _) => id.clone(),
                (Origin::InstanceStore(Some(number)), _) => format!("instance_store:{number}"),
                (_, Some(name)) => name.clone(),
                (_, None) => disk.node.display().to_string(),
            };
            partition.map_or(disk.clone(), |number| format!("{disk}:{number}"))
        }
    };
    name.split_whitespace().collect::<Vec<_>>().join("_")
}
