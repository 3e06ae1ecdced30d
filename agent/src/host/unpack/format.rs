//! Detects the format of a file from its first bytes. Pure.

use crate::failure::Objection;

/// How many bytes are needed for that: the first block of a tar.
pub(super) const BEGINNING: usize = 512;

/// The largest window that a zstd archive may require, as a power of two: 16 MiB, twice what `zstd -19` uses. Only
/// `--ultra` and `--long` produce larger ones, and those would take all the memory of a small instance.
pub(super) const WINDOW: u32 = 24;

/// The format of a file.
pub(crate) enum Format {
    Gzip,
    Zstd,
    Zip,
    Tar,
    Foreign(Foreign),
}

/// A file that cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A known format, with a name for messages and a hint.
    Known(&'static str, &'static str),
    /// Not an archive; with a description of what it looks like.
    NoArchive(&'static str),
}

const RECOMPRESS: &str = "publish it with zstd instead: decompress it, and compress it again with `zstd -19 FILE`";
const REPACK: &str = "unpack it, and publish its content as tar.gz, tar.zst or zip";
const INSTALL: &str = "publish its content as tar.gz, tar.zst or zip, or install the package while the image is built";
const ONE_FILE: &str = "set `unpack: false` to install it as one file";
const LOOK: &str =
    "publish a tar, tar.gz, tar.zst or zip, and check what is at that location: `curl -I URL` or `aws s3 cp s3://BUCKET/KEY - | file -`";

/// Magic bytes, from the lists of file(1) and from the formats' own specifications.
const KNOWN: [(&[u8], &str, &str); 20] = [
    (b"\xfd7zXZ\0", "an xz file", RECOMPRESS),
    (b"BZh", "a bzip2 file", RECOMPRESS),
    (b"\x04\x22\x4d\x18", "an lz4 file", RECOMPRESS),
    (b"\x02\x21\x4c\x18", "an lz4 file", RECOMPRESS),
    (b"LZIP", "an lzip file", RECOMPRESS),
    (b"\x5d\0\0", "an lzma file", RECOMPRESS),
    (b"\x89LZO", "an lzop file", RECOMPRESS),
    (b"\x1f\x9d", "a compress(1) file", RECOMPRESS),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", REPACK),
    (b"Rar!\x1a\x07", "a rar archive", REPACK),
    (b"MSCF", "a cab archive", REPACK),
    (b"0707", "a cpio archive", REPACK),
    (b"hsqs", "a squashfs image", REPACK),
    (b"PK\x07\x08", "the first part of a split zip", SPLIT_HINT),
    (b"!<arch>\n", "a Debian package or another archive of ar(1)", INSTALL),
    (b"\xed\xab\xee\xdb", "an rpm package", INSTALL),
    (b"\x7fELF", "an executable (ELF)", ONE_FILE),
    (b"#!", "a script", ONE_FILE),
    (b"MZ", "an executable for Windows", ONE_FILE),
    (b"\xca\xfe\xba\xbe", "a Java class or an executable for macOS", ONE_FILE),
];

const SPLIT_HINT: &str = "publish it in one piece: `zip -s 0 SPLIT.zip --out WHOLE.zip` joins the parts";

/// The last part of a split zip, which contains the central directory.
pub(super) const SPLIT: Foreign = Foreign::Known("the last part of a split zip", SPLIT_HINT);

impl Foreign {
    /// The message and hint; `within` is how it was compressed.
    pub(super) fn objection(self, within: Option<&str>) -> Objection {
        let within = within.map(|within| format!(", compressed with {within}")).unwrap_or_default();
        match self {
            Self::Known(name, hint) => Objection::new(format!("this is {name}{within}, which ingot does not unpack"), hint),
            Self::NoArchive(like) => Objection::new(format!("this is not an archive: it looks like {like}{within}"), LOOK),
        }
    }
}

/// The format of a file that begins with `content`: [`BEGINNING`] bytes, or all there are.
pub(crate) fn of(content: &[u8]) -> Format {
    match content {
        [0x1f, 0x8b, ..] => return Format::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Format::Zstd,
        // The third is a split zip that consists of a single part.
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', b'0', b'0', b'P', b'K', ..] => return Format::Zip,
        _ => {}
    }
    // Before all others: a tar begins with a file name, which may look like any magic. A tar without `ustar` predates
    // 1988 and is recognized by its checksum; an empty one is all zeros.
    if content.get(257..262).is_some_and(|magic| magic == b"ustar") || has_checksum(content) || is_empty_tar(content) {
        return Format::Tar;
    }
    let known = KNOWN.iter().find(|(magic, ..)| content.starts_with(magic));
    Format::Foreign(match (known, content.trim_ascii_start()) {
        _ if content.is_empty() => Foreign::NoArchive("an empty file"),
        (Some((_, name, hint)), _) => Foreign::Known(name, hint),
        (None, [b'<', ..]) => Foreign::NoArchive("HTML or XML"),
        (None, [b'{' | b'[', ..]) => Foreign::NoArchive("JSON"),
        (None, _) if is_text(content) => Foreign::NoArchive("text"),
        (None, _) => Foreign::NoArchive("something else"),
    })
}

fn has_checksum(content: &[u8]) -> bool {
    let Some(block) = content.get(..BEGINNING) else { return false };
    let header = ::tar::Header::from_byte_slice(block);
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum::<u32>();
    header.cksum().is_ok_and(|stated| stated == sum)
}

fn is_empty_tar(content: &[u8]) -> bool {
    content.len() >= BEGINNING && content.iter().all(|byte| *byte == 0)
}

fn is_text(content: &[u8]) -> bool {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&content[..error.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace())
}
