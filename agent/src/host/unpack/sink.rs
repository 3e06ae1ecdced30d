//! Sits between the readers of archives and the writer: checks each entry before passing it on.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};

use nix::sys::time::TimeSpec;

use super::entry;
use super::error::{UnpackError, broken, damaged, refused};
use super::limit::Limit;
use super::links::Links;

/// How many bytes of a file are passed on at a time.
pub(super) const CHUNK: usize = 128 << 10;

/// Something to create. Paths are relative and have been checked.
#[derive(Debug)]
pub(super) enum Op {
    Directory {
        path: PathBuf,
        mode: u32,
    },
    File {
        path: PathBuf,
        mode: u32,
        modified: Option<TimeSpec>,
        chunk: Vec<u8>,
        length: usize,
        is_last: bool,
    },
    /// Continues the last file.
    More {
        chunk: Vec<u8>,
        length: usize,
        is_last: bool,
    },
    Symlink {
        path: PathBuf,
        target: Vec<u8>,
    },
    HardLink {
        path: PathBuf,
        to: PathBuf,
    },
}

/// Accepts entries as long as they are permitted in a release.
pub(super) struct Sink {
    pub(super) ops: SyncSender<Op>,
    /// Buffers returned by the writer.
    pub(super) spare: Receiver<Vec<u8>>,
    pub(super) limit: Limit,
    pub(super) strip: usize,
    pub(super) links: Links,
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
        modified: Option<TimeSpec>,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Err(refused(name, "a file that replaces the whole directory")) };
        let (mode, dropped) = entry::mode(mode);
        if dropped && self.warnings.is_empty() {
            self.warnings.push(format!("removed setuid and setgid from {}: ingot does not take them from archives", entry::shown(name)));
        }
        self.content(path, mode, modified, size, content)
    }

    /// Accepts the only file of a directory, with the mode from the document.
    pub(super) fn only_file(&mut self, name: &str, mode: u32, content: &mut dyn Read) -> Result<(), UnpackError> {
        self.content(name.into(), mode, None, u64::MAX, content)
    }

    fn content(
        &mut self,
        path: PathBuf,
        mode: u32,
        modified: Option<TimeSpec>,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let mut begin = Some((path, mode, modified));
        loop {
            // One byte more than stated, in order to notice content that is longer.
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
        let Some(path) = self.place(name)? else { return Err(refused(name, "a link that replaces the whole directory")) };
        self.links.judge(name, &path, target)?;
        self.send(Op::Symlink { path, target: target.to_vec() })
    }

    pub(super) fn hard_link(&mut self, name: &[u8], to: &[u8]) -> Result<(), UnpackError> {
        let Some(path) = self.place(name)? else { return Err(refused(name, "a link that replaces the whole directory")) };
        match entry::place(to, self.strip) {
            Ok(Some(to)) => self.send(Op::HardLink { path, to }),
            Ok(None) => Err(refused(name, "a link to a stripped path")),
            Err(why) => Err(refused(name, &format!("a link to {}, {why}", entry::shown(to)))),
        }
    }

    fn place(&mut self, name: &[u8]) -> Result<Option<PathBuf>, UnpackError> {
        self.limit.entry()?;
        self.entries += 1;
        entry::place(name, self.strip).map_err(|why| refused(name, why))
    }

    fn send(&self, op: Op) -> Result<(), UnpackError> {
        // If the writer is gone, it has an error of its own, which takes precedence.
        self.ops.send(op).map_err(|_| damaged("it could not be written"))
    }
}

/// Reads until the buffer is full or the input ends.
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
