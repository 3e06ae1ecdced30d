//! Zips in the form in which other programs write them, byte by byte.

use std::os::unix::fs::MetadataExt as _;

use super::*;

/// An entry that is stored without compression.
struct Stored {
    name: &'static str,
    content: &'static [u8],
    /// The system that the attributes belong to, and the attributes.
    made_by: u8,
    attributes: u32,
    flags: u16,
    method: u16,
    /// Time and date in MS-DOS format.
    dos: (u16, u16),
    /// Extra fields in the central directory.
    extra: Vec<u8>,
    /// What follows the content.
    descriptor: Descriptor,
}

#[derive(Clone, Copy, PartialEq)]
enum Descriptor {
    /// Nothing: the sizes are in the header before the content.
    None,
    Plain,
    Signed,
    /// With sizes of 8 bytes, as written by `zip - < FILE`.
    Long,
}

const DOS: u8 = 0;
const UNIX: u8 = 3;

/// 2024-05-06 07:08:10.
const DATE: (u16, u16) = (7 << 11 | 8 << 5 | 5, 44 << 9 | 5 << 5 | 6);

fn stored(name: &'static str, content: &'static [u8]) -> Stored {
    Stored { name, content, made_by: DOS, attributes: 0, flags: 0, method: 0, dos: DATE, extra: Vec::new(), descriptor: Descriptor::None }
}

/// A zip whose last record states `count` entries, which may be wrong.
fn zip_of(entries: &[Stored], count: usize) -> Vec<u8> {
    let (mut zip, mut list) = (Vec::new(), Vec::new());
    for entry in entries {
        let at = zip.len() as u32;
        let mut crc = flate2::Crc::new();
        crc.update(entry.content);
        let (crc, size) = (crc.sum(), entry.content.len() as u32);
        let streams = entry.descriptor != Descriptor::None;
        let flags = entry.flags | if streams { 8 } else { 0 };
        let common = |sizes: [u32; 3], extra: usize| {
            let mut header = vec![20, 0];
            for number in [flags, entry.method, entry.dos.0, entry.dos.1] {
                header.extend(number.to_le_bytes());
            }
            sizes.iter().for_each(|number| header.extend(number.to_le_bytes()));
            header.extend((entry.name.len() as u16).to_le_bytes());
            header.extend((extra as u16).to_le_bytes());
            header
        };
        zip.extend(b"PK\x03\x04");
        zip.extend(common(if streams { [0; 3] } else { [crc, size, size] }, 0));
        zip.extend(entry.name.as_bytes());
        zip.extend(entry.content);
        if matches!(entry.descriptor, Descriptor::Signed | Descriptor::Long) {
            zip.extend(b"PK\x07\x08");
        }
        match entry.descriptor {
            Descriptor::None => {}
            Descriptor::Plain | Descriptor::Signed => [crc, size, size].iter().for_each(|number| zip.extend(number.to_le_bytes())),
            Descriptor::Long => {
                zip.extend(crc.to_le_bytes());
                [u64::from(size); 2].iter().for_each(|number| zip.extend(number.to_le_bytes()));
            }
        }
        list.extend([b"PK\x01\x02".as_slice(), &[20, entry.made_by], &common([crc, size, size], entry.extra.len())].concat());
        list.extend([0; 6]);
        list.extend(entry.attributes.to_le_bytes());
        list.extend(at.to_le_bytes());
        list.extend(entry.name.as_bytes());
        list.extend(&entry.extra);
    }
    let at = zip.len() as u32;
    zip.extend(&list);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    [count as u16; 2].iter().for_each(|number| zip.extend(number.to_le_bytes()));
    [list.len() as u32, at].iter().for_each(|number| zip.extend(number.to_le_bytes()));
    zip.extend([0; 2]);
    zip
}

fn zip(entries: &[Stored]) -> Vec<u8> {
    zip_of(entries, entries.len())
}

/// Java's jar tool and Go's archive/zip write no attributes; .NET writes MS-DOS attributes on Windows, with a bit for
/// directories. Python's zipfile omits them for a user-defined ZipInfo, and states Unix.
#[tokio::test]
async fn without_attributes_modes_are_usual_ones() {
    for (made_by, of_directory, of_file) in
        [(DOS, 0, 0), (DOS, 0x10, 0x20), (DOS, 0x10, 0x21), (UNIX, 0, 0), (UNIX, 0o040_000 << 16, 0o100_000 << 16), (11, 0, 0), (7, 0, 0)]
    {
        let machine = Machine::new();
        let with = |entry: Stored, attributes| Stored { made_by, attributes, ..entry };
        let entries = [with(stored("a/", b""), of_directory), with(stored("a/b", b"x"), of_file), with(stored("c", b""), of_file)];
        machine.unpack(&zip(&entries)).await.unwrap();
        let modes = ["a", "a/b", "c"].map(|name| machine.mode(name));
        assert_eq!(modes, [0o755, 0o644, 0o644], "{made_by}, {of_directory:o}, {of_file:o}");
    }
    let machine = Machine::new();
    let unix = |entry: Stored, mode: u32| Stored { made_by: UNIX, attributes: mode << 16, ..entry };
    // The last one is a directory by its mode only.
    machine
        .unpack(&zip(&[unix(stored("a/", b""), 0o040_500), unix(stored("b", b"x"), 0o100_750), unix(stored("d", b""), 0o040_755)]))
        .await
        .unwrap();
    assert_eq!(["a", "b", "d"].map(|name| machine.mode(name)), [0o700, 0o750, 0o755]);
    assert!(machine.at("d").is_dir());
}

/// PowerShell 5 and .NET before 4.6.1 write backslashes; some of these zips state Unix, because they were written
/// there.
#[tokio::test]
async fn backslashes_of_windows_are_separators() {
    for made_by in [DOS, 10, UNIX] {
        let machine = Machine::new();
        let entry = |name, content| Stored { made_by, ..stored(name, content) };
        machine.unpack(&zip(&[entry("bin\\", b""), entry("bin\\shop", b"x"), entry("lib\\deep\\y", b"y")])).await.unwrap();
        assert!(machine.at("bin").is_dir());
        assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "x");
        assert_eq!(fs::read_to_string(machine.at("lib/deep/y")).unwrap(), "y");
    }
    // In a name with a slash, a backslash is literal, and so it is in a name from Unix: systemd's units have such
    // names.
    let machine = Machine::new();
    let unix = |name, content| Stored { made_by: UNIX, ..stored(name, content) };
    machine.unpack(&zip(&[stored("a/b\\c", b"x"), unix("d\\e", b"y"), unix("etc/f", b"")])).await.unwrap();
    assert!(machine.at("a/b\\c").is_file() && machine.at("d\\e").is_file());
    let machine = Machine::new();
    machine.unpack(&zip(&[unix("dev-x\\x2dy.mount", b"")])).await.unwrap();
    assert!(machine.at("dev-x\\x2dy.mount").is_file());
    for name in ["..\\victim", "a\\..\\..\\victim", "\\opt\\victim"] {
        let said = Machine::new().refuses(&zip(&[stored(name, b"x")])).await;
        assert!(said.contains("which points outside its directory with `..`") || said.contains("which is an absolute path"), "{said}");
    }
}

/// When a zip is written to a pipe, sizes and checksums follow the content.
#[tokio::test]
async fn what_was_written_to_a_pipe_is_read() {
    for descriptor in [Descriptor::Plain, Descriptor::Signed, Descriptor::Long] {
        let machine = Machine::new();
        let entry = |name, content| Stored { descriptor, ..stored(name, content) };
        machine.unpack(&zip(&[entry("a", b"one"), entry("b", b""), entry("c", b"three")])).await.unwrap();
        let contents = ["a", "b", "c"].map(|name| fs::read_to_string(machine.at(name)).unwrap());
        assert_eq!(contents, ["one", "", "three"]);
        // Info-ZIP marks content from standard input as a pipe.
        let pipe = Stored { made_by: UNIX, attributes: 0o010_600 << 16, ..entry("-", b"x") };
        machine.unpack(&zip(&[pipe])).await.unwrap();
        assert!(machine.at("-").is_file());
    }
}

#[tokio::test]
async fn lists_of_any_length_are_read() {
    // Names are leaked, because the builder requires 'static ones: a megabyte.
    let name = |number: usize| &*Box::leak(format!("{}/{number}", number % 100).into_boxed_str());
    let mut entries: Vec<Stored> = (0..65_538).map(|number| stored(name(number), b"")).collect();
    for (length, stated) in [(65_538, 2), (65_535, 65_535)] {
        entries.truncate(length);
        let machine = Machine::new();
        machine.unpack(&zip_of(&entries, stated)).await.unwrap();
        let found: usize = fs::read_dir(machine.at("")).unwrap().map(|entry| fs::read_dir(entry.unwrap().path()).unwrap().count()).sum();
        assert_eq!(found, length);
    }
    entries.truncate(3);
    let said = Machine::new().refuses(&zip_of(&entries, 2)).await;
    assert!(said.contains("its central directory does not have the stated number of entries"), "{said}");
}

#[tokio::test]
async fn times_are_kept() {
    let extended = |seconds: u32| [b"UT\x05\0\x01".as_slice(), &seconds.to_le_bytes()].concat();
    // In units of 100 nanoseconds since 1601: 2023-11-14 22:13:21.5.
    let ntfs = || {
        let time = (1_700_000_001_u64 + 11_644_473_600) * 10_000_000 + 5_000_000;
        [b"\x0a\0\x20\0\0\0\0\0\x01\0\x18\0".as_slice(), &time.to_le_bytes(), &time.to_le_bytes(), &time.to_le_bytes()].concat()
    };
    let machine = Machine::new();
    machine
        .unpack(&zip(&[
            Stored { extra: extended(1_700_000_001), ..stored("extended", b"x") },
            Stored { extra: ntfs(), ..stored("ntfs", b"x") },
            stored("dos", b"x"),
            Stored { dos: (0, 0), ..stored("none", b"x") },
        ]))
        .await
        .unwrap();
    let time = |name: &str| machine.at(name).metadata().map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
    assert_eq!(time("extended"), (1_700_000_001, 0));
    assert_eq!(time("ntfs"), (1_700_000_001, 500_000_000));
    assert_eq!(time("dos"), (1_714_979_290, 0), "2024-05-06 07:08:10 UTC");
    assert!(time("none").0 > 1_750_000_000, "no date is no time of long ago");
}

#[tokio::test]
async fn what_a_zip_is_made_of_is_named() {
    let encrypted = Stored { flags: 1, ..stored("secret", b"x") };
    let by = |method| Stored { method, ..stored("a", b"x") };
    let mut split = zip(&[stored("a", b"x")]);
    let end = split.len() - 22;
    split[end + 4] = 2;
    let mut said = Vec::new();
    for archive in [
        zip(&[encrypted]),
        zip(&[by(9)]),
        zip(&[by(12)]),
        split.clone(),
        [b"PK\x07\x08".as_slice(), &split].concat(),
        [&[0xff; 999], &split[31..]].concat(),
    ] {
        said.push(Machine::new().refuses(&archive).await);
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    this is an encrypted zip: `secret` needs a password
      hint: publish the zip without a password
    in this zip, `a` is compressed with method 9 (DEFLATE64), which ingot does not support
      hint: make the zip with deflate, the method of `zip -r`
    in this zip, `a` is compressed with method 12 (BZIP2), which ingot does not support
      hint: make the zip with deflate, the method of `zip -r`
    this is the last part of a split zip, which ingot does not unpack
      hint: publish it in one piece: `zip -s 0 SPLIT.zip --out WHOLE.zip` joins the parts
    this is the first part of a split zip, which ingot does not unpack
      hint: publish it in one piece: `zip -s 0 SPLIT.zip --out WHOLE.zip` joins the parts
    this is the last part of a split zip, which ingot does not unpack
      hint: publish it in one piece: `zip -s 0 SPLIT.zip --out WHOLE.zip` joins the parts
    ");
    // A split zip that consists of a single part.
    Machine::new().unpack(&[b"PK00".as_slice(), &zip(&[stored("a", b"x")])].concat()).await.unwrap();
}
