//! The size of an XFS that is mounted. Its superblock on the disk is the last to know: after it was grown, half a minute
//! later.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use nix::libc;

use crate::host::device_number::DeviceNumber;
use crate::host::mountinfo;

/// `struct xfs_fsop_geom_v1` of linux/xfs_fs.h, as far as it is needed, and the rest.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Geometry {
    blocksize: u32,
    others: [u32; 7],
    datablocks: u64,
    rest: [u64; 9],
}

nix::ioctl_read!(xfs_geometry, b'X', 100, Geometry);

/// In bytes. `None` if it is mounted nowhere that can be seen.
pub(super) fn size(device: DeviceNumber) -> Option<u64> {
    let places = mountinfo::places_of(device).inspect_err(|error| log::debug!("{error}")).ok()?;
    places.iter().find_map(|place| {
        let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
        let directory = File::options().read(true).custom_flags(flags).open(place).ok()?;
        // Something else may be mounted over it.
        let is_it = DeviceNumber::of(directory.metadata().ok()?.dev()) == device;
        let mut geometry = Geometry::default();
        // SAFETY: the kernel writes no more than the size of `geometry`, which is in the number of the request.
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
