//! Limits on what an archive may unpack to: in bytes, in files, and in the size of the headers between two files.

use std::cell::Cell;
use std::io::{self, Read};

use super::error::UnpackError;

/// The minimum cost of a file, in bytes: a block, or an inode.
const FILE_COSTS: u64 = 4096;

/// The usual maximum ratio of unpacked size to archive length.
const RATIO: u64 = 20;

/// Minimum and maximum of the default limit, in bytes, whatever the archive's length.
const BOUNDS: (u64, u64) = (1 << 30, 16 << 30);

/// The limit, and how much of it is used.
#[derive(Debug)]
pub(super) struct Limit {
    limit: u64,
    used: u64,
    pub(super) bytes: u64,
}

impl Limit {
    /// `asked` is the limit in the document; without it, the limit depends on the length of the archive.
    pub(super) fn new(asked: Option<u64>, length: Option<u64>) -> Self {
        let usual = || length.map_or(BOUNDS.1, |length| length.saturating_mul(RATIO).clamp(BOUNDS.0, BOUNDS.1));
        Self { limit: asked.unwrap_or_else(usual), used: 0, bytes: 0 }
    }

    pub(super) fn entry(&mut self) -> Result<(), UnpackError> {
        self.take(FILE_COSTS)
    }

    pub(super) fn content(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.bytes += bytes;
        self.take(bytes)
    }

    fn take(&mut self, cost: u64) -> Result<(), UnpackError> {
        self.used = self.used.saturating_add(cost);
        if self.used > self.limit { Err(UnpackError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }
}

/// A reader that returns at most its ration: tar headers are read into memory as a whole and may claim any length.
pub(super) struct Rationed<'a, R> {
    pub(super) inner: R,
    pub(super) ration: &'a Cell<u64>,
    /// Whether the end of the input was reached.
    pub(super) ended: bool,
}

impl<R: Read> Read for Rationed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.ration.get();
        if left == 0 {
            return Err(io::Error::other("its headers are longer than any name"));
        }
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..length])?;
        self.ended |= read == 0 && length > 0;
        self.ration.set(left - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_may_grow_as_archives_do() {
        assert_eq!(Limit::new(None, Some(1000)).limit, 1 << 30);
        assert_eq!(Limit::new(None, Some(200 << 20)).limit, 4000 << 20);
        assert_eq!(Limit::new(None, Some(9 << 30)).limit, 16 << 30);
        assert_eq!((Limit::new(None, None).limit, Limit::new(Some(5), None).limit), (16 << 30, 5));
    }

    #[test]
    fn files_count_even_if_they_are_empty() {
        let mut limit = Limit::new(Some(10_000), None);
        limit.entry().unwrap();
        limit.content(1000).unwrap();
        limit.entry().unwrap();
        assert!(limit.entry().is_err());
        assert_eq!(limit.bytes, 1000);
    }
}
