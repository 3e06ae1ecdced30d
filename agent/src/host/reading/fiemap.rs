//! Finds the location of a file's bytes on its device, with `FS_IOC_FIEMAP`.
//!
//! Source: <https://docs.kernel.org/filesystems/fiemap.html>

use std::fs::File;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;

/// The location is unknown, or the data has not been written yet.
const UNKNOWN: u32 = 0x2;
const DELALLOC: u32 = 0x4;
/// The data lies within metadata, which was read to find it.
const DATA_INLINE: u32 = 0x200;
const DATA_TAIL: u32 = 0x400;
/// The extent reads as zeros and has no data on the device.
const UNWRITTEN: u32 = 0x800;
const LAST: u32 = 0x1;

/// How many extents are requested at a time; most files have fewer.
const AT_ONCE: usize = 64;

#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
struct Call {
    header: Header,
    extents: [RawExtent; AT_ONCE],
}

const _: () = assert!(size_of::<Header>() == 32 && size_of::<RawExtent>() == 56);

nix::ioctl_readwrite!(fs_ioc_fiemap, b'f', 11, Header);

/// Bytes of a file that are contiguous on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) length: u64,
}

/// The extents of a file of `size` bytes that have to be read from its device: without holes, and without extents that
/// have no data there. `None` if the filesystem does not report extents.
pub(super) fn extents(file: &File, size: u64) -> io::Result<Option<Vec<Extent>>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < size {
        // SAFETY: `Call` consists of integers, for which zero is a valid value.
        let mut call: Call = unsafe { zeroed() };
        call.header.start = start;
        call.header.length = size - start;
        call.header.extent_count = AT_ONCE as u32;
        // SAFETY: the header is followed by as many extents as it states, as the kernel requires; both live until the
        // call returns.
        match unsafe { fs_ioc_fiemap(file.as_raw_fd(), (&raw mut call).cast()) } {
            Ok(_) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) if start == 0 => return Ok(None),
            Err(other) => return Err(other.into()),
        }
        let mapped = &call.extents[..(call.header.mapped_extents as usize).min(AT_ONCE)];
        for raw in mapped {
            if raw.flags & (UNKNOWN | DELALLOC | DATA_INLINE | DATA_TAIL | UNWRITTEN) == 0 && raw.logical < size {
                let length = raw.length.min(size - raw.logical);
                found.push(Extent { logical: raw.logical, physical: raw.physical, length });
            }
        }
        match mapped.last() {
            Some(last) if last.flags & LAST == 0 && last.logical.saturating_add(last.length) > start => {
                start = last.logical.saturating_add(last.length);
            }
            _ => break,
        }
    }
    Ok(Some(found))
}
