//! From the bytes of an archive to what is to be made of it: format, names, kinds, contents.
//!
//! Runs on a thread of its own and decompresses; who writes is in [`write`](super::write), one step behind. Each entry is
//! judged before anything of it is handed on.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender};

use tar::EntryType;

use super::feed::Feed;
use super::limit::{Limit, Rationed};
use super::write::Op;
use super::{UnpackError, Unpacking, entry, zip};
use crate::digest::Sha256;

/// How much of a file is handed on at a time.
pub(super) const CHUNK: usize = 128 << 10;

/// What may stand between the contents of two files of a tar: names of any length that Linux takes, and attributes.
const HEADERS: u64 = 1 << 20;

/// The largest window that a zstd archive may ask for, as a power of two: 16 MiB, twice what `zstd -19` uses. More is only
/// made by `--ultra` and `--long`, and would be the memory of a small instance.
pub(super) const WINDOW: u32 = 24;

/// For small reads, such as headers; a large one goes past it.
const BUFFER: usize = 32 << 10;

/// Takes entries in, as long as they are what a release may hold.
pub(super) struct Sink {
    pub(super) ops: SyncSender<Op>,
    /// Buffers that the writer has done with.
    pub(super) spare: Receiver<Vec<u8>>,
    pub(super) limit: Limit,
    pub(super) strip: usize,
    pub(super) warnings: Vec<String>,
    pub(super) entries: u64,
}

impl Sink {
    pub(super) fn directory(&mut self, name: &[u8], mode: u32) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Ok(()) };
        self.send(Op::Directory { path, mode: entry::directory_mode(mode) })
    }

    pub(super) fn file(
        &mut self,
        name: &[u8],
        mode: u32,
        modified: Option<i64>,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Err(refused(name, "a file in place of the whole directory")) };
        let (mode, dropped) = entry::mode(mode);
        if dropped && self.warnings.is_empty() {
            self.warnings.push(format!("setuid and setgid are not taken from an archive: {} has lost them", entry::shown(name)));
        }
        let mut begin = Some((path, mode, modified));
        loop {
            // More than it says it is, it may be all the same.
            let mut chunk = match begin.is_some() && size < CHUNK as u64 / 4 {
                true => vec![0; size as usize + 1],
                false => self.spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]),
            };
            let length = fill(content, &mut chunk)?;
            self.limit.content(length as u64)?;
            let is_last = length < chunk.len();
            self.send(match begin.take() {
                Some((path, mode, modified)) => Op::File { path, mode, modified, chunk, length, is_last },
                None => Op::More { chunk, length, is_last },
            })?;
            if is_last {
                return Ok(());
            }
        }
    }

    pub(super) fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Err(refused(name, "a link in place of the whole directory")) };
        entry::target(&path, target).map_err(|why| refused(name, &format!("{why}: {}", entry::shown(target))))?;
        self.send(Op::Symlink { path, target: target.to_vec() })
    }

    fn hard_link(&mut self, name: &[u8], to: &[u8]) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Err(refused(name, "a link in place of the whole directory")) };
        match entry::place(to, self.strip) {
            Ok(Some(to)) => self.send(Op::HardLink { path, to }),
            Ok(None) => Err(refused(name, "a link to what is stripped away")),
            Err(why) => Err(refused(name, &format!("a link to {}, {why}", entry::shown(to)))),
        }
    }

    fn place(&mut self, name: &[u8]) -> Result<Option<std::path::PathBuf>, UnpackError> {
        self.limit.entry()?;
        self.entries += 1;
        entry::place(name, self.strip).map_err(|why| refused(name, why))
    }

    fn send(&self, op: Op) -> Result<(), UnpackError> {
        // A writer that is gone has an error of its own, which comes first.
        self.ops.send(op).map_err(|_| damaged("it could not be written"))
    }
}

/// Unpacks all that is fed. Returns digest and length of the archive; whatever was made before an error is for nothing.
pub(super) fn unpack(
    mut feed: Feed,
    wanted: &Unpacking,
    scratch: impl FnOnce() -> Result<File, UnpackError>,
    free: u64,
    sink: &mut Sink,
) -> Result<(Sha256, u64), UnpackError> {
    match looks_like(feed.fill_buf().map_err(broken)?) {
        Looks::Gzip => tar(flate2::bufread::MultiGzDecoder::new(&mut feed), sink)?,
        Looks::Zstd => {
            let mut decoder = ::zstd::Decoder::with_buffer(&mut feed).map_err(broken)?;
            decoder.window_log_max(WINDOW).map_err(broken)?;
            tar(decoder, sink)?;
        }
        Looks::Zip => {
            let mut file = scratch()?;
            io::copy(&mut feed, &mut file).map_err(|error| zip::unwritten(error, wanted))?;
            let (sha256, length) = feed.finish();
            // All of it is here before anything is made of it, so it can be verified first.
            verify(wanted, sha256, length)?;
            zip::unpack(file, wanted, free, sink)?;
            return Ok((sha256, length));
        }
        Looks::Tar => tar(&mut feed, sink)?,
        Looks::Other(like) => return Err(UnpackError::NoArchive { like }),
    }
    if !feed.is_at_end().map_err(broken)? {
        return Err(damaged("something follows its end"));
    }
    let (sha256, length) = feed.finish();
    verify(wanted, sha256, length)?;
    Ok((sha256, length))
}

fn verify(wanted: &Unpacking, found: Sha256, length: u64) -> Result<(), UnpackError> {
    match (wanted.length, wanted.sha256) {
        (Some(wanted), _) if wanted != length => Err(UnpackError::Length { wanted, found: length }),
        (_, Some(wanted)) if wanted != found => Err(UnpackError::Digest { wanted, found }),
        _ => Ok(()),
    }
}

enum Looks {
    Gzip,
    Zstd,
    Zip,
    Tar,
    Other(&'static str),
}

/// What begins so.
fn looks_like(content: &[u8]) -> Looks {
    match content {
        [] => Looks::Other("nothing at all"),
        [0x1f, 0x8b, ..] => Looks::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Looks::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Looks::Zip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Looks::Other("xz, which is not read here"),
        [b'B', b'Z', b'h', ..] => Looks::Other("bzip2, which is not read here"),
        [b'7', b'z', 0xbc, 0xaf, ..] => Looks::Other("7z, which is not read here"),
        [b'<', ..] => Looks::Other("HTML or XML"),
        [b'{' | b'[', ..] => Looks::Other("JSON"),
        // A tar begins with a name; one without `ustar` is of before 1988, and told by its checksum.
        _ if content.get(257..262).is_some_and(|magic| magic == b"ustar") || has_checksum(content) => Looks::Tar,
        _ if std::str::from_utf8(&content[..content.len().min(64)]).is_ok() => Looks::Other("text"),
        _ => Looks::Other("something else"),
    }
}

fn has_checksum(content: &[u8]) -> bool {
    let Some(block) = content.get(..512) else { return false };
    let header = tar::Header::from_byte_slice(block);
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum::<u32>();
    header.cksum().is_ok_and(|stated| stated == sum)
}

/// Reads a tar to its end, and whatever there is behind it, which may only be zeros.
fn tar(decoder: impl Read, sink: &mut Sink) -> Result<(), UnpackError> {
    let ration = Cell::new(HEADERS);
    let mut archive = tar::Archive::new(Rationed { inner: BufReader::with_capacity(BUFFER, decoder), ration: &ration, ended: false });
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

fn take<R: Read>(mut entry: tar::Entry<'_, R>, ration: &Cell<u64>, sink: &mut Sink) -> Result<(), UnpackError> {
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
    let link = |entry: &tar::Entry<'_, R>| entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
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

/// Reads until the buffer is full or there is no more.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, UnpackError> {
    let mut length = 0;
    while length < buffer.len() {
        match content.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(length)
}

pub(super) fn refused(name: &[u8], why: &str) -> UnpackError {
    UnpackError::Refused { name: entry::shown(name), why: why.to_owned() }
}

pub(super) fn damaged(why: &str) -> UnpackError {
    UnpackError::Damaged { why: why.to_owned() }
}

/// What a reader of a format says.
pub(super) fn broken(error: io::Error) -> UnpackError {
    match (error.kind(), error.to_string()) {
        (io::ErrorKind::ConnectionAborted, _) => damaged("it was given up"),
        (io::ErrorKind::UnexpectedEof, _) => damaged("it ends in the middle"),
        // The tar crate's words for the same.
        (_, said) if said.contains("EOF") || said == "failed to read entire block" => damaged("it ends in the middle"),
        (_, said) if said == "Unknown frame descriptor" || said == "invalid gzip header" => damaged("something else follows its end"),
        (_, said) => damaged(&said),
    }
}
