//! Every form of user data, whole, wrapped, damaged and hostile.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::failure::{Explanation, Failure};

const DOCUMENT: &str = include_str!("../../../tests/corpus/user-data/plain.yaml");
const MIB: usize = 1 << 20;

macro_rules! sample {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../tests/corpus/user-data/", $name)).as_slice())
    };
}

/// User data as tools create it, and how it must be read. Each is also a seed of the mutations below.
const CORPUS: [((&str, &[u8]), &str); 19] = [
    (sample!("plain.yaml"), "Documents([user data: 87 bytes])"),
    // Has a byte order mark, which is dropped, and CRLF line breaks, which are kept.
    (sample!("windows.yaml"), "Documents([user data: 94 bytes])"),
    (sample!("cloud-config.yaml"), "CloudConfig(52 bytes)"),
    (sample!("script.sh"), "Other(a shell script)"),
    (sample!("gzip.gz"), "Documents([user data: 87 bytes])"),
    (sample!("members.gz"), "Documents([user data: 87 bytes])"),
    (sample!("gzip.b64"), "Documents([user data: 87 bytes])"),
    (sample!("gzip.b64.b64"), "Documents([user data: 87 bytes])"),
    (sample!("zstd.zst"), "Documents([user data: 87 bytes])"),
    (sample!("zstd.b64url"), "Documents([user data: 87 bytes])"),
    // Has an unknown length and a window of 8 MiB.
    (sample!("stream.zst"), "Documents([user data: 87 bytes])"),
    // A frame, a skippable frame, and a frame without length or checksum.
    (sample!("frames.zst"), "Documents([user data: 87 bytes])"),
    (sample!("long.zst"), "Documents([user data: 21083 bytes])"),
    // As written by `cloud-init devel make-mime` and write-mime-multipart; Python encodes UTF-8 text as base64.
    (sample!("make-mime.txt"), "Documents([user data, part 2 (base.yaml): 87 bytes, user data, part 3 (test.yaml): 38 bytes])"),
    // A base64 part that is gzip, a multipart in the multipart, and a quoted-printable part.
    (sample!("nested.txt"), "Documents([user data, part 1 (db.yaml): 87 bytes, user data, part 2: 18 bytes, user data, part 4: 26 bytes])"),
    // As written by Terraform's cloudinit_config, plain and with `gzip` and `base64_encode` enabled.
    (sample!("terraform.txt"), "Documents([user data, part 2 (shop.yaml): 87 bytes])"),
    (sample!("terraform.b64"), "Documents([user data, part 2 (shop.yaml): 87 bytes])"),
    // As AWS documents a script for every boot: the last delimiter does not close. A comment contains the boundary.
    (sample!("aws-unclosed.txt"), "Documents([user data, part 2 (boot.yaml): 57 bytes])"),
    (sample!("script-only.txt"), "Other(a MIME message without a text/x-ingot part)"),
];

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame of raw blocks, which any compressor may write.
fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut frame = zstd_header(bytes.len() as u64);
    let mut blocks = bytes.chunks(128 << 10).peekable();
    if blocks.peek().is_none() {
        frame.extend([1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

/// Single segment, content size of 8 bytes, no checksum.
fn zstd_header(content_size: u64) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000][..], &content_size.to_le_bytes()].concat()
}

/// A zstd frame with blocks of one byte repeated: 128 KiB in four bytes each.
fn zstd_bomb(blocks: usize, window_descriptor: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window_descriptor];
    for block in 1..=blocks {
        let header = (128u32 << 10) << 3 | 0b10 | u32::from(block == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(b'#');
    }
    frame
}

fn base64(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    STANDARD.encode(bytes).into_bytes()
}

/// Base64 with line breaks as coreutils' `base64` or Windows writes them.
fn base64_in_lines(bytes: impl AsRef<[u8]>, line_break: &str) -> Vec<u8> {
    base64(bytes).chunks(76).flat_map(|line| [line, line_break.as_bytes()].concat()).collect()
}

type Wrap = fn(&[u8]) -> Vec<u8>;

/// Every way to wrap data once.
const WRAPS: [(&str, Wrap); 8] = [
    ("plain", |bytes| bytes.to_vec()),
    ("gzip", |bytes| gzip(bytes)),
    ("zstd", |bytes| zstd(bytes)),
    ("base64", |bytes| base64(bytes)),
    ("base64, unpadded", |bytes| STANDARD_NO_PAD.encode(bytes).into_bytes()),
    ("base64, URL-safe", |bytes| URL_SAFE.encode(bytes).into_bytes()),
    ("base64 in lines", |bytes| base64_in_lines(bytes, "\n")),
    ("base64 in CRLF lines", |bytes| base64_in_lines(bytes, "\r\n")),
];

fn one_document(text: &str) -> UserData {
    UserData::Documents(vec![Part { name: "user data".into(), text: text.into(), slip: None }])
}

fn other(what: &'static str) -> UserData {
    UserData::Other { what }
}

fn explain(bytes: &[u8]) -> String {
    Explanation::of(&recognise(bytes).unwrap_err()).to_string()
}

#[test]
fn reads_what_tools_make() {
    for ((name, bytes), expected) in CORPUS {
        assert_eq!(format!("{:?}", recognise(bytes).unwrap()), expected, "{name}");
    }
}

#[test]
fn reads_a_document_however_it_is_wrapped() {
    for (outer, wrap_outer) in WRAPS {
        for (middle, wrap_middle) in WRAPS {
            for (inner, wrap_inner) in WRAPS {
                let bytes = wrap_outer(&wrap_middle(&wrap_inner(DOCUMENT.as_bytes())));
                assert_eq!(recognise(&bytes).unwrap(), one_document(DOCUMENT), "{outer} of {middle} of {inner}");
            }
        }
    }
}

#[test]
fn recognises_by_the_first_line() {
    let cases: [(&[u8], UserData); 12] = [
        (b"#ingot", one_document("#ingot")),
        (b"#ingot \t\r\na: 1\r\n", one_document("#ingot \t\r\na: 1\r\n")),
        (b"\xef\xbb\xbf#ingot\n", one_document("#ingot\n")),
        (b"#ingot web servers\n", one_document("#ingot web servers\n")),
        (b"\n# web\n#ingot\n", one_document("\n# web\n#ingot\n")),
        (b"#cloud-config\r\na: 1", UserData::CloudConfig("#cloud-config\r\na: 1".into())),
        (b"\xef\xbb\xbf#cloud-config", UserData::CloudConfig("#cloud-config".into())),
        (b"#cloud-config-archive\n- a", other("a cloud-config archive")),
        (b"#cloud-boothook\n", other("a cloud boothook")),
        (b"#include https://example.com\n", other("a cloud-init include list")),
        (b"## template: jinja\n#cloud-config\n", other("a cloud-init template")),
        (b"#!/bin/sh\n#ingot\n", other("a shell script")),
    ];
    for (bytes, expected) in cases {
        let debug = String::from_utf8_lossy(bytes);
        assert_eq!(recognise(bytes).unwrap(), expected, "{debug}");
    }
    // These consist of base64 characters, and one of them decodes.
    let text = "Documents([user data: 5 bytes, 1:1: user data is text, neither a boot document nor for a program that ingot knows])";
    assert_eq!(format!("{:?}", recognise(b"hello").unwrap()), text);
    assert!(explain(b"test").starts_with("user data is not UTF-8 at byte 0"), "{}", explain(b"test"));
}

#[test]
fn refuses_a_fourth_layer() {
    let three = base64(gzip(base64(DOCUMENT)));
    for four in [gzip(&three), zstd(&three), base64(&three)] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(explain(&four), @r"
            user data is wrapped in gzip, zstd or base64 more than 3 times
              hint: encode user data once: `gzip` or `zstd`, then base64 if the tool that sends it does not do that itself
            ");
        }
    }
}

#[test]
fn takes_exactly_as_much_as_the_limit() {
    let mut most = b"#ingot\n".to_vec();
    most.resize(16 * MIB, b'#');
    let mut more = most.clone();
    more.push(b'#');
    // The first four suffice: the other kinds of base64 take the same path.
    for (name, wrap) in &WRAPS[..4] {
        assert!(matches!(recognise(&wrap(&most)), Ok(UserData::Documents(_))), "{name}");
        assert!(matches!(recognise(&wrap(&more)), Err(EncodingError::TooLarge { .. })), "{name}");
    }
}

#[test]
fn stops_at_bombs() {
    let zeroes = gzip(vec![0; 48 * MIB]);
    assert!(zeroes.len() < MIB / 2);
    // 4 GiB from 128 KiB, within the smallest and the largest accepted window.
    let bombs = [zeroes.clone(), gzip(zeroes), zstd_bomb(32 << 10, 0x38), zstd_bomb(32 << 10, 14 << 3)];
    for bomb in bombs {
        insta::allow_duplicates! {
            insta::assert_snapshot!(explain(&bomb), @r"
            user data is larger than 16 MiB once unwrapped, which is the limit for user data
              hint: move large content of user data into a bundle in S3; if zstd wrote it, compress with level 19 or lower and without --long
            ");
        }
    }
}

#[test]
fn refuses_zstd_frames_by_the_memory_they_claim() {
    // Windows of 18 MiB (the next size above the limit) and 3.75 TiB; content sizes of 16 MiB plus a byte, and of the
    // maximum value.
    let claims = [zstd_bomb(1, 14 << 3 | 1), zstd_bomb(1, 0xff), zstd_header(16 * MIB as u64 + 1), zstd_header(u64::MAX)];
    for claim in claims {
        assert!(matches!(recognise(&claim), Err(EncodingError::TooLarge { .. } | EncodingError::Corrupt { .. })));
    }
}

/// Lines that resemble the marker or a delimiter, and one line of all the bytes: each must be examined only once.
#[test]
fn long_texts_without_a_marker_take_no_longer() {
    let part = |body: &str| format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n#!/bin/sh\n{body}\n--b--\n");
    for body in ["b\n".repeat(MIB / 16), "#".repeat(MIB / 16) + &"a".repeat(MIB), "# ing\n".repeat(MIB / 16)] {
        assert!(matches!(recognise(part(&body).as_bytes()), Ok(UserData::Other { .. })));
        assert!(matches!(recognise(format!("a\n{body}").as_bytes()), Ok(UserData::Documents(_))));
    }
}

#[test]
fn checks_length_and_checksum_of_a_frame() {
    let ((_, sample), _) = CORPUS[8];
    let last = sample.len() - 1;
    let mut checksum = sample.to_vec();
    checksum[last] ^= 1;
    insta::assert_snapshot!(explain(&checksum), @r"
    user data is zstd that is damaged or cut short: Restored data doesn't match checksum
      hint: create it again with `zstd --stdout FILE`, and send the bytes unchanged
    ");
    let mut length = zstd(DOCUMENT);
    length[5] += 1;
    assert!(explain(&length).contains("Data corruption detected"), "{}", explain(&length));
}

/// The worst reading would be "no document".
#[test]
fn what_was_cut_short_is_an_error() {
    let first_bytes_are_text = |bytes: &[u8]| bytes == b"(";
    for whole in [gzip(DOCUMENT), zstd(DOCUMENT), CORPUS[4].0.1.to_vec(), CORPUS[8].0.1.to_vec(), CORPUS[12].0.1.to_vec()] {
        for length in 1..whole.len() {
            let cut = &whole[..length];
            if !first_bytes_are_text(cut) {
                assert!(matches!(recognise(cut), Err(EncodingError::Corrupt { .. })), "at {length}");
            }
            for wrapped in [gzip(cut), base64_in_lines(cut, "\n")] {
                assert!(first_bytes_are_text(cut) || recognise(&wrapped).is_err(), "at {length}, wrapped");
            }
        }
        // Eleven symbols distinguish base64 of content for ingot from a word. Without its padding, the base64 is still
        // complete.
        let encoded = base64(base64(&whole));
        let read = recognise(&whole).unwrap();
        for length in 11..encoded.len() {
            assert!(recognise(&encoded[..length]).map_or(true, |cut| cut == read), "base64 at {length}");
        }
    }
}

#[test]
fn what_looks_like_ours_and_is_not_utf8_is_an_error() {
    insta::assert_snapshot!(explain(b"#ingot\nname: caf\xe9\n"), @r"
    user data is not UTF-8 at byte 16
      hint: save user data as UTF-8
    ");
    assert!(matches!(recognise(b"\xef\xbb\xbf#ingot\n\xff"), Err(EncodingError::NotText { offset: 10, .. })));
    assert!(matches!(recognise(&gzip(b"#cloud-config\n\xff")), Err(EncodingError::NotText { offset: 14, .. })));
    assert!(matches!(recognise(b"#!/bin/sh\n\xff"), Ok(UserData::Other { .. })));
}

/// A change that transport, editors or people make to a file.
#[derive(Debug, Clone)]
enum Mutation {
    Flip {
        at: usize,
        bits: u8,
    },
    Truncate {
        at: usize,
    },
    Remove {
        at: usize,
        length: usize,
    },
    /// Inserts a piece of another sample.
    Splice {
        at: usize,
        other: usize,
        from: usize,
        length: usize,
    },
    Wrap(usize),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: usize, length: usize| at % (length + 1);
        match *self {
            Self::Flip { at, bits } => {
                let length = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at % length) {
                    *byte ^= bits;
                }
            }
            Self::Truncate { at } => bytes.truncate(place(at, bytes.len())),
            Self::Remove { at, length } => {
                let start = place(at, bytes.len());
                bytes.drain(start..bytes.len().min(start + length));
            }
            Self::Splice { at, other, from, length } => {
                let ((_, piece), _) = CORPUS[other];
                let start = place(from, piece.len());
                let position = place(at, bytes.len());
                bytes.splice(position..position, piece[start..piece.len().min(start + length)].iter().copied());
            }
            Self::Wrap(way) => *bytes = WRAPS[way].1(bytes),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<usize>(), 1..=u8::MAX).prop_map(|(at, bits)| Mutation::Flip { at, bits }),
        1 => any::<usize>().prop_map(|at| Mutation::Truncate { at }),
        2 => (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Mutation::Remove { at, length }),
        2 => (any::<usize>(), 0..CORPUS.len(), any::<usize>(), 1..200_usize)
            .prop_map(|(at, other, from, length)| Mutation::Splice { at, other, from, length }),
        1 => (0..WRAPS.len()).prop_map(Mutation::Wrap),
    ]
}

/// Checks any result for `bytes`: it is within the limit, and an error quotes nothing and has a hint.
fn read_safely(bytes: &[u8]) {
    match recognise(bytes) {
        Ok(UserData::Documents(parts)) => assert!(!parts.is_empty() && parts.iter().map(|part| part.text.len()).sum::<usize>() <= 16 * MIB),
        Ok(UserData::CloudConfig(text)) => assert!(text.len() <= 16 * MIB),
        Ok(UserData::Other { .. }) => {}
        Err(error) => assert!(error.hint().is_some()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_safely(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0..7_usize) {
        let starts: [&[u8]; 7] = [b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"#ingot\n",
            b"Content-Type: multipart/mixed; boundary=", b"MIME-Version: 1.0\nContent-Type: text/x-ingot;"];
        read_safely(&[starts[start], bytes.as_slice()].concat());
    }

    #[test]
    fn damaged_samples_are_read_safely(sample in 0..CORPUS.len(), mutations in prop::collection::vec(mutation(), 1..6)) {
        let mut bytes = CORPUS[sample].0.1.to_vec();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        read_safely(&bytes);
    }

    #[test]
    fn whatever_is_wrapped_comes_back(rest in "\\PC{0,300}", ways in prop::collection::vec(0..WRAPS.len(), 0..=3)) {
        let text = format!("#ingot\n{rest}");
        let wrapped = ways.iter().fold(text.clone().into_bytes(), |bytes, way| WRAPS[*way].1(&bytes));
        prop_assert_eq!(recognise(&wrapped).unwrap(), one_document(&text));
    }

    /// The checksum of gzip, and of zstd where there is one, permits no other outcome.
    #[test]
    fn a_flipped_bit_never_gives_another_document(sample in 0..4_usize, at in any::<usize>(), bit in 0..8_u32) {
        let (name, whole) = [CORPUS[4].0, CORPUS[5].0, CORPUS[8].0, CORPUS[12].0][sample];
        let mut bytes = whole.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        match recognise(&bytes) {
            Ok(UserData::Documents(parts)) => prop_assert_eq!(UserData::Documents(parts), recognise(whole).unwrap(), "{}", name),
            Ok(UserData::Other { .. }) => prop_assert!(at < 4, "{name} at {at}"),
            Ok(other) => prop_assert!(false, "{name} at {at}: {other:?}"),
            Err(_) => {}
        }
    }
}
