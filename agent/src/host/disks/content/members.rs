//! Parts of a larger structure, and locked content: LVM, RAID, LUKS, ZFS, bcache, DRBD.

use super::checksum::lvm as lvm_checksum;
use super::state::damaged;
use super::window::{Window, written};
use crate::host::disks::signature::Signature;

const SECTOR: u64 = 512;

/// A physical volume of LVM2: its label is in one of the first four sectors.
pub(super) fn lvm(window: &Window) -> Option<Signature> {
    let number = (0..4).find(|sector| window.has(sector * SECTOR, b"LABELONE") && window.has(sector * SECTOR + 24, b"LVM2 001"))?;
    let at = number * SECTOR;
    // Covers the field after the checksum to the end of the sector.
    let is_good = window.le64(at + 8)? == number && lvm_checksum(window.bytes(at + 20, 512 - 20)?) == window.le32(at + 16)?;
    let uuid = window.text(at + 32, 32).filter(|text| text.len() == 32 && text.is_ascii()).map(|text| {
        // As LVM writes it, which is case-sensitive.
        [&text[..6], &text[6..10], &text[10..14], &text[14..18], &text[18..22], &text[22..26], &text[26..]].join("-")
    });
    let plain = Signature { uuid, ..Signature::plain("LVM2_member") };
    Some(if is_good { plain } else { Signature { state: damaged("the checksum of its label is wrong"), ..plain } })
}

const RAID: u32 = 0xa92b_4efc;

/// A member of an md array: versions 0.90 and 1.0 at the end, 1.1 at the beginning, 1.2 one page after it.
pub(super) fn raid(window: &Window) -> Option<Signature> {
    let size = window.size();
    let last_page = (size & !0xfff).checked_sub(0x2000);
    old_raid(window).or_else(|| last_page.into_iter().chain([0, 0x1000]).find_map(|at| new_raid(window, at)))
}

fn new_raid(window: &Window, at: u64) -> Option<Signature> {
    let is_member = window.le32(at)? == RAID && window.le32(at + 4)? == 1 && window.le64(at + 144)? == at / SECTOR;
    let plain = Signature::plain("linux_raid_member");
    is_member.then(|| Signature { uuid: window.uuid(at + 16), label: window.text(at + 32, 32), ..plain })
}

fn old_raid(window: &Window) -> Option<Signature> {
    const RESERVED: u64 = 64 << 10;
    let at = (window.size() & !(RESERVED - 1)).checked_sub(RESERVED)?;
    let used = u64::from(window.le32(at + 32)?) << 10;
    if window.le32(at)? != RAID || window.size() < used + RESERVED || at < used {
        return None;
    }
    let mut uuid = [0; 16];
    for (word, place) in uuid.chunks_exact_mut(4).zip([20, 52, 56, 60]) {
        word.copy_from_slice(&window.le32(at + place)?.to_be_bytes());
    }
    Some(Signature { uuid: written(uuid), ..Signature::plain("linux_raid_member") })
}

/// LUKS, version 1 or 2, by its first header.
pub(super) fn luks(window: &Window) -> Option<Signature> {
    luks_at(window, 0, b"LUKS\xba\xbe")
}

/// LUKS2, by its second header if the first was overwritten.
pub(super) fn luks_second(window: &Window) -> Option<Signature> {
    (14..=22).find_map(|power| luks_at(window, 1 << power, b"SKUL\xba\xbe"))
}

fn luks_at(window: &Window, at: u64, magic: &[u8]) -> Option<Signature> {
    let version = window.be16(at + 6)?;
    // A header of the second version contains its own offset.
    if !window.has(at, magic) || (version == 2 && window.be64(at + 256)? != at) {
        return None;
    }
    let label = if version == 2 { window.text(at + 24, 48) } else { None };
    Some(Signature { label, uuid: window.text(at + 168, 40), ..Signature::plain("crypto_LUKS") })
}

/// A member of a ZFS pool. It has four labels of 256 KiB, two at each end, each with 128 slots for an uberblock in its
/// second half. A single uberblock may be left over from an earlier pool; like libblkid, this asks for four.
pub(super) fn zfs(window: &Window) -> Option<Signature> {
    const LABEL: u64 = 256 << 10;
    const MAGIC: u64 = 0x00ba_b10c;
    let end = window.size() / LABEL * LABEL;
    let labels = [Some(0), Some(LABEL), end.checked_sub(2 * LABEL), end.checked_sub(LABEL)];
    let blocks = labels.into_iter().flatten().flat_map(|label| (128..256).map(move |block| label + block * 1024));
    let count = blocks.filter_map(|at| window.le64(at)).filter(|word| *word == MAGIC || word.swap_bytes() == MAGIC).count();
    (count >= 4).then(|| Signature::plain("zfs_member"))
}

pub(super) fn bcache(window: &Window) -> Option<Signature> {
    const AT: u64 = 4096;
    const MAGIC: &[u8] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    let is_one = window.has(AT + 24, MAGIC) && window.le64(AT + 8)? == AT / SECTOR;
    is_one.then(|| Signature { uuid: window.uuid(AT + 40), ..Signature::plain("bcache") })
}

pub(super) fn drbd(window: &Window) -> Option<Signature> {
    /// Version 8.3, the same if it was not closed cleanly, and version 9.
    const MAGICS: [u32; 3] = [0x8374_026b, 0x8374_026c, 0x8374_026d];
    let at = window.size().checked_sub(4096)?;
    let is_one = MAGICS.contains(&window.be32(at + 60)?);
    is_one.then(|| Signature::plain("drbd"))
}
