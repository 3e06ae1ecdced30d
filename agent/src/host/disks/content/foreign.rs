//! Filesystems that ingot neither makes nor grows but must not overwrite.

use super::window::Window;
use crate::host::disks::signature::Signature;

/// Kinds identified by one magic number that is too long to occur by chance.
const MAGICS: &[(&str, u64, &[u8])] = &[
    ("jfs", 0x8000, b"JFS1"),
    ("reiserfs", 0x1_0034, b"ReIsEr"),
    ("reiser4", 0x1_0000, b"ReIsEr4"),
    ("bcachefs", 0x1018, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
    ("gfs2", 0x1_0000, b"\x01\x16\x19\x70"),
    ("ocfs2", 0x400, b"OCFSV2"),
    ("ocfs2", 0x800, b"OCFSV2"),
    ("ocfs2", 0x1000, b"OCFSV2"),
    ("ocfs2", 0x2000, b"OCFSV2"),
    ("apfs", 32, b"NXSB"),
    ("udf", 0x8001, b"NSR02"),
    ("stratis", 0x204, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("stratis", 0x1204, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("ceph_bluestore", 0, b"bluestore block device"),
    ("vdo", 0, b"dmvdo001"),
    ("DM_verity_hash", 0, b"verity\0\0"),
    ("DM_snapshot_cow", 0, b"SnAp"),
];

/// The same for VMware, whose magic numbers lie further into the disk.
const VMWARE: &[(&str, u64, &[u8])] = &[("VMFS_volume_member", 0x10_0000, b"\x0d\xd0\x01\xc0"), ("VMFS", 0x20_0000, b"\x5e\xf1\xab\x2f")];

pub(super) fn other(window: &Window) -> Option<Signature> {
    first(MAGICS, window)
}

pub(super) fn vmware(window: &Window) -> Option<Signature> {
    first(VMWARE, window)
}

fn first(magics: &[(&str, u64, &[u8])], window: &Window) -> Option<Signature> {
    magics.iter().find(|(_, at, magic)| window.has(*at, magic)).map(|(kind, ..)| Signature::plain(kind))
}

pub(super) fn bitlocker(window: &Window) -> Option<Signature> {
    let is_one = window.has(0, b"\xeb\x52\x90-FVE-FS-")
        || window.has(0, b"\xeb\x58\x90-FVE-FS-")
        // On a removable disk it looks like FAT; only the GUID (4967d63b-2e29-4ad8-8399-f6a339e3d001) tells them apart.
        || (window.has(0, b"\xeb\x58\x90MSWIN4.1") && window.has(424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"));
    is_one.then(|| Signature::plain("BitLocker"))
}

/// FAT12, FAT16 or FAT32. Some carry no name: then the whole geometry must be plausible.
pub(super) fn vfat(window: &Window) -> Option<Signature> {
    let is_named =
        [(0x52, &b"MSWIN"[..]), (0x52, b"FAT32   "), (0x36, b"MSDOS"), (0x36, b"FAT16   "), (0x36, b"FAT12   "), (0x36, b"FAT     ")]
            .into_iter()
            .any(|(at, magic)| window.has(at, magic));
    // OS/2 puts such a sector in front of other filesystems.
    let is_bootable = window.has(510, &[0x55, 0xaa]) && !window.has(0x36, b"JFS     ") && !window.has(0x36, b"HPFS    ");
    if !(is_named || is_bootable) || bitlocker(window).is_some() || !has_fat_geometry(window)? {
        return None;
    }
    let is_fat32 = window.le16(0x16)? == 0;
    let (serial, name) = if is_fat32 { (0x43, 0x47) } else { (0x27, 0x2b) };
    let serial = window.le32(serial)?;
    let label = window.text(name, 11).filter(|label| label != "NO NAME");
    Some(Signature { label, uuid: Some(format!("{:04x}-{:04x}", serial >> 16, serial & 0xffff)), ..Signature::plain("vfat") })
}

fn has_fat_geometry(window: &Window) -> Option<bool> {
    let (sector, cluster, reserved) = (window.le16(0x0b)?, u32::from(window.byte(0x0d)?), window.le16(0x0e)?);
    let (fats, entries, media) = (window.byte(0x10)?, window.le16(0x11)?, window.byte(0x15)?);
    let or = |short: u16, long: Option<u32>| if short == 0 { long } else { Some(short.into()) };
    let sectors = or(window.le16(0x13)?, window.le32(0x20))?;
    let short_fat = window.le16(0x16)?;
    let fat = or(short_fat, window.le32(0x24))?;
    let is_sane = fats > 0
        && reserved > 0
        && (media == 0xf0 || media >= 0xf8)
        && cluster.is_power_of_two()
        && matches!(sector, 512 | 1024 | 2048 | 4096);
    if !is_sane {
        return Some(false);
    }
    let directory = (u64::from(entries) * 32).div_ceil(sector.into());
    let overhead = u64::from(reserved) + u64::from(fat) * u64::from(fats) + directory;
    let Some(data) = u64::from(sectors).checked_sub(overhead) else { return Some(false) };
    let clusters = data / u64::from(cluster);
    Some(clusters <= if short_fat == 0 && fat > 0 { 0x0fff_fff6 } else { 0xfff4 })
}

pub(super) fn exfat(window: &Window) -> Option<Signature> {
    let is_one = window.has(0, b"\xeb\x76\x90EXFAT   ") && window.has(510, &[0x55, 0xaa]) && window.has(11, &[0; 53]);
    let serial = window.le32(100)?;
    is_one.then(|| Signature { uuid: Some(format!("{:04x}-{:04x}", serial >> 16, serial & 0xffff)), ..Signature::plain("exfat") })
}

pub(super) fn ntfs(window: &Window) -> Option<Signature> {
    let (sector, cluster) = (window.le16(0x0b)?, window.byte(0x0d)?);
    // NTFS does not use reserved sectors, FATs, root entries and the two small sector counts.
    let is_one = window.has(3, b"NTFS    ")
        && matches!(sector, 256 | 512 | 1024 | 2048 | 4096)
        && (cluster.is_power_of_two() || cluster >= 240)
        && window.has(0x0e, &[0; 7])
        && window.has(0x16, &[0; 2])
        && window.has(0x20, &[0; 4]);
    let serial = window.le64(0x48)?;
    is_one.then(|| Signature { uuid: Some(format!("{serial:016x}")), ..Signature::plain("ntfs") })
}

pub(super) fn iso9660(window: &Window) -> Option<Signature> {
    window.has(0x8001, b"CD001").then(|| Signature { label: window.text(0x8028, 32), ..Signature::plain("iso9660") })
}

pub(super) fn squashfs(window: &Window) -> Option<Signature> {
    let is_one = (window.has(0, b"hsqs") && window.le16(28)? >= 4) || (window.has(0, b"sqsh") && window.be16(28)? < 4);
    is_one.then(|| Signature::plain("squashfs"))
}

pub(super) fn erofs(window: &Window) -> Option<Signature> {
    const AT: u64 = 1024;
    let is_one = window.le32(AT)? == 0xe0f5_e1e2;
    is_one.then(|| Signature { uuid: window.uuid(AT + 48), label: window.text(AT + 64, 16), ..Signature::plain("erofs") })
}

pub(super) fn f2fs(window: &Window) -> Option<Signature> {
    const AT: u64 = 1024;
    // A second superblock follows in the next page.
    let at = [AT, AT + 4096].into_iter().find(|at| window.le32(*at) == Some(0xf2f5_2010))?;
    Some(Signature { uuid: window.uuid(at + 108), ..Signature::plain("f2fs") })
}
