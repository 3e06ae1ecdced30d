//! Partition tables: gpt and dos.

use super::checksum::crc32;
use super::foreign;
use super::state::damaged;
use super::window::Window;
use crate::host::disks::signature::Signature;

/// The logical block sizes of disks, in bytes: the header of a gpt is in the second block and in the last one.
const BLOCKS: [u64; 2] = [512, 4096];

/// The shortest valid header, in bytes.
const HEADER: u32 = 92;

/// Offset of the entries in a master boot record, the length of an entry, and the type of an entry that announces a
/// gpt.
const ENTRIES: u64 = 446;
const ENTRY: u64 = 16;
const PROTECTIVE: u8 = 0xee;

/// A gpt with its protective master boot record, without which the kernel ignores it.
pub(super) fn gpt(window: &Window) -> Option<Signature> {
    is_protected(window).then(|| header(window)).flatten()
}

/// A gpt without a master boot record, such as the copy at the end of a disk on which a filesystem was made.
pub(super) fn stray_gpt(window: &Window) -> Option<Signature> {
    (!is_protected(window)).then(|| header(window)).flatten()
}

/// A protective master boot record without a gpt, by the name that blkid(8) uses.
pub(super) fn protective_mbr(window: &Window) -> Option<Signature> {
    (is_protected(window) && header(window).is_none()).then(|| Signature::plain("PMBR"))
}

/// A dos table with at least one partition.
pub(super) fn dos(window: &Window) -> Option<Signature> {
    table(window, false)
}

/// A dos table without partitions. The first sector of a filesystem with a boot loader looks like one.
pub(super) fn empty_dos(window: &Window) -> Option<Signature> {
    table(window, true)
}

fn table(window: &Window, empty: bool) -> Option<Signature> {
    // Boot sectors have the same signature.
    let is_boot_sector = [foreign::bitlocker, foreign::vfat, foreign::exfat, foreign::ntfs].iter().any(|kind| kind(window).is_some());
    let entries = boot_record(window)?;
    let is_table = entries.iter().all(|entry| matches!(entry.boot, 0 | 0x80) && entry.kind != PROTECTIVE);
    if is_boot_sector || !is_table || entries.iter().all(|entry| entry.sectors == 0) != empty {
        return None;
    }
    let id = window.le32(440)?;
    Some(Signature { uuid: (id != 0).then(|| format!("{id:08x}")), ..Signature::plain("dos") })
}

struct Entry {
    boot: u8,
    kind: u8,
    sectors: u32,
}

fn boot_record(window: &Window) -> Option<[Entry; 4]> {
    let entry = |number: u64| {
        let at = ENTRIES + number * ENTRY;
        Some(Entry { boot: window.byte(at)?, kind: window.byte(at + 4)?, sectors: window.le32(at + 12)? })
    };
    window.has(510, &[0x55, 0xaa]).then(|| Some([entry(0)?, entry(1)?, entry(2)?, entry(3)?])).flatten()
}

fn is_protected(window: &Window) -> bool {
    boot_record(window).is_some_and(|entries| entries.iter().any(|entry| entry.kind == PROTECTIVE))
}

/// Reads the first header with a correct checksum or, if there is none, the first header.
fn header(window: &Window) -> Option<Signature> {
    let places = BLOCKS.into_iter().flat_map(|block| {
        let last = (window.size() / block).saturating_sub(1);
        [(block, 1), (block, last)]
    });
    let headers: Vec<(bool, Option<String>)> = places.filter_map(|(block, number)| header_at(window, block, number)).collect();
    let (is_good, uuid) = headers.iter().find(|(is_good, _)| *is_good).or(headers.first())?.clone();
    let plain = Signature { uuid, ..Signature::plain("gpt") };
    Some(if is_good { plain } else { Signature { state: damaged("the checksums of its headers are wrong"), ..plain } })
}

/// Whether the header in this block has a correct checksum, and the disk's UUID. `None` if there is no header.
fn header_at(window: &Window, block: u64, number: u64) -> Option<(bool, Option<String>)> {
    let at = block * number;
    if !window.has(at, b"EFI PART") {
        return None;
    }
    let length = window.le32(at + 12)?;
    let is_good = u64::from(length) <= block
        && length >= HEADER
        && window.le64(at + 24)? == number
        && window.bytes(at, usize::try_from(length).ok()?).is_some_and(|bytes| sums_up(bytes, window.le32(at + 16)));
    Some((is_good, window.guid(at + 56)))
}

/// The header's own checksum field counts as zero.
fn sums_up(header: &[u8], sum: Option<u32>) -> bool {
    let mut bytes = header.to_vec();
    bytes[16..20].fill(0);
    sum == Some(crc32(&bytes))
}
