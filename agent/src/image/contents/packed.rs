//! Unpacks files: the members of archives, one level deep, and git's objects.
//!
//! Nested archives, unsupported formats and damaged files are reported as not searched.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _};
use std::path::Path;

use rawzip::{CompressionMethod, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive, ZipFileHeaderRecord};

use super::git;
use super::members::{LIMIT, Take, Unpacked};
use crate::host::unpack::{Foreign, Format, format_of};

/// How many bytes are needed to detect the format of a file.
const BEGINNING: usize = 512;

/// The largest zstd window, as a power of two: twice that of `zstd -19`.
const WINDOW: u32 = 24;

/// Magic bytes of files that [`Format`] recognizes but that are not archives.
const NO_ARCHIVES: [&[u8]; 4] = [b"\x7fELF", b"#!", b"MZ", b"\xca\xfe\xba\xbe"];

/// File extensions of packages, which are usually published ones.
const PACKAGES: [&str; 7] = ["whl", "gem", "deb", "rpm", "apk", "crate", "snap"];

/// Magic bytes of those packages that are neither zip, tar nor gzip.
const PACKAGE_MAGIC: [&[u8]; 3] = [b"hsqs", b"\xed\xab\xee\xdb", b"!<arch>\n"];

/// Longer member names are not read. In bytes.
const NAME: u64 = 64 << 10;

/// Passes every member of the archive `file` to `take`.
pub(super) fn unpack(path: &Path, file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let head = beginning(file)?;
    file.rewind()?;
    if is_package(path, &head) {
        return Ok(Unpacked::Not("it is a package".into()));
    }
    let unpacked = match kind(&head) {
        _ if git::is_pack(path, &head) => git::pack(file, take),
        _ if git::is_object(path, &head) => git::object(file, take),
        Some(Format::Zip) => zip(file, take),
        Some(Format::Tar) => tar(file, take),
        Some(Format::Gzip) => compressed(flate2::read::MultiGzDecoder::new(BufReader::new(file)), path, take),
        Some(Format::Zstd) => zstd(file).and_then(|decoder| compressed(decoder, path, take)),
        Some(Format::Foreign(Foreign::Known(name, _))) => return Ok(Unpacked::Not(format!("it is {name}"))),
        _ => return Ok(Unpacked::Plain),
    };
    // Any other program that unpacks it will meet the same error.
    Ok(unpacked.unwrap_or_else(|error| Unpacked::Not(format!("it is damaged: {error}"))))
}

fn is_package(path: &Path, head: &[u8]) -> bool {
    let is_called = path.extension().is_some_and(|extension| PACKAGES.iter().any(|known| extension == *known));
    let begins = || PACKAGE_MAGIC.iter().any(|magic| head.starts_with(magic));
    is_called && (begins() || matches!(kind(head), Some(Format::Zip | Format::Tar | Format::Gzip)))
}

fn beginning(file: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.take(BEGINNING as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The format, if it is an archive.
fn kind(head: &[u8]) -> Option<Format> {
    let is_nothing = head.iter().all(|byte| *byte == 0) || NO_ARCHIVES.iter().any(|magic| head.starts_with(magic));
    match format_of(head) {
        _ if is_nothing => None,
        Format::Foreign(Foreign::NoArchive(_)) => None,
        // Text and numbers often happen to begin with the magic bytes of a format.
        Format::Foreign(Foreign::Known(..)) if std::str::from_utf8(head).is_ok() => None,
        format => Some(format),
    }
}

/// Counts nested archives, and passes on the other members.
struct Members<'a, 'b> {
    take: &'a mut Take<'b>,
    nested: usize,
    /// How many bytes may still be read.
    left: u64,
}

impl<'a, 'b> Members<'a, 'b> {
    fn new(take: &'a mut Take<'b>) -> Self {
        Self { take, nested: 0, left: LIMIT }
    }

    fn member(&mut self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let head = beginning(content)?;
        if kind(&head).is_some() {
            self.nested += usize::from(!is_package(Path::new(name), &head));
            return Ok(());
        }
        let mut all = Cursor::new(head).chain(content).take(self.left);
        (self.take)(name, &mut all)?;
        self.left = all.limit();
        Ok(())
    }

    fn done(self) -> Unpacked {
        match self.nested {
            _ if self.left == 0 => Unpacked::InPart("it is too large".into()),
            0 => Unpacked::Members,
            1 => Unpacked::InPart("an archive is in it".into()),
            many => Unpacked::InPart(format!("{many} archives are in it")),
        }
    }
}

fn zstd(file: &mut File) -> io::Result<::zstd::Decoder<'static, BufReader<&mut File>>> {
    let mut decoder = ::zstd::Decoder::new(file)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

/// A compressed tar or a single compressed file.
fn compressed(mut unpacked: impl Read, path: &Path, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let head = beginning(&mut unpacked)?;
    let is_tar = matches!(kind(&head), Some(Format::Tar));
    let mut all = Cursor::new(head).chain(unpacked).take(LIMIT);
    if is_tar {
        return tar(&mut all, take);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut members = Members::new(take);
    members.member(&name, &mut all)?;
    Ok(members.done())
}

fn tar(content: &mut dyn Read, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut members = Members::new(take);
    let mut long = None;
    // Raw, because the library would read a name of any length into memory.
    for entry in ::tar::Archive::new(content).entries()?.raw(true) {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut text = Vec::new();
            entry.take(NAME).read_to_end(&mut text)?;
            long = long_name(&String::from_utf8_lossy(&text), kind.is_gnu_longname()).or(long);
            continue;
        }
        let long = long.take();
        if kind.is_file() {
            let name = long.unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
            members.member(&name, &mut entry)?;
        }
    }
    Ok(members.done())
}

/// The name of the next member: all of `text` up to a NUL, or the value in a line such as `24 path=…`.
fn long_name(text: &str, is_all: bool) -> Option<String> {
    let name = match is_all {
        true => text.split('\0').next(),
        false => text.lines().find_map(|line| line.split_once(' ')?.1.strip_prefix("path=")),
    };
    name.map(str::to_owned)
}

fn zip(file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let archive = ZipArchive::from_file(file.try_clone()?, &mut buffer).map_err(io::Error::other)?;
    let mut members = Members::new(take);
    let mut entries = archive.entries(&mut buffer);
    while members.left > 0
        && let Some(entry) = entries.next_entry().map_err(io::Error::other)?
    {
        zip_member(&archive, &entry, &mut members)?;
    }
    Ok(members.done())
}

fn zip_member(archive: &ZipArchive<FileReader>, entry: &ZipFileHeaderRecord<'_>, members: &mut Members<'_, '_>) -> io::Result<()> {
    let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
    if name.ends_with('/') {
        return Ok(());
    }
    if entry.flags().is_encrypted() {
        members.nested += 1;
        return Ok(());
    }
    let found = archive.get_entry(entry.wayfinder()).map_err(io::Error::other)?;
    match entry.compression_method() {
        CompressionMethod::STORE => members.member(&name, &mut found.reader()),
        CompressionMethod::DEFLATE => members.member(&name, &mut flate2::read::DeflateDecoder::new(found.reader())),
        _ => {
            members.nested += 1;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn is(name: &str, head: &[u8]) -> bool {
        is_package(Path::new(name), head)
    }

    #[test]
    fn a_package_is_told_by_its_name_and_its_beginning() {
        assert!(is("a.snap", b"hsqs\x01") && is("a.rpm", b"\xed\xab\xee\xdb\x03") && is("a.deb", b"!<arch>\ndebian"));
        assert!(is("a.whl", b"PK\x03\x04\x14\0\xff") && is("a.crate", b"\x1f\x8b\x08\0\xff"));
        assert!(!is("notes.snap", b"\xff\xfetoken") && !is("state.apk", b"\0\x01token"));
        assert!(!is("thegem", b"!<arch>\n") && !is("a.zip", b"PK\x03\x04\x14\0\xff"));
    }

    #[test]
    fn a_long_name_is_read_up_to_a_bound() {
        let mut tar = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o600);
        let long = format!("{}/.env", "d".repeat(200));
        tar.append_data(&mut header, &long, &b"x"[..]).unwrap();
        let mut endless = ::tar::Header::new_gnu();
        endless.set_entry_type(::tar::EntryType::GNULongName);
        endless.set_size(4 * NAME);
        endless.set_cksum();
        tar.append(&endless, &*vec![b'n'; 4 * NAME as usize]).unwrap();
        header.set_cksum();
        tar.append(&header, &b"x"[..]).unwrap();
        let mut names = Vec::new();
        let mut take = |name: &str, _: &mut dyn Read| {
            names.push(name.to_owned());
            Ok(())
        };
        tar_of(tar.into_inner().unwrap(), &mut take);
        assert_eq!(names, [long, "n".repeat(NAME as usize)]);
        assert_eq!(long_name("30 mtime=1.5\n19 path=a/b c/.env\n", false), Some("a/b c/.env".into()));
    }

    /// Reading is limited by the unpacked size: a gigabyte of zeros compresses to a megabyte.
    #[test]
    fn an_archive_is_read_up_to_a_bound_all_its_members_together() {
        let mut read = Vec::new();
        let mut take = |name: &str, content: &mut dyn Read| {
            read.push((name.to_owned(), io::copy(content, &mut io::sink())?));
            Ok(())
        };
        let mut members = Members { left: 1000, ..Members::new(&mut take) };
        for name in ["a", "b", "c"] {
            members.member(name, &mut &[b'x'; 600][..]).unwrap();
        }
        assert!(matches!(members.done(), Unpacked::InPart(why) if why == "it is too large"));
        assert_eq!(read, [("a".into(), 600), ("b".into(), 400), ("c".into(), 0)]);
        assert!(matches!(Members::new(&mut |_, _| Ok(())).done(), Unpacked::Members));
    }

    fn tar_of(content: Vec<u8>, take: &mut Take<'_>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.rewind().unwrap();
        assert!(matches!(unpack(Path::new("/x.tar"), &mut file, take).unwrap(), Unpacked::Members));
    }
}
