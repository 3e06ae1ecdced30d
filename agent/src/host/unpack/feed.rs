//! Passes the bytes of an archive from the download to the unpacking thread: counts and hashes them, and limits how
//! many are in transit.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::digest::{Hasher, Sha256};

/// How many pieces may wait. A piece is at most a few hundred kilobytes, as received from the network.
const PIECES: usize = 4;

/// A piece, or the end. If the channel closes without an end, the download was aborted.
pub(super) enum Fed {
    Piece(Bytes),
    End,
}

pub(super) fn feed() -> (Sender<Fed>, Feed) {
    let (send, receive) = channel(PIECES);
    (send, Feed { receive, piece: Bytes::new(), ended: false, digest: Hasher::new(), length: 0 })
}

/// Reads the received bytes, on a thread that may block.
pub(super) struct Feed {
    receive: Receiver<Fed>,
    piece: Bytes,
    ended: bool,
    digest: Hasher,
    length: u64,
}

impl Feed {
    /// Digest and length of everything that was received. To be called at the end.
    pub(super) fn finish(self) -> (Sha256, u64) {
        (self.digest.finish(), self.length)
    }

    /// The first `length` bytes, or fewer if there are no more. The first piece alone may be too short to recognize a
    /// format.
    pub(super) fn beginning(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.piece.len() < length && !self.ended {
            let before = std::mem::take(&mut self.piece);
            self.fill_buf()?;
            if !before.is_empty() {
                self.piece = [before, std::mem::take(&mut self.piece)].concat().into();
            }
        }
        Ok(&self.piece[..length.min(self.piece.len())])
    }

    /// Whether there is nothing left to read.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill_buf()?.is_empty())
    }
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && !self.ended {
            match self.receive.blocking_recv() {
                Some(Fed::Piece(piece)) => {
                    self.digest.update(&piece);
                    self.length += piece.len() as u64;
                    self.piece = piece;
                }
                Some(Fed::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount);
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
