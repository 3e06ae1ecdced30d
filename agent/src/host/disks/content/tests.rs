//! Hand-made superblocks that contain little more than what is checked. Except where a test states a difference,
//! blkid(8) recognizes them as the same; and the output of the mkfs programs is recognized as here.

mod images;

use proptest::prelude::*;

use self::images::{
    Image, MIB, SIZE, UUID, boot_sector, btrfs, ext, gpt_header, luks, lvm, mbr, old_raid, raid, summed_xfs, swap, xfs, zfs,
};
use super::*;

const JOURNAL: [u32; 3] = [0x4, 0x2, 0x1];
const MODERN: [u32; 3] = [0x3c, 0x2c2, 0x46b];

#[test]
fn recognises_what_ingot_makes() {
    for (image, told) in [
        (xfs(), "xfs data UUID 400M"),
        (ext(1, MODERN), "ext4 data UUID 400M"),
        (ext(1, JOURNAL), "ext3 data UUID 400M"),
        (ext(1, [0, 0x2, 0x1]), "ext2 data UUID 400M"),
        // A feature that only ext4 knows, without a journal.
        (ext(1, [0, 0x242, 0x1]), "ext4 data UUID 400M"),
        (ext(1, [0, 0x8, 0]), "jbd data UUID 400M"),
        (btrfs(0), "btrfs data UUID 400M"),
        (swap(4096, 1), "swap data UUID 400M"),
        (swap(65536, 1), "swap data UUID 400M"),
    ] {
        assert_eq!(image.told(), told);
    }
}

#[test]
fn tells_in_which_state_it_was_left() {
    let no_blocks = ext(1, JOURNAL).with(1024 + 4, &[0; 4]);
    for (image, state) in [
        (ext(1, [0x3c, 0x2c6, 0x46b]), "Unreplayed"),
        (ext(3, [0x3c, 0x2c6, 0x46b]), "Unchecked"),
        (ext(0, [0, 0x242, 0x1]), "Unchecked"),
        (btrfs(1 << 20), "Unreplayed"),
        (xfs().with(126, &[1]), "checksum of its superblock is wrong"),
        (summed_xfs(xfs().with(126, &[1])), "mkfs.xfs did not finish it"),
        (summed_xfs(xfs().with(216, &16_u32.to_be_bytes())), "it is marked as in need of xfs_repair"),
        (summed_xfs(xfs().with(120, &[11])), "its superblock contradicts itself"),
        (summed_xfs(xfs().with(88, &9_u32.to_be_bytes())), "its superblock contradicts itself"),
        (xfs().sized(300 * MIB), "it says 419430400 bytes, and the device has 314572800"),
        (ext(1, MODERN).with(1024 + 0x30, b"x"), "checksum of its superblock is wrong"),
        (ext(1, MODERN).sized(SIZE - 1), "it says 419430400 bytes, and the device has 419430399"),
        (no_blocks, "its superblock contradicts itself"),
        (ext(1, JOURNAL).with(1024 + 0x18, &[200]), "its superblock contradicts itself"),
        (btrfs(0).with((64 << 10) + 0x70, b"x"), "checksum of its superblock is wrong"),
        (btrfs(0).sized(300 * MIB), "it says 419430400 bytes, and the device has 314572800"),
        (swap(4096, 1).sized(300 * MIB), "it says 419430400 bytes, and the device has 314572800"),
        (swap(4096, 0x0100_0000), "it was made on a machine of the other byte order"),
        (swap(4096, 2), "its header contradicts itself"),
        (Image::blank(SIZE).with(4086, b"SWAP-SPACE"), "its version is 0"),
    ] {
        let told = image.told();
        assert!(told.contains(state) && !told.contains(" + "), "{told}: not {state}");
    }
}

/// XFS version 4 has no checksum, and btrfs checksums of other types are not verified.
#[test]
fn believes_what_has_no_checksum_that_it_knows() {
    assert_eq!(xfs().with(100, &0xb4a4_u16.to_be_bytes()).with(300, b"x").told(), "xfs data UUID 400M");
    assert_eq!(btrfs(0).with((64 << 10) + 0xc4, &[1]).told(), "btrfs data UUID 400M");
}

#[test]
fn recognises_what_is_others() {
    for (image, told) in [
        (lvm(1), "LVM2_member MWyP5S-MpiN-NWWJ-NEHf-UPRA-XD9H-33e4zw"),
        (lvm(3), "LVM2_member MWyP5S-MpiN-NWWJ-NEHf-UPRA-XD9H-33e4zw"),
        (raid(0), "linux_raid_member host:0 UUID"),
        (raid(4096), "linux_raid_member host:0 UUID"),
        (raid(SIZE - 8192), "linux_raid_member host:0 UUID"),
        (old_raid(), "linux_raid_member UUID"),
        (luks(0, b"LUKS\xba\xbe", 1), "crypto_LUKS UUID"),
        (luks(0, b"LUKS\xba\xbe", 2), "crypto_LUKS data UUID"),
        (luks(0x4000, b"SKUL\xba\xbe", 2), "crypto_LUKS data UUID"),
        (luks(0x40_0000, b"SKUL\xba\xbe", 2), "crypto_LUKS data UUID"),
        (zfs(4), "zfs_member"),
        (boot_sector((0x36, b"FAT16   ")), "vfat DATA 8d6d-c7f6"),
        (boot_sector((0x36, b"")), "vfat DATA 8d6d-c7f6"),
        (Image::blank(SIZE).with(0, b"hsqs").with(28, &[4]), "squashfs"),
        (Image::blank(SIZE).with(0x8001, b"CD001").with(0x8028, b"CD      "), "iso9660 CD"),
        (Image::blank(SIZE).with(0x8000, b"JFS1"), "jfs"),
        (Image::blank(SIZE).with(0x1_0034, b"ReIsEr2Fs"), "reiserfs"),
        (Image::blank(SIZE).holding(1024, &[(0, b"\xe2\xe1\xf5\xe0"), (48, &UUID)]), "erofs UUID"),
        (Image::blank(SIZE).holding(1024, &[(0, b"\x10\x20\xf5\xf2"), (108, &UUID)]), "f2fs UUID"),
        (Image::blank(SIZE).with(SIZE - 4096 + 60, &0x8374_026b_u32.to_be_bytes()), "drbd"),
        (Image::blank(SIZE).with(0xff6, b"S1SUSPEND"), "swsuspend"),
        (Image::blank(SIZE).with(0x20_0000, b"\x5e\xf1\xab\x2f"), "VMFS"),
        (mbr(0x83, 2048), "dos c2e63a13"),
        (mbr(0, 0), "dos c2e63a13"),
        (mbr(0xee, 2048).over(&gpt_header(512, 1)), "gpt UUID"),
        (mbr(0xee, 2048).over(&gpt_header(4096, 1)), "gpt UUID"),
        // Only its copy is left.
        (mbr(0xee, 2048).over(&gpt_header(512, SIZE / 512 - 1)), "gpt UUID"),
        (gpt_header(512, SIZE / 512 - 1), "gpt UUID"),
        (mbr(0xee, 2048).over(&gpt_header(512, 1).with(512 + 40, b"x")), "gpt UUID Damaged(\"the checksums of its headers are wrong\")"),
        (mbr(0xee, 2048), "PMBR"),
    ] {
        assert_eq!(image.told(), told);
    }
}

#[test]
fn names_everything_that_is_there_and_nothing_that_is_left_over() {
    for (image, told) in [
        (swap(4096, 1).over(&btrfs(0)), "btrfs data UUID 400M + swap data UUID 400M"),
        (mbr(0x83, 2048).over(&ext(1, MODERN)), "ext4 data UUID 400M + dos c2e63a13"),
        (zfs(4).over(&xfs()), "xfs data UUID 400M + zfs_member"),
        // A boot loader in the first sector.
        (mbr(0, 0).over(&ext(1, MODERN)), "ext4 data UUID 400M"),
        // The copy of a gpt, the second LUKS header, and the last bytes of a swap header: mkfs does not erase them.
        (gpt_header(512, SIZE / 512 - 1).over(&ext(1, MODERN)), "ext4 data UUID 400M"),
        (luks(0x4000, b"SKUL\xba\xbe", 2).over(&xfs()), "xfs data UUID 400M"),
        (Image::blank(SIZE).with(0xff6, b"SWAPSPACE2").over(&btrfs(0)), "btrfs data UUID 400M"),
        (zfs(3).over(&xfs()), "xfs data UUID 400M"),
        // Boot sectors end like a dos table.
        (boot_sector((462, b"\0")), "vfat DATA 8d6d-c7f6"),
    ] {
        assert_eq!(image.told(), told);
    }
}

#[test]
fn is_not_taken_in_by_a_magic_number_alone() {
    for image in [
        lvm(1).with(512 + 8, &[2]),
        raid(4096).with(4096 + 144, &[7]),
        old_raid().with(SIZE - (64 << 10) + 32, &u32::MAX.to_le_bytes()),
        luks(0x8000, b"SKUL\xba\xbe", 2).with(0x8000 + 256, &[1]),
        mbr(0x83, 2048).with(446, &[0x33]),
        boot_sector((0x10, &[0])).with(446, &[1]),
    ] {
        let told = image.told();
        assert!(told.starts_with("Unknown") || told.contains("Damaged"), "{told}");
    }
}

#[test]
fn nothing_but_zeros_is_blank() {
    for size in [0, 1, 511, 4096, MIB, 2 * MIB + 1, SIZE, 1 << 40] {
        assert_eq!(Image::blank(size).content(), Content::Blank, "{size}");
    }
    for (at, shown) in
        [(0, 0), (70_000, 70_000), (MIB - 1, MIB - 1), (2 * MIB, 2 * MIB), (64 * MIB + 100, 64 * MIB + 100), (SIZE - 1, SIZE - 1)]
    {
        let Content::Unknown { at: found, bytes } = Image::blank(SIZE).with(at, b"\x7f").content() else { panic!("{at} is not seen") };
        assert_eq!(found, shown);
        assert!(bytes.starts_with("7f") && bytes.len() <= 32, "{bytes}");
    }
    // No known format has data there only.
    assert_eq!(Image::blank(SIZE).with(100 * MIB, b"x").content(), Content::Blank);
    let text = Image::blank(SIZE).with(9000, b"hello, world: data").content();
    assert_eq!(text, Content::Unknown { at: 9000, bytes: "68656c6c6f2c20776f726c643a206461".into() });
}

#[test]
fn sums_as_everybody_does() {
    // The check values of the catalogue of parametrised CRC algorithms.
    assert_eq!(checksum::crc32(b"123456789"), 0xcbf4_3926);
    assert_eq!(checksum::crc32c(&[b"1234", b"56789"]), 0xe306_9283);
}

fn every() -> Vec<Image> {
    vec![
        xfs(),
        ext(1, MODERN),
        ext(1, JOURNAL),
        btrfs(0),
        swap(4096, 1),
        lvm(1),
        raid(4096),
        raid(SIZE - 8192),
        old_raid(),
        luks(0, b"LUKS\xba\xbe", 2),
        zfs(4),
        boot_sector((0x36, b"FAT16   ")),
        mbr(0x83, 1),
        mbr(0xee, 1).over(&gpt_header(512, 1)),
        gpt_header(512, SIZE / 512 - 1),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_too_short_to_be_read(number in 0..every().len(), size in 0..3 * MIB) {
        every()[number].clone().sized(size).content();
    }

    #[test]
    fn nothing_is_too_garbled_to_be_read(number in 0..every().len(), changes in proptest::collection::vec((0_u64..4096, any::<u8>()), 1..40)) {
        let image = every()[number].clone();
        let places: Vec<u64> = image.bytes.keys().copied().collect();
        let garbled = changes.into_iter().fold(image, |image, (at, byte)| {
            let place = places[usize::try_from(at).unwrap() % places.len()];
            image.with(place, &[byte]).with(at, &[byte])
        });
        // Whatever it is now, it must not be overwritten.
        prop_assume!(garbled.bytes.values().any(|byte| *byte != 0));
        prop_assert_ne!(garbled.content(), Content::Blank);
    }

    #[test]
    fn nothing_is_too_random_to_be_read(bytes: Vec<u8>, at in 0_u64..70_000, size in 0..2 * MIB) {
        Image::blank(size).with(at, &bytes).content();
    }
}
