//! Reads git's storage of every previous state of a repository: packs and loose objects.
//!
//! Most objects in a pack are stored as a delta to another one. Only the new data in a delta is read, and the objects
//! are not reconstructed: a committed secret is new data in one of them.
//!
//! Source: gitformat-pack(5).

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::ZlibDecoder;

use super::members::{LIMIT, Take, Unpacked};

/// The member name of an object: file names are not stored with the content.
const NAME: &str = "";

/// The maximum length of an object's header, which states its kind and length, in bytes.
const HEAD: u64 = 64;

/// Larger deltas are not read into memory. In bytes.
const DIFFERENCE: u64 = 32 << 20;

pub(super) fn is_pack(path: &Path, head: &[u8]) -> bool {
    head.starts_with(b"PACK\0\0\0\x02") && path.extension().is_some_and(|extension| extension == "pack")
}

/// Recognizes `objects/0a/1b2c…`.
pub(super) fn is_object(path: &Path, head: &[u8]) -> bool {
    let is_hex = |name: Option<&std::ffi::OsStr>, length: usize| {
        name.is_some_and(|name| name.len() == length && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit))
    };
    head.starts_with(b"\x78") && is_hex(path.file_name(), 38) && path.parent().is_some_and(|parent| is_hex(parent.file_name(), 2))
}

pub(super) fn object(file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut content = BufReader::new(ZlibDecoder::new(BufReader::new(file)));
    let mut head = Vec::new();
    content.by_ref().take(HEAD).read_until(0, &mut head)?;
    if head.starts_with(b"blob") {
        take(NAME, &mut content.take(LIMIT))?;
    }
    Ok(Unpacked::Members)
}

pub(super) fn pack(file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut file = BufReader::new(file);
    let mut head = [0; 12];
    file.read_exact(&mut head)?;
    let mut left = LIMIT;
    for _ in 0..u32::from_be_bytes([head[8], head[9], head[10], head[11]]) {
        let (kind, length) = entry(&mut file)?;
        let Some(rest) = left.checked_sub(length) else { return Ok(Unpacked::InPart("it is too large".into())) };
        left = rest;
        // One byte more, so that the end is read as well.
        let mut content = ZlibDecoder::new(&mut file).take(length + 1);
        match kind {
            Kind::Blob => take(NAME, &mut content)?,
            Kind::Difference if length <= DIFFERENCE => {
                let mut difference = Vec::new();
                content.by_ref().take(length).read_to_end(&mut difference)?;
                take(NAME, &mut &inserted(&difference)[..])?;
            }
            Kind::Difference | Kind::Other => {}
        }
        // The next entry begins where this one ends.
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an object does not have its stated length"));
        }
    }
    Ok(Unpacked::Members)
}

enum Kind {
    Blob,
    Difference,
    Other,
}

/// The kind and the length of the next entry in a pack.
fn entry(file: &mut impl Read) -> io::Result<(Kind, u64)> {
    let first = byte(file)?;
    let (mut length, mut shift, mut last) = (u64::from(first & 0x0f), 4, first);
    while last & 0x80 != 0 {
        last = byte(file)?;
        length |= u64::from(last & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
    }
    let kind = match first >> 4 & 7 {
        3 => Kind::Blob,
        // The base object, by its distance in the pack or by its name.
        6 => {
            while byte(file)? & 0x80 != 0 {}
            Kind::Difference
        }
        7 => {
            file.read_exact(&mut [0; 20])?;
            Kind::Difference
        }
        _ => Kind::Other,
    };
    Ok((kind, length))
}

fn byte(file: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The new data in a delta, each piece on a line of its own.
fn inserted(difference: &[u8]) -> Vec<u8> {
    let (mut rest, mut new) = (difference, Vec::new());
    // The lengths of both states.
    for _ in 0..2 {
        let end = rest.iter().position(|byte| byte & 0x80 == 0).map_or(rest.len(), |at| at + 1);
        rest = &rest[end..];
    }
    while let [first, after @ ..] = rest {
        let is_copy = first & 0x80 != 0;
        let length = if is_copy { (first & 0x7f).count_ones() as usize } else { usize::from(*first) }.min(after.len());
        match is_copy {
            true => end_line(&mut new),
            // Data longer than 127 bytes is stored as several consecutive pieces.
            false => new.extend_from_slice(&after[..length]),
        }
        rest = &after[length..];
    }
    end_line(&mut new);
    new
}

fn end_line(text: &mut Vec<u8>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use flate2::write::ZlibEncoder;

    use super::*;

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// What is passed on for a file with these bytes, and the result.
    fn read(of: fn(&mut File, &mut Take<'_>) -> io::Result<Unpacked>, bytes: &[u8]) -> (Vec<String>, io::Result<Unpacked>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let mut taken = Vec::new();
        let mut take = |_: &str, content: &mut dyn Read| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            taken.push(text);
            Ok(())
        };
        let unpacked = of(&mut file, &mut take);
        (taken, unpacked)
    }

    #[test]
    fn of_an_object_no_more_than_a_head_is_put_into_memory() {
        assert_eq!(read(object, &compressed(b"blob 5\0token")).0, ["token"]);
        assert_eq!(read(object, &compressed(b"tree 5\0token")).0, [""; 0]);
        let endless = [b"blob ".as_slice(), &[b'9'; 100]].concat();
        assert_eq!(read(object, &compressed(&endless)).0, ["9".repeat(105 - HEAD as usize)]);
    }

    #[test]
    fn a_pack_is_read_as_far_as_its_objects_are_as_long_as_they_say() {
        // For objects shorter than 16 bytes, kind and length share one byte.
        let pack = |objects: &[(u8, &str)]| {
            let objects = objects.iter().flat_map(|(length, text)| [&[0x30 | length], &compressed(text.as_bytes())[..]].concat());
            [b"PACK\0\0\0\x02\0\0\0\x02".to_vec(), objects.collect()].concat()
        };
        let (taken, unpacked) = read(super::pack, &pack(&[(5, "token"), (3, "key")]));
        assert!(taken == ["token", "key"] && matches!(unpacked, Ok(Unpacked::Members)));
        for wrong in ["toke", "tokens"] {
            let (_, unpacked) = read(super::pack, &pack(&[(5, wrong), (3, "key")]));
            assert!(unpacked.is_err(), "{wrong}");
        }
        // An object that claims a length of 128 GiB.
        let large = [b"PACK\0\0\0\x02\0\0\0\x01\xb0\x80\x80\x80\x80\x20".to_vec(), compressed(b"token")].concat();
        let (taken, unpacked) = read(super::pack, &large);
        assert!(taken.is_empty() && matches!(unpacked, Ok(Unpacked::InPart(why)) if why == "it is too large"));
    }

    #[test]
    fn what_is_new_in_a_difference_is_read() {
        // From 300 bytes to 20: copy 3 from 5, insert `token`, copy 4 from 256.
        let difference = b"\xac\x02\x14\x91\x05\x03\x05token\x92\x01\x04";
        assert_eq!(inserted(difference), b"token\n");
        assert_eq!(inserted(b""), b"");
        assert_eq!(inserted(b"\x01\x01\x7fcut"), b"cut\n");
        // Data that is too long for one piece, and data after a copy.
        let long = [b"\x01\x01\x7f".as_slice(), &[b'a'; 127], b"\x03bcd\x91\x05\x03\x02ef"].concat();
        assert_eq!(inserted(&long), ["a".repeat(127).as_bytes(), b"bcd\nef\n"].concat());
    }

    #[test]
    fn an_entry_says_what_it_is_and_how_long() {
        let (kind, length) = entry(&mut &b"\xb5\x0a"[..]).unwrap();
        assert!(matches!(kind, Kind::Blob) && length == 0xa5);
        let (kind, length) = entry(&mut &b"\x63\x81\x01"[..]).unwrap();
        assert!(matches!(kind, Kind::Difference) && length == 3);
    }
}
