//! What lies on a disk, by the signatures that libblkid knows: its magic numbers, its offsets, its checks. Pure.
//!
//! It is stricter than blkid(8) where that protects data: what has the magic number of a filesystem and contradicts itself
//! is that filesystem, damaged, and not nothing; and nothing but zeros wherever anything could be is blank.
//!
//! Source: <https://github.com/util-linux/util-linux/tree/master/libblkid/src/superblocks>

mod btrfs;
mod checksum;
mod ext;
mod foreign;
mod members;
mod state;
mod swap;
mod tables;
#[cfg(test)]
mod tests;
mod window;
mod xfs;

use std::io;

use super::signature::{Content, Signature};
pub(super) use window::Source;
use window::Window;

/// One kind of thing that a disk may hold.
type Kind = fn(&Window) -> Option<Signature>;

/// What counts wherever it is found. Each of them is at the beginning of a disk or at its end.
const KINDS: &[Kind] = &[
    xfs::xfs,
    ext::ext,
    btrfs::btrfs,
    swap::swap,
    swap::hibernation,
    members::lvm,
    members::raid,
    members::luks,
    members::zfs,
    members::bcache,
    members::drbd,
    foreign::bitlocker,
    foreign::vfat,
    foreign::exfat,
    foreign::ntfs,
    foreign::iso9660,
    foreign::squashfs,
    foreign::erofs,
    foreign::f2fs,
    foreign::other,
    tables::gpt,
    tables::dos,
];

/// What an earlier use may have left beside a filesystem, and what then means nothing: it counts where there is nothing
/// else.
const REMAINS: &[Kind] =
    &[swap::broken, tables::stray_gpt, tables::protective_mbr, tables::empty_dos, members::luks_second, foreign::vmware];

/// Reads what lies on a disk: its first and its last mebibyte and, if they tell nothing, a few pages more.
pub(super) fn recognise(source: &dyn Source) -> io::Result<Content> {
    let mut window = Window::of_ends(source)?;
    let signatures = found(KINDS, &window);
    if !signatures.is_empty() {
        return Ok(Content::Holds(signatures));
    }
    window.look_further(source)?;
    let remains = found(REMAINS, &window);
    if !remains.is_empty() {
        return Ok(Content::Holds(remains));
    }
    Ok(match window.first_data() {
        Some((at, bytes)) => Content::Unknown { at, bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        None => Content::Blank,
    })
}

fn found(kinds: &[Kind], window: &Window) -> Vec<Signature> {
    kinds.iter().filter_map(|kind| kind(window)).collect()
}
