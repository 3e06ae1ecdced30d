//! btrfs. A filesystem on several devices has this superblock on each of them.

use super::checksum::crc32c;
use super::state::{damaged, sized};
use super::window::Window;
use crate::host::disks::signature::{Signature, State};

/// Offset and length of the first superblock.
const AT: u64 = 64 << 10;
const LENGTH: usize = 4096;

/// Length of the checksum, which comes first and covers everything after it.
const CHECKSUM: usize = 32;

/// The checksum type in common use; the others (xxhash, SHA-256, BLAKE2) are not verified.
const CRC32C: u16 = 0;

/// Numbers are little-endian; offsets are those in `struct btrfs_super_block`.
pub(super) fn btrfs(window: &Window) -> Option<Signature> {
    if !window.has(AT + 0x40, b"_BHRfS_M") {
        return None;
    }
    // The size of this device, not of the whole filesystem.
    let size = window.le64(AT + 0xd1);
    let has_log = window.le64(AT + 0x60)? != 0;
    let state = if !sums_up(window)? {
        damaged("the checksum of its superblock is wrong")
    } else if window.le64(AT + 0x30)? != AT {
        damaged("its superblock contradicts itself")
    } else if let Some(damaged) = sized(window, size?) {
        damaged
    } else if has_log {
        State::Unreplayed
    } else {
        State::Clean
    };
    Some(Signature { kind: "btrfs".into(), label: window.text(AT + 0x12b, 256), uuid: window.uuid(AT + 0x20), size, state })
}

fn sums_up(window: &Window) -> Option<bool> {
    if window.le16(AT + 0xc4)? != CRC32C {
        return Some(true);
    }
    let bytes = window.bytes(AT, LENGTH)?;
    Some(window.le32(AT)? == crc32c(&[&bytes[CHECKSUM..]]))
}
