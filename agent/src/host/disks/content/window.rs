//! The parts of a disk in which signatures lie, in memory.

use std::io;

use crate::sorting::Sort as _;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How much of the beginning and of the end of a disk is read, in bytes. This covers everything that libblkid reads,
/// except [`FURTHER`].
const END: u64 = MIB;

/// Offsets that libblkid reads beyond that: VMFS at 1 and 2 MiB, a second LUKS2 header at 2 and 4 MiB. Also the copies
/// of a btrfs superblock at 64 MiB and 256 GiB, which libblkid does not read, but which indicate data.
const FURTHER: [u64; 5] = [MIB, 2 * MIB, 4 * MIB, 64 * MIB, 256 << 30];

/// How much is read at each of these, in bytes.
const PAGE: u64 = 4 * KIB;

/// How many bytes of unrecognized content are shown.
const SHOWN: usize = 16;

/// A disk that can be read.
pub(in crate::host::disks) trait Source {
    /// The size of the disk, in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from offset `at`. Never called for a range beyond [`size`](Source::size).
    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Parts of a disk's content. A read outside these parts returns `None`, as if the disk ended there.
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    /// By offset, in ascending order and without overlaps.
    parts: Vec<(u64, Vec<u8>)>,
}

impl Window {
    pub(super) fn of_ends(source: &dyn Source) -> io::Result<Self> {
        let mut window = Self { size: source.size(), parts: Vec::new() };
        // One part if the two would touch: a signature may cross the boundary.
        if window.size <= 2 * END {
            window.add(source, 0, window.size)?;
        } else {
            window.add(source, 0, END)?;
            // Whole pages: the kernel does not read less, and some superblocks are placed relative to the last page.
            let last = (window.size - END) / PAGE * PAGE;
            window.add(source, last, window.size - last)?;
        }
        Ok(window)
    }

    pub(super) fn look_further(&mut self, source: &dyn Source) -> io::Result<()> {
        for at in FURTHER {
            let is_new = at < self.size && self.bytes(at, 1).is_none();
            if is_new {
                let next = self.parts.iter().map(|(begin, _)| *begin).find(|begin| *begin > at).unwrap_or(self.size);
                self.add(source, at, PAGE.min(next - at))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, source: &dyn Source, at: u64, length: u64) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        source.read(at, &mut bytes)?;
        self.parts.push((at, bytes));
        self.parts.order_by_key(|(at, _)| *at);
        Ok(())
    }

    /// The size of the disk, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
        self.parts.iter().find_map(|(begin, part)| {
            let skip = usize::try_from(at.checked_sub(*begin)?).ok()?;
            part.get(skip..skip.checked_add(length)?)
        })
    }

    /// The first bytes that are not zero, and their offset.
    pub(super) fn first_data(&self) -> Option<(u64, &[u8])> {
        self.parts.iter().find_map(|(begin, part)| {
            let skip = part.iter().position(|byte| *byte != 0)?;
            Some((begin + skip as u64, &part[skip..part.len().min(skip + SHOWN)]))
        })
    }

    pub(super) fn has(&self, at: u64, magic: &[u8]) -> bool {
        self.bytes(at, magic.len()) == Some(magic)
    }

    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        self.bytes(at, N)?.try_into().ok()
    }

    pub(super) fn byte(&self, at: u64) -> Option<u8> {
        self.array(at).map(|[byte]| byte)
    }
    pub(super) fn le16(&self, at: u64) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }
    pub(super) fn le32(&self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    pub(super) fn le64(&self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    pub(super) fn be16(&self, at: u64) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }
    pub(super) fn be32(&self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
    pub(super) fn be64(&self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// Text of a fixed length, padded with NULs or spaces. `None` if it is empty.
    pub(super) fn text(&self, at: u64, length: usize) -> Option<String> {
        let bytes = self.bytes(at, length)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(length);
        let text = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// A UUID whose bytes are stored in the order in which it is written. `None` if it is all zeros.
    pub(super) fn uuid(&self, at: u64) -> Option<String> {
        self.array(at).and_then(written)
    }

    /// A UUID as Microsoft stores it: the first three of its fields are little-endian.
    pub(super) fn guid(&self, at: u64) -> Option<String> {
        let mut bytes: [u8; 16] = self.array(at)?;
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        written(bytes)
    }
}

/// A UUID in lower case, with dashes. `None` if it is all zeros.
pub(super) fn written(bytes: [u8; 16]) -> Option<String> {
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = [digits(0..4), digits(4..6), digits(6..8), digits(8..10), digits(10..16)];
    (bytes != [0; 16]).then(|| parts.join("-"))
}
