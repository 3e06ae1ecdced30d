//! Recognizes what a disk contains by the signatures that libblkid knows: its magic numbers, offsets and checks. Pure.
//!
//! It is stricter than blkid(8) where that protects data: a disk with the magic number of a filesystem and inconsistent
//! fields counts as that filesystem, damaged, rather than as empty; and it is blank only if every place where a
//! signature could be is all zeros.
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

/// A recognizer for one kind of content.
type Kind = fn(&Window) -> Option<Signature>;

/// Kinds that count wherever they are found. Each lies at the beginning or at the end of a disk.
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

/// Kinds that an earlier use may have left next to a filesystem and that are then meaningless: they count only if
/// nothing else is found.
const REMAINS: &[Kind] =
    &[swap::broken, tables::stray_gpt, tables::protective_mbr, tables::empty_dos, members::luks_second, foreign::vmware];

/// Recognizes what a disk contains, from its first and last mebibyte and, if those are inconclusive, a few more pages.
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
