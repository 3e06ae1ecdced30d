//! Encodings that ingot does not read, recognized so that a message can name them.

pub(super) const ZIP: &str = "a zip archive";
pub(super) const PROGRAM: &str = "a program";
pub(super) const UTF_16: &str = "UTF-16";

/// Recognized by their first bytes, as file(1) does.
const BEGINNINGS: [(&[u8], &str); 12] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"LZIP", "lzip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x5d\0\0", "lzma"),
    (b"\x78\x9c", "zlib"),
    (b"\x1f\x9d", "compress"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\x7fELF", PROGRAM),
];

/// The encoding of `bytes`, if it is one that is recognized but not read.
pub(super) fn known(bytes: &[u8]) -> Option<&'static str> {
    BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning)).map(|(_, what)| *what)
}

/// The text of UTF-16 data, recognized by a byte order mark or its first two characters. `None` if `bytes` is not
/// UTF-16.
///
/// PowerShell's `>` and Notepad's "Unicode" write UTF-16.
pub(super) fn utf16(bytes: &[u8]) -> Option<String> {
    let little = match bytes {
        [0xff, 0xfe, ..] => true,
        [0xfe, 0xff, ..] => false,
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => true,
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => false,
        _ => return None,
    };
    let units = bytes.chunks_exact(2).map(|unit| {
        let unit = [unit[0], unit[1]];
        if little { u16::from_le_bytes(unit) } else { u16::from_be_bytes(unit) }
    });
    let text: String = char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Some(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}
