//! The size of a mounted XFS. The superblock on the disk is outdated: it shows a new size only half a minute after the
//! filesystem was grown.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use nix::libc;

use crate::host::device_number::DeviceNumber;
use crate::host::mountinfo;

/// The used fields of `struct xfs_fsop_geom_v1` of linux/xfs_fs.h, and the rest as padding.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Geometry {
    blocksize: u32,
    others: [u32; 7],
    datablocks: u64,
    rest: [u64; 9],
}

nix::ioctl_read!(xfs_geometry, b'X', 100, Geometry);

/// Size in bytes. `None` if no mount of it is visible.
pub(super) fn size(device: DeviceNumber) -> Option<u64> {
    let places = mountinfo::places_of(device).inspect_err(|error| log::debug!("{error}")).ok()?;
    places.iter().find_map(|place| {
        let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
        let directory = File::options().read(true).custom_flags(flags).open(place).ok()?;
        // Another filesystem may be mounted over it.
        let is_it = DeviceNumber::of(directory.metadata().ok()?.dev()) == device;
        let mut geometry = Geometry::default();
        // SAFETY: the kernel writes at most the size of `geometry`, which is encoded in the request number.
        let answer = is_it.then(|| unsafe { xfs_geometry(directory.as_raw_fd(), &raw mut geometry) });
        answer?.ok()?;
        geometry.datablocks.checked_mul(geometry.blocksize.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_as_the_kernel_expects() {
        assert_eq!(nix::request_code_read!(b'X', 100, size_of::<Geometry>()), 0x8070_5864);
        assert_eq!(std::mem::offset_of!(Geometry, datablocks), 32);
    }

    #[test]
    fn what_is_not_mounted_says_nothing() {
        assert_eq!(size(DeviceNumber { major: 259, minor: 999_999 }), None);
    }
}
