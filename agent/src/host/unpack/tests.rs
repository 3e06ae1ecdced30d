//! Real archives on a real disk: valid, broken and malicious ones.

mod broken;
mod files;
mod links;
mod streams;
mod zips;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use ::tar::{Builder, EntryType, Header};
use bytes::Bytes;

use super::disk::DiskDirectories;
use super::*;
use crate::failure::Explanation;
use crate::failure::Failure as _;

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(1_600_000_000);
    header
}

type Tar = Builder<Vec<u8>>;

fn file(tar: &mut Tar, name: &str, mode: u32, content: &[u8]) {
    tar.append_data(&mut header(EntryType::Regular, mode, content.len()), name, content).unwrap();
}

/// An entry with a name that the crate would refuse to write.
fn raw(tar: &mut Tar, kind: EntryType, name: &[u8], link: &[u8], content: &[u8]) {
    let mut header = header(kind, 0o644, content.len());
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn tar(build: impl FnOnce(&mut Tar)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    build(&mut tar);
    tar.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(content, 3).unwrap()
}

fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut output);
    for (name, mode, content) in entries {
        if name.ends_with('/') {
            archive.new_dir(name).unix_permissions(*mode).create().unwrap();
            continue;
        }
        let file = archive.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE).unix_permissions(*mode);
        let (mut entry, config) = file.start().unwrap();
        let mut writer = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    output
}

/// The same archive, with a name in it replaced by another of the same length.
fn renamed(mut archive: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    for at in 0..=archive.len() - from.len() {
        if archive[at..].starts_with(from) {
            archive[at..at + to.len()].copy_from_slice(to);
        }
    }
    archive
}

/// A machine with nothing but a directory for archives, and files next to it that must not be changed.
struct Machine {
    root: tempfile::TempDir,
    directories: DiskDirectories,
}

const INTO: &str = "/opt/new";

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("opt")).unwrap();
        fs::write(root.path().join("opt/victim"), "keep").unwrap();
        let directories = DiskDirectories::new(Some(root.path().to_owned()));
        Self { root, directories }
    }

    fn wanted(&self) -> Unpacking {
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let attributes = Attributes { mode: 0o751, uid: own.0, gid: own.1 };
        let form = Form::Archive { strip_components: 0, links: Links::default() };
        Unpacking { into: INTO.into(), attributes, form, sha256: None, length: None, limit: None }
    }

    async fn unpack_as(&self, archive: &[u8], wanted: Unpacking) -> Result<Unpacked, UnpackError> {
        let mut unpacking = self.directories.unpack(wanted).await?;
        for piece in archive.chunks(7000) {
            unpacking.push(Bytes::copy_from_slice(piece)).await?;
        }
        unpacking.finish().await
    }

    async fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_as(archive, self.wanted()).await
    }

    /// Message and hint for a refused archive. Also checks that nothing outside its directory has changed.
    async fn refuses(&self, archive: &[u8]) -> String {
        let error = self.unpack(archive).await.unwrap_err();
        assert_eq!(fs::read_to_string(self.root.path().join("opt/victim")).unwrap(), "keep");
        let mut beside: Vec<_> = fs::read_dir(self.root.path().join("opt")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["new", "victim"]);
        Explanation::of(&error).to_string()
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(&INTO[1..]).join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        self.at(name).symlink_metadata().unwrap().permissions().mode() & 0o7777
    }
}

/// A typical release.
fn release() -> Vec<u8> {
    tar(|tar| {
        tar.append_data(&mut header(EntryType::Directory, 0o2777, 0), "./", &b""[..]).unwrap();
        tar.append_data(&mut header(EntryType::Directory, 0o500, 0), "bin/", &b""[..]).unwrap();
        file(tar, "bin/shop", 0o4755, b"program");
        file(tar, "lib/deep/er/x", 0o666, &vec![7; 300_000]);
        file(tar, "empty", 0o600, b"");
        tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), "bin/latest", "../lib/deep").unwrap();
        tar.append_link(&mut header(EntryType::Link, 0o644, 0), "copy", "bin/shop").unwrap();
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
        file(tar, &long, 0o644, b"long");
    })
}

#[tokio::test]
async fn unpacks_each_format() {
    let plain = release();
    for archive in [plain.clone(), gzip(&plain), zstd(&plain), [gzip(&plain[..1000]), gzip(&plain[1000..])].concat()] {
        let machine = Machine::new();
        let unpacked = machine.unpack(&archive).await.unwrap();
        assert_eq!((unpacked.sha256, unpacked.bytes), (Sha256::of(&archive), archive.len() as u64));
        assert_eq!(unpacked.unpacked, 7 + 300_000 + 4);
        assert_eq!(unpacked.warnings, ["setuid and setgid are not taken from an archive: bin/shop has lost them"]);
        assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "program");
        assert_eq!(fs::read(machine.at("bin/latest/er/x")).unwrap(), vec![7; 300_000]);
        assert_eq!(machine.at("copy").metadata().unwrap().ino(), machine.at("bin/shop").metadata().unwrap().ino());
        assert_eq!(fs::read_to_string(machine.at(&format!("{}/{}", "d".repeat(200), "f".repeat(200)))).unwrap(), "long");
        let modes = ["", "bin", "bin/shop", "lib/deep", "lib/deep/er/x", "empty"].map(|name| machine.mode(name));
        assert_eq!(modes, [0o751, 0o700, 0o755, 0o755, 0o644, 0o600]);
        assert_eq!(machine.at("empty").metadata().unwrap().mtime(), 1_600_000_000);
    }
    let machine = Machine::new();
    let archive = zip(&[("bin/", 0o755, b""), ("bin/shop", 0o100_755, b"program"), ("link", 0o120_777, b"bin/shop"), ("a/b", 0o644, b"x")]);
    machine.unpack(&archive).await.unwrap();
    assert_eq!(fs::read_to_string(machine.at("link")).unwrap(), "program");
    assert_eq!((machine.mode("bin/shop"), machine.mode("a/b"), machine.mode("")), (0o755, 0o644, 0o751));
}

#[tokio::test]
async fn takes_directories_off_and_replaces_what_lay_there() {
    let machine = Machine::new();
    machine.unpack(&release()).await.unwrap();
    let archive = tar(|tar| {
        file(tar, "shop-1.0/bin/shop", 0o755, b"new");
        file(tar, "README", 0o644, b"stripped away");
    });
    let form = Form::Archive { strip_components: 1, links: Links::default() };
    let wanted = || Unpacking { form: form.clone(), ..machine.wanted() };
    let error = machine.unpack_as(&archive, wanted()).await.unwrap_err();
    assert_eq!(error.to_string(), "the archive holds `README`, a file in place of the whole directory");
    machine.unpack_as(&tar(|tar| file(tar, "shop-1.0/bin/shop", 0o755, b"new")), wanted()).await.unwrap();
    assert_eq!(fs::read_to_string(machine.at("bin/shop")).unwrap(), "new");
    assert!(!machine.at("lib").exists());
}

#[tokio::test]
async fn what_leads_outside_is_refused() {
    let link = |name: &'static [u8], to: &'static [u8]| tar(|tar| raw(tar, EntryType::Symlink, name, to, b""));
    let through = tar(|tar| {
        raw(tar, EntryType::Symlink, b"down", b"sub", b"");
        file(tar, "sub/x", 0o644, b"x");
        raw(tar, EntryType::Regular, b"down/y", b"", b"y");
    });
    let mut said = Vec::new();
    for archive in [
        tar(|tar| raw(tar, EntryType::Regular, b"../victim", b"", b"x")),
        tar(|tar| raw(tar, EntryType::Regular, b"a/../../victim", b"", b"x")),
        tar(|tar| raw(tar, EntryType::Regular, b"/opt/victim", b"", b"x")),
        link(b"out", b"/etc/passwd"),
        link(b"out", b"../victim"),
        link(b"a/out", b"b/../../.."),
        tar(|tar| raw(tar, EntryType::Link, b"out", b"../victim", b"")),
        tar(|tar| raw(tar, EntryType::Link, b"out", b"/opt/victim", b"")),
        through,
        // With a name that the crate would refuse to write.
        renamed(zip(&[("xx/victim", 0o644, b"x")]), b"xx/victim", b"../victim"),
        zip(&[("out", 0o120_777, b"../victim")]),
    ] {
        said.push(Machine::new().refuses(&archive).await.lines().next().unwrap().to_owned());
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    the archive holds `../victim`, which leads out of its directory by `..`
    the archive holds `a/../../victim`, which leads out of its directory by `..`
    the archive holds `/opt/victim`, which is an absolute path
    the archive holds `out`, a link to an absolute path: /etc/passwd
    the archive holds `out`, a link that leads out of the bundle: ../victim
    the archive holds `a/out`, a link with `..` after a name, which may lead out of the bundle through another link: b/../../..
    the archive holds `out`, a link to ../victim, which leads out of its directory by `..`
    the archive holds `out`, a link to /opt/victim, which is an absolute path
    the archive holds `down/y`, whose path leads through a link
    the archive holds `../victim`, which leads out of its directory by `..`
    the archive holds `out`, a link that leads out of the bundle: ../victim
    ");
}

#[tokio::test]
async fn what_is_neither_file_nor_directory_nor_link_is_refused() {
    for (kind, what) in
        [(EntryType::Fifo, "a FIFO"), (EntryType::Char, "a device"), (EntryType::Block, "a device"), (EntryType::new(b'V'), "neither")]
    {
        let said = Machine::new().refuses(&tar(|tar| raw(tar, kind, b"x", b"", b""))).await;
        assert!(said.starts_with("the archive holds `x`, which is") && said.contains(what), "{said}");
    }
    let said = Machine::new().refuses(&zip(&[("x", 0o020_644, b"")])).await;
    assert!(said.contains("which is neither a file nor a directory nor a link"), "{said}");
}

/// A link that existed before the archive arrived does no harm, because the directory is created anew.
#[tokio::test]
async fn a_link_in_place_of_the_directory_is_not_followed() {
    let machine = Machine::new();
    fs::create_dir(machine.root.path().join("elsewhere")).unwrap();
    fs::write(machine.root.path().join("elsewhere/x"), "keep").unwrap();
    symlink("../elsewhere", machine.root.path().join("opt/new")).unwrap();
    machine.unpack(&release()).await.unwrap();
    assert!(!machine.root.path().join("opt/new").is_symlink());
    assert_eq!(fs::read_to_string(machine.root.path().join("elsewhere/x")).unwrap(), "keep");
    machine.directories.remove(Path::new("/opt/new")).await.unwrap();
    assert!(!machine.at("").exists());
}

#[tokio::test]
async fn bombs_are_refused() {
    let zeros = tar(|tar| {
        let mut header = header(EntryType::Regular, 0o644, 3 << 20);
        tar.append_data(&mut header, "zeros", std::io::repeat(0).take(3 << 20)).unwrap();
    });
    let many = tar(|tar| (0..600).for_each(|number| file(tar, &number.to_string(), 0o644, b"")));
    let behind = [tar(|tar| file(tar, "x", 0o644, b"x")), vec![0; 3 << 20]].concat();
    let in_zip = zip(&[("zeros", 0o644, &vec![0; 3 << 20])]);
    for archive in [gzip(&zeros), zstd(&zeros), gzip(&many), gzip(&behind), in_zip] {
        let machine = Machine::new();
        let wanted = Unpacking { limit: Some(2 << 20), ..machine.wanted() };
        let error = machine.unpack_as(&archive, wanted).await.unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge { limit: 0x20_0000 }), "{error}");
        assert_eq!(error.hint().unwrap(), "raise `max_size_gib` if it is meant to be this large");
    }
    // A name without end would be read into memory.
    let name = tar(|tar| raw(tar, EntryType::new(b'L'), b"././@LongLink", b"", &vec![b'a'; 2 << 20]));
    let said = Machine::new().refuses(&gzip(&name)).await;
    assert!(said.starts_with("the archive is damaged: its headers are longer than any name"), "{said}");
}

#[tokio::test]
async fn another_archive_is_not_taken() {
    for archive in [gzip(&release()), zip(&[("x", 0o644, b"x")])] {
        let machine = Machine::new();
        let right = Unpacking { sha256: Some(Sha256::of(&archive)), length: Some(archive.len() as u64), ..machine.wanted() };
        machine.unpack_as(&archive, right.clone()).await.unwrap();
        let other = Unpacking { sha256: Some(Sha256::of(b"other")), ..right.clone() };
        assert!(matches!(machine.unpack_as(&archive, other).await, Err(UnpackError::Digest { .. })));
        let longer = Unpacking { length: Some(9), ..right };
        let error = machine.unpack_as(&archive, longer).await.unwrap_err();
        assert!(matches!(error, UnpackError::Length { .. }) && error.is_transient());
    }
}

#[tokio::test]
async fn of_two_with_one_name_the_last_counts_unless_one_is_a_directory() {
    let twice = tar(|tar| {
        file(tar, "x", 0o644, b"one");
        raw(tar, EntryType::Symlink, b"x", b"y", b"");
        file(tar, "x", 0o755, b"two");
    });
    let machine = Machine::new();
    machine.unpack(&twice).await.unwrap();
    assert_eq!((fs::read_to_string(machine.at("x")).unwrap().as_str(), machine.mode("x")), ("two", 0o755));
    let both = tar(|tar| {
        file(tar, "x/y", 0o644, b"one");
        file(tar, "x", 0o644, b"two");
    });
    assert!(Machine::new().refuses(&both).await.starts_with("the archive holds `x`, which is a directory and something else, too"));
}

#[tokio::test]
async fn names_need_not_be_utf_8() {
    let machine = Machine::new();
    machine.unpack(&tar(|tar| raw(tar, EntryType::Regular, b"caf\xe9", b"", b"x"))).await.unwrap();
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9".as_slice());
    assert_eq!(fs::read_to_string(machine.at("").join(name)).unwrap(), "x");
}

#[tokio::test]
async fn who_is_dropped_leaves_no_thread_that_writes() {
    let machine = Machine::new();
    let archive = release();
    for _ in 0..20 {
        let mut unpacking = machine.directories.unpack(machine.wanted()).await.unwrap();
        unpacking.push(Bytes::copy_from_slice(&archive[..9000])).await.unwrap();
        drop(unpacking);
        machine.unpack(&archive).await.unwrap();
        assert_eq!(fs::read(machine.at("lib/deep/er/x")).unwrap(), vec![7; 300_000]);
    }
}
