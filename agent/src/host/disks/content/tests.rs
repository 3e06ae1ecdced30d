//! Superblocks made by hand, with what is looked at and little more. blkid(8) takes them for the same, but where a test
//! says what differs; and what the mkfs programs make is recognised as here.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::host::disks::signature::State;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 400 * MIB;
const UUID: [u8; 16] = *b"\x3f\x0b\xcb\xd7\x66\x0f\x4f\x07\xb6\x75\x13\xeb\xc8\x5f\xed\x88";
const WRITTEN: &str = "3f0bcbd7-660f-4f07-b675-13ebc85fed88";

/// A disk that is all zeros but for some bytes.
#[derive(Debug, Clone, Default)]
struct Image {
    size: u64,
    bytes: BTreeMap<u64, u8>,
}

impl Image {
    fn blank(size: u64) -> Self {
        Self { size, bytes: BTreeMap::new() }
    }

    fn with(mut self, at: u64, bytes: &[u8]) -> Self {
        self.bytes.extend((at..).zip(bytes.iter().copied()));
        self
    }

    /// A structure that begins at `at`: its fields, by their offsets.
    fn holding(self, at: u64, fields: &[(u64, &[u8])]) -> Self {
        fields.iter().fold(self, |image, (offset, bytes)| image.with(at + offset, bytes))
    }

    fn over(self, other: &Self) -> Self {
        Self { size: self.size, bytes: other.bytes.clone().into_iter().chain(self.bytes).collect() }
    }

    fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }

    fn bytes(&self, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| self.bytes.get(&at).copied().unwrap_or(0)).collect()
    }

    fn content(&self) -> Content {
        recognise(self).unwrap()
    }

    /// Kind, label, UUID, size and, if it is not clean, state of each signature.
    fn told(&self) -> String {
        let Content::Holds(signatures) = self.content() else { return format!("{:?}", self.content()) };
        let told = signatures.into_iter().map(|found| {
            let mut words = vec![found.kind];
            words.extend(found.label);
            words.extend(found.uuid.map(|uuid| if uuid == WRITTEN { "UUID".into() } else { uuid }));
            words.extend(found.size.map(|size| format!("{}M", size / MIB)));
            words.extend((found.state != State::Clean).then(|| format!("{:?}", found.state)));
            words.join(" ")
        });
        told.collect::<Vec<_>>().join(" + ")
    }
}

impl Source for Image {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        if at + buffer.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        for (place, byte) in self.bytes.range(at..at + buffer.len() as u64) {
            buffer[usize::try_from(place - at).unwrap()] = *byte;
        }
        Ok(())
    }
}

fn xfs() -> Image {
    let image = Image::blank(SIZE).holding(
        0,
        &[
            (0, b"XFSB"),
            (4, &4096_u32.to_be_bytes()),
            (8, &102_400_u64.to_be_bytes()),
            (32, &UUID),
            (80, &1_u32.to_be_bytes()),
            (84, &25_600_u32.to_be_bytes()),
            (88, &4_u32.to_be_bytes()),
            (100, &0xb4b5_u16.to_be_bytes()),
            (102, &512_u16.to_be_bytes()),
            (104, &512_u16.to_be_bytes()),
            (106, &8_u16.to_be_bytes()),
            (108, b"data"),
            (120, &[12, 9, 9, 3, 15, 0, 0, 25]),
        ],
    );
    summed_xfs(image)
}

fn summed_xfs(image: Image) -> Image {
    let image = image.with(224, &[0; 4]);
    let sum = checksum::crc32c(&[&image.bytes(0, 512)]);
    image.with(224, &sum.to_le_bytes())
}

/// Features: compatible, incompatible, read-only.
fn ext(state: u16, [compatible, incompatible, read_only]: [u32; 3]) -> Image {
    let image = Image::blank(SIZE).holding(
        1024,
        &[
            (0x4, &409_600_u32.to_le_bytes()),
            (0x18, &0_u32.to_le_bytes()),
            (0x38, &[0x53, 0xef]),
            (0x3a, &state.to_le_bytes()),
            (0x5c, &compatible.to_le_bytes()),
            (0x60, &incompatible.to_le_bytes()),
            (0x64, &read_only.to_le_bytes()),
            (0x68, &UUID),
            (0x78, b"data"),
        ],
    );
    let sum = !checksum::crc32c(&[&image.bytes(1024, 1020)]);
    image.with(2044, &if read_only & 0x400 != 0 { sum } else { 0 }.to_le_bytes())
}

fn btrfs(log: u64) -> Image {
    let image = Image::blank(SIZE).holding(
        64 << 10,
        &[
            (0x20, &UUID),
            (0x30, &(64_u64 << 10).to_le_bytes()),
            (0x40, b"_BHRfS_M"),
            (0x60, &log.to_le_bytes()),
            (0xd1, &SIZE.to_le_bytes()),
            (0x12b, b"data"),
        ],
    );
    let sum = checksum::crc32c(&[&image.bytes((64 << 10) + 32, 4096 - 32)]);
    image.with(64 << 10, &sum.to_le_bytes())
}

fn swap(page: u64, version: u32) -> Image {
    let last = u32::try_from(SIZE / page - 1).unwrap();
    let header: [(u64, &[u8]); 4] = [(0, &version.to_le_bytes()), (4, &last.to_le_bytes()), (12, &UUID), (28, b"data")];
    Image::blank(SIZE).with(page - 10, b"SWAPSPACE2").holding(1024, &header)
}

fn lvm(sector: u64) -> Image {
    let at = sector * 512;
    let id = b"MWyP5SMpiNNWWJNEHfUPRAXD9H33e4zw";
    let fields: [(u64, &[u8]); 4] = [(0, b"LABELONE"), (8, &sector.to_le_bytes()), (20, b"\x20\0\0\0LVM2 001"), (32, id)];
    let image = Image::blank(SIZE).holding(at, &fields);
    let sum = checksum::lvm(&image.bytes(at + 20, 492));
    image.with(at + 16, &sum.to_le_bytes())
}

fn raid(at: u64) -> Image {
    let place = (at / 512).to_le_bytes();
    Image::blank(SIZE).holding(at, &[(0, &0xa92b_4efc_u32.to_le_bytes()), (4, &[1, 0, 0, 0]), (16, &UUID), (32, b"host:0"), (144, &place)])
}

fn old_raid() -> Image {
    let word = |range: std::ops::Range<usize>| {
        let mut word = UUID[range].to_vec();
        word.reverse();
        word
    };
    Image::blank(SIZE).holding(
        SIZE - (64 << 10),
        &[
            (0, &0xa92b_4efc_u32.to_le_bytes()),
            (8, &90_u32.to_le_bytes()),
            (20, &word(0..4)),
            (32, &(409_600_u32 - 64).to_le_bytes()),
            (52, &word(4..8)),
            (56, &word(8..12)),
            (60, &word(12..16)),
        ],
    )
}

fn luks(at: u64, magic: &[u8], version: u16) -> Image {
    let (version, place) = (version.to_be_bytes(), at.to_be_bytes());
    let fields: [(u64, &[u8]); 5] = [(0, magic), (6, &version), (24, b"data"), (168, WRITTEN.as_bytes()), (256, &place)];
    Image::blank(SIZE).holding(at, &fields)
}

fn zfs(count: u64) -> Image {
    (0..count).fold(Image::blank(SIZE), |image, number| {
        // Spread over the first and the last of the four labels.
        let label = if number % 2 == 0 { 0 } else { SIZE - (256 << 10) };
        image.with(label + (128 << 10) + number * 1024, &0x00ba_b10c_u64.to_le_bytes())
    })
}

fn boot_sector(magic: (u64, &[u8])) -> Image {
    Image::blank(SIZE).holding(
        0,
        &[
            (0, b"\xeb\x3c\x90mkfs.fat"),
            (0x0b, &512_u16.to_le_bytes()),
            (0x0d, &[16]),
            (0x0e, &4_u16.to_le_bytes()),
            (0x10, &[2]),
            (0x11, &512_u16.to_le_bytes()),
            (0x15, &[0xf8]),
            (0x16, &200_u16.to_le_bytes()),
            (0x20, &819_200_u32.to_le_bytes()),
            (0x27, &0x8d6d_c7f6_u32.to_le_bytes()),
            (0x2b, b"DATA       "),
            magic,
            (510, &[0x55, 0xaa]),
        ],
    )
}

fn mbr(kind: u8, sectors: u32) -> Image {
    let fields: [(u64, &[u8]); 5] = [
        (440, &0xc2e6_3a13_u32.to_le_bytes()),
        (450, &[kind]),
        (454, &2048_u32.to_le_bytes()),
        (458, &sectors.to_le_bytes()),
        (510, &[0x55, 0xaa]),
    ];
    Image::blank(SIZE).holding(0, &fields)
}

fn gpt_header(block: u64, number: u64) -> Image {
    let mut guid = UUID;
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    let at = block * number;
    let fields: [(u64, &[u8]); 4] = [(0, b"EFI PART\0\0\x01\0"), (12, &92_u32.to_le_bytes()), (24, &number.to_le_bytes()), (56, &guid)];
    let image = Image::blank(SIZE).holding(at, &fields);
    let sum = checksum::crc32(&image.bytes(at, 92));
    image.with(at + 16, &sum.to_le_bytes())
}

const JOURNAL: [u32; 3] = [0x4, 0x2, 0x1];
const MODERN: [u32; 3] = [0x3c, 0x2c2, 0x46b];

#[test]
fn recognises_what_ingot_makes() {
    for (image, told) in [
        (xfs(), "xfs data UUID 400M"),
        (ext(1, MODERN), "ext4 data UUID 400M"),
        (ext(1, JOURNAL), "ext3 data UUID 400M"),
        (ext(1, [0, 0x2, 0x1]), "ext2 data UUID 400M"),
        // What only ext4 knows, without a journal.
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
        (Image::blank(SIZE).with(4086, b"SWAP-SPACE"), "it is of version 0"),
    ] {
        let told = image.told();
        assert!(told.contains(state) && !told.contains(" + "), "{told}: not {state}");
    }
}

/// Version 4 has no checksum, and another kind of btrfs checksum is not verified.
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
        // The copy of a gpt, the second header of a LUKS, and the last bytes of a swap header: mkfs leaves them.
        (gpt_header(512, SIZE / 512 - 1).over(&ext(1, MODERN)), "ext4 data UUID 400M"),
        (luks(0x4000, b"SKUL\xba\xbe", 2).over(&xfs()), "xfs data UUID 400M"),
        (Image::blank(SIZE).with(0xff6, b"SWAPSPACE2").over(&btrfs(0)), "btrfs data UUID 400M"),
        (zfs(3).over(&xfs()), "xfs data UUID 400M"),
        // Boot sectors end as a dos table does.
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
    // Nobody keeps anything there alone.
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
        // Whatever it is now, it is not to be overwritten.
        prop_assume!(garbled.bytes.values().any(|byte| *byte != 0));
        prop_assert_ne!(garbled.content(), Content::Blank);
    }

    #[test]
    fn nothing_is_too_random_to_be_read(bytes: Vec<u8>, at in 0_u64..70_000, size in 0..2 * MIB) {
        Image::blank(size).with(at, &bytes).content();
    }
}
