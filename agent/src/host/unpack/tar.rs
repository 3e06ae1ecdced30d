//! A tar, decompressed already: read as it comes, one entry after the other.

use std::cell::Cell;
use std::io::{BufReader, Read};

use ::tar::{Archive, Entry, EntryType};

use super::error::{UnpackError, broken, damaged, refused};
use super::limit::Rationed;
use super::sink::Sink;

/// What may stand between the contents of two files of a tar: names of any length that Linux takes, and attributes.
const HEADERS: u64 = 1 << 20;

/// For small reads, such as headers; a large one goes past it.
const BUFFER: usize = 32 << 10;

/// Reads a tar to its end, and whatever there is behind it, which may only be zeros.
pub(super) fn unpack(decoder: impl Read, sink: &mut Sink) -> Result<(), UnpackError> {
    let ration = Cell::new(HEADERS);
    let mut archive = Archive::new(Rationed { inner: BufReader::with_capacity(BUFFER, decoder), ration: &ration, ended: false });
    let mut entries = archive.entries().map_err(broken)?;
    loop {
        ration.set(HEADERS);
        let Some(entry) = entries.next() else { break };
        take(entry.map_err(broken)?, &ration, sink)?;
    }
    let mut rest = archive.into_inner();
    if rest.ended {
        return Err(damaged(if sink.entries == 0 { "it is empty" } else { "it ends without the mark of its end" }));
    }
    if sink.entries == 0 {
        return Err(damaged("it is empty"));
    }
    ration.set(u64::MAX);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = rest.read(&mut buffer).map_err(broken)?;
        if length == 0 {
            return Ok(());
        }
        sink.limit.content(length as u64)?;
        sink.limit.bytes -= length as u64;
        if buffer[..length].iter().any(|byte| *byte != 0) {
            return Err(damaged("something follows its end"));
        }
    }
}

fn take<R: Read>(mut entry: Entry<'_, R>, ration: &Cell<u64>, sink: &mut Sink) -> Result<(), UnpackError> {
    let kind = entry.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let name = entry.path_bytes().into_owned();
    if let Some(attributes) = entry.pax_extensions().map_err(broken)? {
        for attribute in attributes {
            if attribute.map_err(broken)?.key_bytes().starts_with(b"GNU.sparse.") {
                return Err(refused(&name, "a sparse file in a form that is not read here: make it without --sparse"));
            }
        }
    }
    let mode = entry.header().mode().map_err(broken)?;
    let modified = entry.header().mtime().ok().and_then(|time| i64::try_from(time).ok());
    let link = |entry: &Entry<'_, R>| entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
    match kind {
        EntryType::Directory => sink.directory(&name, mode),
        // As the first tars did.
        EntryType::Regular if name.ends_with(b"/") => sink.directory(&name, mode),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            ration.set(u64::MAX);
            let size = entry.size();
            sink.file(&name, mode, modified, size, &mut entry)
        }
        EntryType::Symlink => {
            let target = link(&entry);
            sink.symlink(&name, &target)
        }
        EntryType::Link => {
            let to = link(&entry);
            sink.hard_link(&name, &to)
        }
        EntryType::Fifo => Err(refused(&name, "which is a FIFO")),
        EntryType::Char | EntryType::Block => Err(refused(&name, "which is a device")),
        _ => Err(refused(&name, "which is neither a file nor a directory nor a link")),
    }
}
