//! XFS. The superblock does not say whether the log has to be replayed; a mount replays it if necessary.

use super::checksum::crc32c;
use super::state::{damaged, sized};
use super::window::Window;
use crate::host::disks::signature::{Signature, State};

/// The minimum size of the last allocation group, in blocks (XFS_MIN_AG_BLOCKS).
const SMALLEST_GROUP: u64 = 64;

/// Offset of the superblock's checksum in version 5.
const CHECKSUM: usize = 224;

/// XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR: the kernel refuses to mount it.
const NEEDS_REPAIR: u32 = 1 << 4;

/// Numbers are big-endian; offsets are those in `struct xfs_dsb`.
pub(super) fn xfs(window: &Window) -> Option<Signature> {
    if !window.has(0, b"XFSB") {
        return None;
    }
    let size = window.be64(8)?.checked_mul(window.be32(4)?.into());
    let state = fault(window).map(damaged).or_else(|| sized(window, size?)).unwrap_or(State::Clean);
    Some(Signature { kind: "xfs".into(), label: window.text(108, 12), uuid: window.uuid(32), size, state })
}

/// The fault that the kernel and libblkid would report.
fn fault(window: &Window) -> Option<&'static str> {
    let version = window.be16(100)? & 0xf;
    if version == 5 && !sums_up(window)? {
        return Some("the checksum of its superblock is wrong");
    }
    let (blocks, group, groups) = (window.be64(8)?, u64::from(window.be32(84)?), u64::from(window.be32(88)?));
    let is_power = |shift: u64, value: u32, range: std::ops::RangeInclusive<u8>| {
        let log = window.byte(shift).filter(|log| range.contains(log));
        log.is_some_and(|log| value == 1 << log)
    };
    let sane = is_power(120, window.be32(4)?, 9..=16)
        && is_power(121, window.be16(102)?.into(), 9..=15)
        && is_power(122, window.be16(104)?.into(), 8..=11)
        && groups > 0
        && blocks <= group * groups
        && blocks >= group * (groups - 1) + SMALLEST_GROUP;
    if !sane {
        return Some("its superblock contradicts itself");
    }
    if window.byte(126)? != 0 {
        return Some("mkfs.xfs did not finish it");
    }
    (version == 5 && window.be32(216)? & NEEDS_REPAIR != 0).then_some("it is marked as in need of xfs_repair")
}

/// Covers the whole sector; the checksum field itself counts as zero.
fn sums_up(window: &Window) -> Option<bool> {
    let sector = window.bytes(0, window.be16(102)?.into())?;
    let (before, rest) = sector.split_at_checked(CHECKSUM)?;
    let after = rest.get(4..)?;
    Some(window.le32(CHECKSUM as u64)? == crc32c(&[before, &[0; 4], after]))
}
