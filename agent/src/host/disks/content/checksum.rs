//! Checksums of superblocks. Computed without tables: only a few kilobytes are summed, and a table would be as large.

use crc::{Algorithm, CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, NoTable};

/// The CRC of GPT, which is that of Ethernet.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC).checksum(bytes)
}

/// CRC32C, used by XFS and btrfs.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let crc = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);
    let mut digest = crc.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// The CRC of LVM2: that of Ethernet with its own initial value, and not inverted at the end.
pub(super) fn lvm(bytes: &[u8]) -> u32 {
    const LVM: Algorithm<u32> = Algorithm { init: 0xf597_a6cf_u32.reverse_bits(), xorout: 0, ..CRC_32_ISO_HDLC };
    Crc::<u32, NoTable>::new(&LVM).checksum(bytes)
}
