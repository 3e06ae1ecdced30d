//! Hand-made superblocks that contain little more than what is checked.

use std::collections::BTreeMap;
use std::io;

use super::super::{Source, checksum, recognise};
use crate::host::disks::signature::{Content, State};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const SIZE: u64 = 400 * MIB;
pub(super) const UUID: [u8; 16] = *b"\x3f\x0b\xcb\xd7\x66\x0f\x4f\x07\xb6\x75\x13\xeb\xc8\x5f\xed\x88";
pub(super) const WRITTEN: &str = "3f0bcbd7-660f-4f07-b675-13ebc85fed88";

/// A disk that is all zeros except for some bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    size: u64,
    pub(super) bytes: BTreeMap<u64, u8>,
}

impl Image {
    pub(super) fn blank(size: u64) -> Self {
        Self { size, bytes: BTreeMap::new() }
    }

    pub(super) fn with(mut self, at: u64, bytes: &[u8]) -> Self {
        self.bytes.extend((at..).zip(bytes.iter().copied()));
        self
    }

    /// Writes a structure that begins at `at`, with these fields at their offsets.
    pub(super) fn holding(self, at: u64, fields: &[(u64, &[u8])]) -> Self {
        fields.iter().fold(self, |image, (offset, bytes)| image.with(at + offset, bytes))
    }

    pub(super) fn over(self, other: &Self) -> Self {
        Self { size: self.size, bytes: other.bytes.clone().into_iter().chain(self.bytes).collect() }
    }

    pub(super) fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }

    pub(super) fn bytes(&self, at: u64, length: u64) -> Vec<u8> {
        (at..at + length).map(|at| self.bytes.get(&at).copied().unwrap_or(0)).collect()
    }

    pub(super) fn content(&self) -> Content {
        recognise(self).unwrap()
    }

    /// Kind, label, UUID, size and, unless it is clean, state of each signature.
    pub(super) fn told(&self) -> String {
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

pub(super) fn xfs() -> Image {
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

pub(super) fn summed_xfs(image: Image) -> Image {
    let image = image.with(224, &[0; 4]);
    let sum = checksum::crc32c(&[&image.bytes(0, 512)]);
    image.with(224, &sum.to_le_bytes())
}

/// Takes the compatible, incompatible and read-only features.
pub(super) fn ext(state: u16, [compatible, incompatible, read_only]: [u32; 3]) -> Image {
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

pub(super) fn btrfs(log: u64) -> Image {
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

pub(super) fn swap(page: u64, version: u32) -> Image {
    let last = u32::try_from(SIZE / page - 1).unwrap();
    let header: [(u64, &[u8]); 4] = [(0, &version.to_le_bytes()), (4, &last.to_le_bytes()), (12, &UUID), (28, b"data")];
    Image::blank(SIZE).with(page - 10, b"SWAPSPACE2").holding(1024, &header)
}

pub(super) fn lvm(sector: u64) -> Image {
    let at = sector * 512;
    let id = b"MWyP5SMpiNNWWJNEHfUPRAXD9H33e4zw";
    let fields: [(u64, &[u8]); 4] = [(0, b"LABELONE"), (8, &sector.to_le_bytes()), (20, b"\x20\0\0\0LVM2 001"), (32, id)];
    let image = Image::blank(SIZE).holding(at, &fields);
    let sum = checksum::lvm(&image.bytes(at + 20, 492));
    image.with(at + 16, &sum.to_le_bytes())
}

pub(super) fn raid(at: u64) -> Image {
    let place = (at / 512).to_le_bytes();
    Image::blank(SIZE).holding(at, &[(0, &0xa92b_4efc_u32.to_le_bytes()), (4, &[1, 0, 0, 0]), (16, &UUID), (32, b"host:0"), (144, &place)])
}

pub(super) fn old_raid() -> Image {
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

pub(super) fn luks(at: u64, magic: &[u8], version: u16) -> Image {
    let (version, place) = (version.to_be_bytes(), at.to_be_bytes());
    let fields: [(u64, &[u8]); 5] = [(0, magic), (6, &version), (24, b"data"), (168, WRITTEN.as_bytes()), (256, &place)];
    Image::blank(SIZE).holding(at, &fields)
}

pub(super) fn zfs(count: u64) -> Image {
    (0..count).fold(Image::blank(SIZE), |image, number| {
        // Spread over the first and the last of the four labels.
        let label = if number % 2 == 0 { 0 } else { SIZE - (256 << 10) };
        image.with(label + (128 << 10) + number * 1024, &0x00ba_b10c_u64.to_le_bytes())
    })
}

pub(super) fn boot_sector(magic: (u64, &[u8])) -> Image {
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

pub(super) fn mbr(kind: u8, sectors: u32) -> Image {
    let fields: [(u64, &[u8]); 5] = [
        (440, &0xc2e6_3a13_u32.to_le_bytes()),
        (450, &[kind]),
        (454, &2048_u32.to_le_bytes()),
        (458, &sectors.to_le_bytes()),
        (510, &[0x55, 0xaa]),
    ];
    Image::blank(SIZE).holding(0, &fields)
}

pub(super) fn gpt_header(block: u64, number: u64) -> Image {
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
