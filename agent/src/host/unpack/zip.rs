//! Unpacks a zip. Its central directory is at the end, so it is first stored completely, in an unnamed file, and read
//! from there.
//!
//! The central directory is authoritative, not the header before each file: a program that writes to a pipe does not
//! know length and checksum at that point.

use std::fs::File;
use std::io::{self, Read};

use nix::sys::time::TimeSpec;
use rawzip::time::{UtcDateTime, ZipDateTimeKind};
use rawzip::{
    CompressionMethod, CreatorSystem, ErrorKind, FileReader, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt as _, ZipArchive,
    ZipFileHeaderRecord, ZipVerification,
};

use super::Unpacking;
use super::entry::{self, DEFAULT_MODES};
use super::error::{UnpackError, broken, damaged, refused};
use super::format::{self, WINDOW};
use super::sink::Sink;
use crate::failure::Objection;
use crate::host::tree::failed;

/// The longest target of a link, in bytes.
const TARGET: u64 = 4096;

/// The size of the record at the end of a zip, plus the longest comment after it, in bytes.
pub(super) const LONGEST_END: usize = END + 0xffff;
const END: usize = 22;

/// The file types in Unix modes, and the directory attribute in MS-DOS.
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const PIPE: u32 = 0o010_000;
const DOS_DIRECTORY: u32 = 0x10;

/// Unpacks a verified zip; `free` is the available space in bytes.
pub(super) fn unpack(file: File, wanted: &Unpacking, free: u64, sink: &mut Sink) -> Result<(), UnpackError> {
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(wrong)?;
    let mut end = [0; END];
    if archive.get_ref().read_at(&mut end, archive.eocd_offset()).is_ok_and(|length| length == END) && ends_a_split_one(&end) {
        return Err(UnpackError::Unreadable(format::SPLIT.objection(None)));
    }
    let survey = Survey::of(&archive, &mut buffer)?;
    if survey.bytes > free {
        let name = format!("its {} bytes, where {free} are free,", survey.bytes);
        return Err(UnpackError::NoSpace { name, at: wanted.into.clone() });
    }
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(wrong)? {
        take(&archive, &entry, &survey, sink)?;
    }
    if sink.entries == 0 {
        return Err(damaged("it is empty"));
    }
    // If there are more entries than the count field can hold, it contains the low 16 bits.
    let (stated, is_short) = (archive.entries_hint(), archive.entries_hint() <= 0xffff);
    if sink.entries != stated && !(is_short && sink.entries & 0xffff == stated) {
        return Err(damaged("its list of contents is not of the length that it states"));
    }
    Ok(())
}

/// Information about all entries, collected before the first is unpacked.
struct Survey {
    /// The sum of the stated unpacked sizes.
    bytes: u64,
    /// Whether every backslash is a separator, whichever system the entries state: no name contains a slash. Names
    /// escaped by systemd (`\x2d`) are an exception.
    has_backslashes_only: bool,
}

impl Survey {
    fn of(archive: &ZipArchive<FileReader>, buffer: &mut [u8]) -> Result<Self, UnpackError> {
        let (mut bytes, mut slashes, mut backslashes, mut escapes) = (0_u64, false, false, false);
        let mut entries = archive.entries(buffer);
        while let Some(entry) = entries.next_entry().map_err(wrong)? {
            bytes = bytes.saturating_add(entry.uncompressed_size_hint());
            let path = entry.file_path();
            slashes |= path.as_bytes().contains(&b'/');
            backslashes |= path.as_bytes().contains(&b'\\');
            escapes |= path.as_bytes().windows(2).any(|pair| pair == b"\\x");
        }
        Ok(Self { bytes, has_backslashes_only: backslashes && !slashes && !escapes })
    }

    /// The name of an entry, with slashes.
    ///
    /// The format requires slashes, but .NET before 4.6.1, and therefore PowerShell, wrote backslashes. As in Info-ZIP
    /// and libarchive, backslashes count as slashes in an entry made on MS-DOS whose name contains no slash.
    fn name(&self, entry: &ZipFileHeaderRecord<'_>) -> Vec<u8> {
        let mut name = entry.file_path().as_bytes().to_vec();
        if self.has_backslashes_only || !is_of_unix(entry) && !name.contains(&b'/') {
            name.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        name
    }
}

fn take(archive: &ZipArchive<FileReader>, entry: &ZipFileHeaderRecord<'_>, survey: &Survey, sink: &mut Sink) -> Result<(), UnpackError> {
    let (name, size) = (survey.name(entry), entry.uncompressed_size_hint());
    let unix = if is_of_unix(entry) { entry.external_attributes() >> 16 } else { 0 };
    let is_directory = name.ends_with(b"/")
        || unix & KIND == DIRECTORY
        || !is_of_unix(entry) && size == 0 && entry.external_attributes() & DOS_DIRECTORY != 0;
    // Without permission bits the mode states nothing: Java, Go and Windows leave them out.
    let mode = |default: u32| if unix & 0o777 == 0 { default } else { unix & 0o7777 };
    if is_directory {
        return sink.directory(&name, mode(DEFAULT_MODES.1));
    }
    // Info-ZIP marks content that it read from a pipe as a pipe, although it is a file.
    if !matches!(unix & KIND, 0 | FILE | LINK | PIPE) {
        return Err(refused(&name, "which is neither a file nor a directory nor a link"));
    }
    let shown = || entry::shown(&name);
    if entry.flags().is_encrypted() {
        let message = format!("this is an encrypted zip: `{}` needs a password", shown());
        return Err(UnpackError::Unreadable(Objection::new(message, "publish the zip without a password")));
    }
    let found = archive.get_entry(entry.wayfinder()).map_err(wrong)?;
    let reader = found.reader();
    let wanted = reader.claim_verifier();
    let unpacked: Box<dyn Read + '_> = match entry.compression_method() {
        CompressionMethod::STORE => Box::new(reader),
        CompressionMethod::DEFLATE => Box::new(flate2::read::DeflateDecoder::new(reader)),
        CompressionMethod::ZSTD => {
            let mut decoder = ::zstd::Decoder::new(reader).map_err(broken)?;
            decoder.window_log_max(WINDOW).map_err(broken)?;
            Box::new(decoder)
        }
        other => {
            let message = format!("in this zip, `{}` is compressed by method {other}, which ingot does not read", shown());
            return Err(UnpackError::Unreadable(Objection::new(message, "make the zip with deflate, the method of `zip -r`")));
        }
    };
    let mut content = Verified { unpacked, wanted, crc: flate2::Crc::new(), size: 0 };
    if unix & KIND == LINK {
        let mut target = Vec::new();
        content.take(TARGET).read_to_end(&mut target).map_err(broken)?;
        return sink.symlink(&name, &target);
    }
    sink.file(&name, mode(DEFAULT_MODES.0), modified(entry), size, &mut content)
}

/// Whether an entry has Unix attributes.
fn is_of_unix(entry: &ZipFileHeaderRecord<'_>) -> bool {
    matches!(entry.version_made_by().creator_system(), CreatorSystem::UNIX | CreatorSystem::MACOS)
}

/// The modification time of a file. The MS-DOS time, which every entry has, has no time zone. It is read as UTC, the
/// setting of most machines that build releases. `None` if it is not a valid date, such as what Go writes if none was
/// given.
fn modified(entry: &ZipFileHeaderRecord<'_>) -> Option<TimeSpec> {
    let time = match entry.last_modified() {
        ZipDateTimeKind::Utc(time) => time,
        ZipDateTimeKind::Local(_) if entry.last_modified_dos().packed_date() == 0 => return None,
        ZipDateTimeKind::Local(time) => {
            UtcDateTime::from_components(time.year(), time.month(), time.day(), time.hour(), time.minute(), time.second(), 0)?
        }
    };
    Some(TimeSpec::new(time.to_unix(), time.nanosecond().into()))
}

/// Whether the last end record among these bytes belongs to a multi-part zip: it is on another disk than the first
/// part.
pub(super) fn ends_a_split_one(bytes: &[u8]) -> bool {
    let end = bytes.windows(END).rfind(|end| end.starts_with(b"PK\x05\x06"));
    end.is_some_and(|end| !matches!(u16::from_le_bytes([end[4], end[5]]), 0 | 0xffff))
}

/// Why a zip could not be stored: the download was aborted, or the disk is full.
pub(super) fn unwritten(error: io::Error, wanted: &Unpacking) -> UnpackError {
    match error.kind() {
        io::ErrorKind::ConnectionAborted => broken(error),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            UnpackError::NoSpace { name: "the archive".into(), at: wanted.into.clone() }
        }
        _ => UnpackError::Host(failed("write the archive to", &wanted.into, error)),
    }
}

/// Compares an unpacked file with its entry in the central directory. Uses flate2's checksum, which is linked anyway.
struct Verified<'a> {
    unpacked: Box<dyn Read + 'a>,
    wanted: ZipVerification,
    crc: flate2::Crc,
    size: u64,
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.unpacked.read(buffer)?;
        self.crc.update(&buffer[..read]);
        self.size += read as u64;
        if (read == 0 && !buffer.is_empty()) || self.size > self.wanted.uncompressed_size {
            let found = ZipVerification { crc: self.crc.sum(), uncompressed_size: self.size };
            self.wanted.valid(found).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(read)
    }
}

fn wrong(error: rawzip::Error) -> UnpackError {
    match error.kind() {
        // The central directory and the record that points to it come last.
        ErrorKind::MissingEndOfCentralDirectory | ErrorKind::Eof => damaged("it ends in the middle"),
        kind => damaged(&kind.to_string()),
    }
}
