//! The messages about files that cannot be unpacked.

use super::*;

/// As written by `zstd --ultra -22` when the length of the input is unknown.
fn wide() -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&release()).unwrap();
    encoder.finish().unwrap()
}

/// Files that cannot be unpacked, by name.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let plain = release();
    let (packed, zipped) = (gzip(&plain), zip(&[("a", 0o644, &[5; 9000])]));
    vec![
        ("gzip cut", packed[..packed.len() - 20].to_vec()),
        ("zstd cut", zstd(&plain)[..200].to_vec()),
        ("tar cut in a file", plain[..5000].to_vec()),
        ("tar cut between files", plain[..plain.len() - 1024].to_vec()),
        ("tar cut behind a long name", tar(|tar| file(tar, &"n".repeat(120), 0o644, b""))[..1024].to_vec()),
        ("zip cut", zipped[..zipped.len() - 30].to_vec()),
        ("behind gzip", [packed.clone(), b"more garbage than a header".to_vec()].concat()),
        ("behind zstd", [zstd(&plain), b"more garbage than a header".to_vec()].concat()),
        ("behind tar", [plain.clone(), b"more garbage than a header".to_vec()].concat()),
        ("nothing in it", gzip(&[0; 1024])),
        ("nothing in gzip", gzip(b"")),
        ("nothing", Vec::new()),
        ("a page", b"<!DOCTYPE html><html><body>Not found</body></html>".to_vec()),
        ("an error", br#"{"message": "not found"}"#.to_vec()),
        ("a text", b"this is not an archive".to_vec()),
        ("a page with a blank", b"\n <html>".to_vec()),
        ("a text that is cut", "x".repeat(511).as_bytes().iter().chain("\u{e9}".as_bytes()).copied().collect()),
        ("something", b"\x01\x02\x03\x04".to_vec()),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec()),
        ("bzip2", b"BZh91AY&SY".to_vec()),
        ("lz4", b"\x04\x22\x4d\x18".to_vec()),
        ("7z", b"7z\xbc\xaf\x27\x1c".to_vec()),
        ("rar", b"Rar!\x1a\x07\x01\0".to_vec()),
        ("a split zip", b"PK\x07\x08PK\x03\x04".to_vec()),
        ("a package", b"!<arch>\ndebian-binary".to_vec()),
        ("a program", b"\x7fELF\x02".to_vec()),
        ("gzip of a program", gzip(b"\x7fELF\x02")),
        ("gzip of gzip", gzip(&gzip(&plain))),
        ("zstd of nothing", zstd(b"")),
        ("a wide window", wide()),
        ("gzip of a page", gzip(b"<html>")),
    ]
}

#[tokio::test]
async fn what_is_broken_is_named() {
    let mut spoilt = zstd(&release());
    let at = spoilt.len() - 2;
    spoilt[at] ^= 1;
    let mut lines = Vec::new();
    for (what, archive) in broken() {
        let error = Machine::new().unpack(&archive).await.unwrap_err();
        lines.push(format!("{what}: {error}"));
    }
    let error = Machine::new().unpack(&spoilt).await;
    lines.push(format!("spoilt zstd: {}", error.map_or_else(|error| error.to_string(), |_| "not noticed".into())));
    insta::assert_snapshot!(lines.join("\n"), @r"
    gzip cut: the archive is damaged: it ends in the middle
    zstd cut: the archive is damaged: it ends in the middle
    tar cut in a file: the archive is damaged: it ends in the middle
    tar cut between files: the archive is damaged: it ends without the mark of its end
    tar cut behind a long name: the archive is damaged: it ends in the middle
    zip cut: the archive is damaged: it ends in the middle
    behind gzip: the archive is damaged: something else follows its end
    behind zstd: the archive is damaged: something else follows its end
    behind tar: the archive is damaged: something follows its end
    nothing in it: the archive is damaged: it is empty
    nothing in gzip: this is not an archive: it looks like nothing at all, an empty file, compressed with gzip
    nothing: this is not an archive: it looks like nothing at all, an empty file
    a page: this is not an archive: it looks like HTML or XML
    an error: this is not an archive: it looks like JSON
    a text: this is not an archive: it looks like text
    a page with a blank: this is not an archive: it looks like HTML or XML
    a text that is cut: this is not an archive: it looks like text
    something: this is not an archive: it looks like something else
    xz: this is an xz file, which ingot does not unpack
    bzip2: this is a bzip2 file, which ingot does not unpack
    lz4: this is an lz4 file, which ingot does not unpack
    7z: this is a 7z archive, which ingot does not unpack
    rar: this is a rar archive, which ingot does not unpack
    a split zip: this is the first part of a split zip, which ingot does not unpack
    a package: this is a Debian package or another archive of ar(1), which ingot does not unpack
    a program: this is an executable (ELF), which ingot does not unpack
    gzip of a program: this is an executable (ELF), compressed with gzip, which ingot does not unpack
    gzip of gzip: this is a gzip file, compressed with gzip, which ingot does not unpack
    zstd of nothing: this is not an archive: it looks like nothing at all, an empty file, compressed with zstd
    a wide window: this is zstd with a window of more than 16 MiB, which ingot does not unpack
    gzip of a page: this is not an archive: it looks like HTML or XML, compressed with gzip
    spoilt zstd: the archive is damaged: Data corruption detected
    ");
}
