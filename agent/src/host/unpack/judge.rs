//! Reads an archive to its end without writing anything, so that an archive that an instance would refuse is refused
//! before it is published.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::error::{UnpackError, broken, damaged};
use super::feed::{Fed, Feed, feed};
use super::format::{self, BEGINNING, Format};
use super::limit::Limit;
use super::links::Links;
use super::read::unpack;
use super::sink::{CHUNK, Op, Sink};
use super::{Form, Unpacking};
use crate::host::attributes::Attributes;

/// How many entries may be in transit.
const WAITING: usize = 4;

/// The format of an archive by its first bytes, and its number of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) format: &'static str,
    pub(crate) entries: u64,
    pub(crate) warnings: Vec<String>,
}

/// Reads an archive of `length` bytes; `scratch` is a file for formats that have to be stored completely first.
///
/// Links may point anywhere, and any size is accepted: the boot document sets those limits.
pub(crate) fn judge(mut content: impl Read + Send, length: u64, scratch: File) -> Result<Judged, UnpackError> {
    let attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };
    let links = Links::new(PathBuf::from("/"), std::iter::once(("**".to_owned(), PathBuf::from("/"))).collect());
    let form = Form::Archive { strip_components: 0, links: links.clone() };
    let wanted = Unpacking { into: PathBuf::from("/"), attributes, form, sha256: None, length: Some(length), limit: Some(u64::MAX) };
    let (send, fed) = feed();
    let (ops, taken) = mpsc::sync_channel(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || taken.into_iter().for_each(drop));
        let pushing = scope.spawn(move || push(&mut content, &send));
        // On a thread of its own: it blocks while waiting for the first one, which a runtime's thread must not do.
        let reading = scope.spawn(move || read(fed, &wanted, scratch, ops, links));
        let judged = reading.join().unwrap_or_else(|_| Err(damaged("the reading thread has died")));
        // If the file cannot be read, that error is the cause of the reader's.
        pushing.join().unwrap_or(Ok(())).map_err(broken)?;
        judged
    })
}

fn push(content: &mut impl Read, to: &Sender<Fed>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let piece = match content.read(&mut buffer)? {
            0 => Fed::End,
            length => Fed::Piece(Bytes::copy_from_slice(&buffer[..length])),
        };
        let is_end = matches!(piece, Fed::End);
        // The reader stops receiving once it has found an error.
        if to.blocking_send(piece).is_err() || is_end {
            return Ok(());
        }
    }
}

fn read(mut fed: Feed, wanted: &Unpacking, scratch: File, ops: SyncSender<Op>, links: Links) -> Result<Judged, UnpackError> {
    let (_, spare) = mpsc::channel();
    let limit = Limit::new(wanted.limit, wanted.length);
    let mut sink = Sink { ops, spare, limit, strip: 0, links, warnings: Vec::new(), entries: 0 };
    let format = name(&format::of(fed.beginning(BEGINNING).map_err(broken)?));
    unpack(fed, wanted, || Ok(scratch), u64::MAX, &mut sink)?;
    Ok(Judged { format, entries: sink.entries, warnings: sink.warnings })
}

/// The name of a format.
const fn name(format: &Format) -> &'static str {
    match format {
        Format::Gzip => "tar.gz",
        Format::Zstd => "tar.zst",
        Format::Zip => "zip",
        Format::Tar => "tar",
        Format::Foreign(_) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(content: &[u8]) -> Result<Judged, String> {
        judge(content, content.len() as u64, tempfile::tempfile().unwrap()).map_err(|error| error.to_string())
    }

    fn tar(names: &[&str]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for name in names {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(1000);
            header.set_mode(0o644);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, [7; 1000].as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn tells_what_an_instance_would() {
        let good = tar(&["a", "b/c"]);
        assert_eq!(judged(&good), Ok(Judged { format: "tar", entries: 2, warnings: Vec::new() }));
        let packed = ::zstd::encode_all(&*good, 3).unwrap();
        assert_eq!(judged(&packed).map(|judged| judged.format), Ok("tar.zst"));
        assert_eq!(judged(&packed[..packed.len() - 9]).unwrap_err(), "the archive is damaged: it is truncated");
        assert!(judged(&tar(&["a", "../b"])).unwrap_err().contains("points outside its directory"));
        assert_eq!(judged(b"{}").unwrap_err(), "this is not an archive: it looks like JSON");
        assert_eq!(judged(b"").unwrap_err(), "this is not an archive: it looks like an empty file");
    }
}
