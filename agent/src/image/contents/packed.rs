//! What is packed into a file: the members of archives, one level deep, and the objects of git.
//!
//! An archive within an archive, a format that ingot cannot read, and what is damaged are named, and not searched.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _};
use std::path::Path;

use rawzip::{CompressionMethod, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive, ZipFileHeaderRecord};

use super::git;
use super::members::{Take, Unpacked};
use crate::host::unpack::{Foreign, Format, format_of};

/// How much of the beginning of a file tells what it is.
const BEGINNING: usize = 512;

/// How much of one archive is read, unpacked.
const LIMIT: u64 = 8 << 30;

/// The largest window of zstd, as a power of two: that of `zstd -19` twice.
const WINDOW: u32 = 24;

/// The beginnings of files that [`Format`] knows and that are no archives.
const NO_ARCHIVES: [&[u8]; 4] = [b"\x7fELF", b"#!", b"MZ", b"\xca\xfe\xba\xbe"];

/// Packages as somebody published them: what is in them is published.
const PACKAGES: [&str; 7] = ["whl", "gem", "deb", "rpm", "apk", "crate", "snap"];

/// Gives every member of what is packed in `file` to `take`.
pub(super) fn unpack(path: &Path, file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let head = beginning(file)?;
    file.rewind()?;
    let is_package = path.extension().is_some_and(|extension| PACKAGES.iter().any(|known| extension == *known));
    if is_package && !head.is_empty() && std::str::from_utf8(&head).is_err() {
        return Ok(Unpacked::Members);
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
    // Whoever unpacks it will see the same.
    Ok(unpacked.unwrap_or_else(|error| Unpacked::Not(format!("it is damaged: {error}"))))
}

fn beginning(file: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.take(BEGINNING as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Of an archive, its format.
fn kind(head: &[u8]) -> Option<Format> {
    let is_nothing = head.iter().all(|byte| *byte == 0) || NO_ARCHIVES.iter().any(|magic| head.starts_with(magic));
    match format_of(head) {
        _ if is_nothing => None,
        Format::Foreign(Foreign::NoArchive(_)) => None,
        // Of text and numbers that begin as the magic of a format does, there are many.
        Format::Foreign(Foreign::Known(..)) if std::str::from_utf8(head).is_ok() => None,
        format => Some(format),
    }
}

/// Counts what is packed within, and takes the rest.
struct Members<'a, 'b> {
    take: &'a mut Take<'b>,
    nested: usize,
}

impl Members<'_, '_> {
    fn member(&mut self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let head = beginning(content)?;
        if kind(&head).is_some() {
            self.nested += usize::from(!PACKAGES.iter().any(|known| name.ends_with(known)));
            return Ok(());
        }
        (self.take)(name, &mut Cursor::new(head).chain(content))
    }

    fn done(self) -> Unpacked {
        match self.nested {
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

/// A tar, or one file.
fn compressed(mut unpacked: impl Read, path: &Path, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let head = beginning(&mut unpacked)?;
    let is_tar = matches!(kind(&head), Some(Format::Tar));
    let mut all = Cursor::new(head).chain(unpacked).take(LIMIT);
    if is_tar {
        return tar(&mut all, take);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut members = Members { take, nested: 0 };
    members.member(&name, &mut all)?;
    Ok(members.done())
}

fn tar(content: &mut dyn Read, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut members = Members { take, nested: 0 };
    for entry in ::tar::Archive::new(content).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            members.member(&name, &mut entry)?;
        }
    }
    Ok(members.done())
}

fn zip(file: &mut File, take: &mut Take<'_>) -> io::Result<Unpacked> {
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let archive = ZipArchive::from_file(file.try_clone()?, &mut buffer).map_err(io::Error::other)?;
    let mut members = Members { take, nested: 0 };
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(io::Error::other)? {
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
        CompressionMethod::DEFLATE => members.member(&name, &mut flate2::read::DeflateDecoder::new(found.reader()).take(LIMIT)),
        _ => {
            members.nested += 1;
            Ok(())
        }
    }
}
