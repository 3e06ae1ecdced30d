//! Archives as they arrive from the network and from programs that write them: in pieces of any size, padded,
//! concatenated.

use super::*;

/// A server may send a few bytes first, which must not be enough to decide on a format.
#[tokio::test]
async fn any_first_piece_will_do() {
    let plain = release();
    let zipped = zip(&[("bin/shop", 0o100_755, b"program")]);
    for archive in [plain.clone(), gzip(&plain), zstd(&plain), zipped] {
        for first in (1..20).chain([100, 257, 261, 262, 263, 511, 512, 513, 600]) {
            let machine = Machine::new();
            let mut unpacking = machine.directories.unpack(machine.wanted()).await.unwrap();
            let (first, rest) = archive.split_at(first.min(archive.len()));
            for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
                unpacking.push(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            unpacking.finish().await.unwrap();
            assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "program", "{}", first.len());
        }
    }
}

#[tokio::test]
async fn every_format_is_read_byte_by_byte() {
    let plain = tar(|tar| file(tar, "bin/shop", 0o755, b"program"));
    let members = [gzip(&plain[..700]), gzip(&plain[700..]), vec![0; 700]].concat();
    let frames = [b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(&plain[..700]), zstd(&plain[700..])].concat();
    let zipped = zip(&[("bin/shop", 0o100_755, b"program")]);
    for archive in [plain.clone(), gzip(&plain), members, zstd(&plain), frames, zipped] {
        let machine = Machine::new();
        let mut unpacking = machine.directories.unpack(machine.wanted()).await.unwrap();
        for byte in &archive {
            unpacking.push(Bytes::copy_from_slice(&[*byte])).await.unwrap();
        }
        let unpacked = unpacking.finish().await.unwrap();
        assert_eq!((unpacked.sha256, unpacked.bytes), (Sha256::of(&archive), archive.len() as u64));
        assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "program");
    }
    for (foreign, what) in [(&b"\xfd7zXZ\0\0\x04"[..], "an xz file"), (b"<!DOCTYPE html>", "HTML"), (b"", "nothing at all")] {
        let machine = Machine::new();
        let mut unpacking = machine.directories.unpack(machine.wanted()).await.unwrap();
        for byte in foreign {
            unpacking.push(Bytes::copy_from_slice(&[*byte])).await.unwrap();
        }
        let said = unpacking.finish().await.unwrap_err().to_string();
        assert!(said.contains(what), "{said}");
    }
}

/// Web frameworks name route files, for example, `[id].js`.
#[tokio::test]
async fn a_tar_may_begin_with_any_name() {
    for name in ["[id].js", "{x}", "<y>", "BZh9", "7z", "#!x", "0707"] {
        let machine = Machine::new();
        machine.unpack(&tar(|tar| file(tar, name, 0o644, b"x"))).await.unwrap();
        assert!(machine.at(name).is_file(), "{name}");
    }
}

/// Tapes and pipes are written in whole records, and gzip(1) ignores the zeros at their end.
#[tokio::test]
async fn zeros_behind_gzip_are_passed_over() {
    let plain = release();
    let halves = || (gzip(&plain[..1000]), gzip(&plain[1000..]));
    let (first, second) = halves();
    for archive in [[gzip(&plain), vec![0; 100_000]].concat(), [first, vec![0; 3], second, vec![0; 512]].concat()] {
        let machine = Machine::new();
        machine.unpack(&archive).await.unwrap();
        assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "program");
    }
    let said = Machine::new().refuses(&[gzip(&plain), vec![0; 100], b"garbage".to_vec()].concat()).await;
    assert!(said.starts_with("the archive is damaged: something else follows its end"), "{said}");
}

#[tokio::test]
async fn frames_of_zstd_are_joined_and_skipped() {
    let plain = release();
    let skippable = b"\x5f\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let (first, second) = (zstd(&plain[..1000]), zstd(&plain[1000..]));
    for archive in [
        [first.clone(), second.clone()].concat(),
        [skippable.clone(), first.clone(), skippable.clone(), second.clone(), skippable.clone()].concat(),
        [zstd(b""), first, zstd(b""), second, zstd(b"")].concat(),
    ] {
        let machine = Machine::new();
        machine.unpack(&archive).await.unwrap();
        assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "program");
    }
}

/// Python's tarfile rounds the time in the plain header; a .pyc records its source's time in whole seconds.
#[tokio::test]
async fn times_of_pax_headers_count() {
    let archive = tar(|tar| {
        for (name, time) in [("half", "1600000000.75"), ("before", "-1.5"), ("nonsense", "x")] {
            let attribute = [("mtime", time.as_bytes())];
            tar.append_pax_extensions(attribute).unwrap();
            file(tar, name, 0o644, b"");
        }
        file(tar, "plain", 0o644, b"");
    });
    let machine = Machine::new();
    machine.unpack(&archive).await.unwrap();
    let time = |name: &str| machine.at(name).metadata().map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
    assert_eq!(time("half"), (1_600_000_000, 750_000_000));
    assert_eq!(time("before"), (-2, 500_000_000));
    assert_eq!((time("nonsense"), time("plain")), ((1_600_000_000, 0), (1_600_000_000, 0)));
}

/// As written by `pax -o mtime=…`. Values of extended attributes may contain anything.
#[tokio::test]
async fn a_global_header_counts_and_odd_attributes_do_not() {
    let archive = tar(|tar| {
        raw(tar, EntryType::XGlobalHeader, b"pax_global_header", b"", b"20 mtime=1500000000\n");
        file(tar, "global", 0o644, b"");
        tar.append_pax_extensions([("SCHILY.xattr.user.x", b"a\nb=\xff".as_slice()), ("mtime", b"1400000000.5")]).unwrap();
        file(tar, "own", 0o644, b"");
    });
    let machine = Machine::new();
    machine.unpack(&archive).await.unwrap();
    let time = |name: &str| machine.at(name).metadata().map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
    assert_eq!(time("global"), (1_500_000_000, 0));
    assert_eq!(time("own"), (1_400_000_000, 500_000_000));
}
