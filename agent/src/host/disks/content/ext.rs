//! ext2, ext3 and ext4, which share a superblock, and an external journal (`jbd`).

use super::checksum::crc32c;
use super::state::{damaged, sized};
use super::window::Window;
use crate::host::disks::signature::{Signature, State};

/// Offset of the superblock.
const AT: u64 = 1024;

/// Offset of its checksum, if it has one: the last 4 of its 1024 bytes.
const CHECKSUM: usize = 1020;

/// Bits of s_state.
const VALID: u16 = 1;
const ERRORS: u16 = 2;

/// Bits of s_feature_compat, s_feature_incompat and s_feature_ro_compat.
const HAS_JOURNAL: u32 = 0x4;
const RECOVER: u32 = 0x4;
const JOURNAL_DEVICE: u32 = 0x8;
const SIXTY_FOUR_BIT: u32 = 0x80;
const METADATA_CHECKSUM: u32 = 0x400;

/// The incompatible features that ext2 and ext3 support (filetype, meta_bg; ext3: recover) and their
/// read-only-compatible ones (sparse_super, large_file, btree_dir). A filesystem with any other feature is ext4.
const OLD_INCOMPATIBLE: u32 = 0x2 | 0x10;
const OLD_READ_ONLY: u32 = 0x1 | 0x2 | 0x4;

/// Numbers are little-endian; offsets are those in `struct ext4_super_block`.
pub(super) fn ext(window: &Window) -> Option<Signature> {
    if !window.has(AT + 0x38, &[0x53, 0xef]) {
        return None;
    }
    let features = |offset: u64| window.le32(AT + offset);
    let (compatible, incompatible, read_only) = (features(0x5c)?, features(0x60)?, features(0x64)?);
    let has_journal = compatible & HAS_JOURNAL != 0;
    let is_old = read_only & !OLD_READ_ONLY == 0 && incompatible & !(OLD_INCOMPATIBLE | RECOVER) == 0;
    let kind = match (incompatible & JOURNAL_DEVICE != 0, has_journal) {
        (true, _) => "jbd",
        (false, true) if is_old => "ext3",
        (false, false) if is_old && incompatible & RECOVER == 0 => "ext2",
        (false, _) => "ext4",
    };
    let upper = if incompatible & SIXTY_FOUR_BIT != 0 { window.le32(AT + 0x150)? } else { 0 };
    let blocks = u64::from(upper) << 32 | u64::from(window.le32(AT + 0x4)?);
    let block = 1024_u64.checked_shl(window.le32(AT + 0x18)?).filter(|block| (1024..=65536).contains(block));
    let size = block.and_then(|block| blocks.checked_mul(block));
    let flags = window.le16(AT + 0x3a)?;
    let state = if read_only & METADATA_CHECKSUM != 0 && !sums_up(window)? {
        damaged("the checksum of its superblock is wrong")
    } else if size.is_none_or(|size| size == 0) {
        damaged("its superblock contradicts itself")
    } else if let Some(damaged) = sized(window, size?) {
        damaged
    } else if flags & ERRORS != 0 || (!has_journal && flags & VALID == 0) {
        State::Unchecked
    } else if incompatible & RECOVER != 0 {
        State::Unreplayed
    } else {
        State::Clean
    };
    Some(Signature { kind: kind.into(), label: window.text(AT + 0x78, 16), uuid: window.uuid(AT + 0x68), size, state })
}

/// Unlike other filesystems, ext4 does not invert its CRC32C at the end.
fn sums_up(window: &Window) -> Option<bool> {
    let sum = !crc32c(&[window.bytes(AT, CHECKSUM)?]);
    Some(window.le32(AT + CHECKSUM as u64)? == sum)
}
