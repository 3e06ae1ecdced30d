//! How large a mounted filesystem is, by what the kernel says.
//!
//! XFS and btrfs write their superblock when it suits them: after they have grown, the one on the device may be old for half
//! a minute.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::content::{self, Source};
use super::{Content, Filesystem};

// XFS_IOC_FSGEOMETRY_V1 fills a `struct xfs_fsop_geom_v1` (fs/xfs/libxfs/xfs_fs.h).
nix::ioctl_read!(xfs_geometry, b'X', 100, [u8; 112]);

// BTRFS_IOC_DEV_INFO takes and fills a `struct btrfs_ioctl_dev_info_args` (include/uapi/linux/btrfs.h).
nix::ioctl_readwrite!(btrfs_device, 0x94, 30, [u8; 4096]);

/// The size in bytes of the filesystem that is mounted at `at` from `node`.
pub(super) fn of_mounted(filesystem: Filesystem, node: &Path, at: &Path) -> io::Result<u64> {
    match filesystem {
        Filesystem::Xfs => {
            let mounted = File::open(at)?;
            let mut geometry = [0; 112];
            // SAFETY: the file is open while the call lasts, and the kernel writes no more than the structure has bytes.
            unsafe { xfs_geometry(mounted.as_raw_fd(), &mut geometry) }?;
            Ok(u64::from(number32(&geometry, 0)) * number(&geometry, 32))
        }
        Filesystem::Btrfs => {
            let mounted = File::open(at)?;
            let mut device = [0; 4096];
            // The first device: ingot makes and mounts filesystems on one.
            device[..8].copy_from_slice(&1_u64.to_ne_bytes());
            // SAFETY: as above; the structure has 4096 bytes for this purpose.
            unsafe { btrfs_device(mounted.as_raw_fd(), &mut device) }?;
            Ok(number(&device, 32))
        }
        // Its superblock is in the cache of the device, and is what the kernel works with.
        Filesystem::Ext4 | Filesystem::Swap => {
            let mut file = File::open(node)?;
            let size = file.seek(SeekFrom::End(0))?;
            match content::recognise(&Device { file, size })? {
                Content::Holds(signatures) => Ok(signatures.iter().find_map(|signature| signature.size).unwrap_or(size)),
                _ => Ok(size),
            }
        }
    }
}

struct Device {
    file: File,
    size: u64,
}

impl Source for Device {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, at)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}
