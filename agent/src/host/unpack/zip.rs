//! A zip: its list of contents stands at its end, so it is laid down whole, in a file without a name, and read from there.

use std::fs::File;
use std::io::{self, Read};

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use super::Unpacking;
use super::error::{UnpackError, broken, damaged, refused};
use super::limit::WINDOW;
use super::sink::Sink;
use crate::host::tree::failed;

/// The longest target of a link.
const TARGET: u64 = 4096;

/// Unpacks a zip that has been verified; `free` is how many bytes there is room for.
pub(super) fn unpack(file: File, wanted: &Unpacking, free: u64, sink: &mut Sink) -> Result<(), UnpackError> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(wrong)?;
    let mut sum = 0_u64;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(wrong)? {
        sum = sum.saturating_add(entry.uncompressed_size_hint());
    }
    if sum > free {
        return Err(UnpackError::NoSpace { name: format!("its {sum} bytes, where {free} are free,"), at: wanted.into.clone() });
    }
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(wrong)? {
        let name = AsRef::<[u8]>::as_ref(&entry.file_path()).to_vec();
        let (mode, size) = (entry.mode(), entry.uncompressed_size_hint());
        if entry.is_dir() {
            sink.directory(&name, mode.value())?;
            continue;
        }
        let special = mode.value() & 0o170_000;
        if !matches!(special, 0 | 0o100_000 | 0o120_000) {
            return Err(refused(&name, "which is neither a file nor a directory nor a link"));
        }
        let found = archive.get_entry(entry.wayfinder()).map_err(wrong)?;
        let reader = found.reader();
        let mut content: Box<dyn Read> = match entry.compression_method() {
            CompressionMethod::Store => Box::new(found.verifying_reader(reader)),
            CompressionMethod::Deflate => Box::new(found.verifying_reader(flate2::read::DeflateDecoder::new(reader))),
            CompressionMethod::Zstd => {
                let mut decoder = ::zstd::Decoder::new(reader).map_err(broken)?;
                decoder.window_log_max(WINDOW).map_err(broken)?;
                Box::new(found.verifying_reader(decoder))
            }
            other => return Err(refused(&name, &format!("which is compressed by a method that is not read here ({other:?})"))),
        };
        if special == 0o120_000 {
            let mut target = Vec::new();
            content.take(TARGET).read_to_end(&mut target).map_err(broken)?;
            sink.symlink(&name, &target)?;
        } else {
            sink.file(&name, mode.value(), None, size, &mut content)?;
        }
    }
    if sink.entries == 0 {
        return Err(damaged("it is empty"));
    }
    if sink.entries != archive.entries_hint() {
        return Err(damaged("its list of contents is not of the length that it states"));
    }
    Ok(())
}

/// Why a zip could not be laid down: either what is fed broke off, or the disk is full.
pub(super) fn unwritten(error: io::Error, wanted: &Unpacking) -> UnpackError {
    match error.kind() {
        io::ErrorKind::ConnectionAborted => broken(error),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            UnpackError::NoSpace { name: "the archive".into(), at: wanted.into.clone() }
        }
        _ => UnpackError::Host(failed("write the archive to", &wanted.into, error)),
    }
}

fn wrong(error: rawzip::Error) -> UnpackError {
    damaged(&error.to_string())
}
