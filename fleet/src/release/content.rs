//! A file to upload: its length, its digest, and the digests of its parts if it is uploaded in parts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::digest::{Hasher, Sha256};
use crate::exit::Exit;
use crate::failure::Failure;

/// Longer files are uploaded in parts, so that a broken connection costs one part and not all. In bytes; a shorter file
/// is held in memory as a whole.
const WHOLE: u64 = 32 << 20;

/// Length of a part, except for the last one, in bytes; four parts are in memory at a time.
const PART: u64 = 16 << 20;

/// The most parts that S3 accepts.
const PARTS: u64 = 10_000;

/// How much is read at a time, in bytes.
const CHUNK: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Content {
    file: File,
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
    part: u64,
    /// Digests of the parts; of a file that is uploaded whole, its own digest.
    pub(crate) parts: Vec<Sha256>,
}

impl Content {
    /// Reads the file once.
    pub(crate) fn of(file: File, mut progress: impl FnMut(u64)) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let part = part_of(bytes);
        let (mut whole, mut parts, mut buffer) = (Hasher::new(), Vec::new(), vec![0; CHUNK]);
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + part);
            let mut one = Hasher::new();
            while at < end {
                let length = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
                file.read_exact_at(&mut buffer[..length], at)?;
                whole.update(&buffer[..length]);
                one.update(&buffer[..length]);
                at += length as u64;
                progress(at);
            }
            parts.push(one.finish());
        }
        if parts.is_empty() {
            parts.push(Sha256::of(&[]));
        }
        Ok(Self { file, bytes, sha256: whole.finish(), part, parts })
    }

    /// Whether it is uploaded in one call.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes <= WHOLE
    }

    /// Reads a part into memory, by its number from 0. Fails if the file has changed.
    pub(crate) fn read(&self, number: usize) -> Result<Vec<u8>, Failure> {
        let unread = |error: io::Error| {
            let failure = Failure::new(Exit::Failed, "cannot read the archive again").because(&error);
            failure.hint("run the same command again while nothing writes to the file")
        };
        let part = self.part(number).map_err(unread)?;
        match Sha256::of(&part) == self.parts[number] {
            true => Ok(part),
            false => Err(unread(io::Error::other("the file has changed"))),
        }
    }

    fn part(&self, number: usize) -> io::Result<Vec<u8>> {
        let at = number as u64 * self.part;
        let length = self.part.min(self.bytes.saturating_sub(at));
        let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut content, at)?;
        Ok(content)
    }
}

/// How long the parts of a file are: whole MiB, and no more parts than S3 accepts.
fn part_of(bytes: u64) -> u64 {
    match bytes <= WHOLE {
        true => WHOLE,
        false => PART.max(bytes.div_ceil(PARTS).next_multiple_of(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn parts_are_as_many_as_s3_takes() {
        assert_eq!((part_of(0), part_of(WHOLE), part_of(WHOLE + 1)), (WHOLE, WHOLE, PART));
        for gib in [1, 5, 160, 5000] {
            let bytes: u64 = (gib << 30) + 1;
            assert!(bytes.div_ceil(part_of(bytes)) <= PARTS && part_of(bytes) <= 5 << 30, "{gib}");
        }
    }

    #[test]
    fn reads_what_there_is_once() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; (WHOLE + 5) as usize]).unwrap();
        let content = Content::of(file, drop).unwrap();
        assert_eq!((content.bytes, content.parts.len(), content.is_whole()), (WHOLE + 5, 3, false));
        assert_eq!(content.sha256, Sha256::of(&vec![7; (WHOLE + 5) as usize]));
        assert_eq!(content.read(2).unwrap(), [7; 5]);
        assert_eq!(Sha256::of(&content.read(1).unwrap()), content.parts[1]);
    }
}
