//! The bytes of an archive on their way from who fetches them to who unpacks them: counted, hashed, and never many.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::digest::{Hasher, Sha256};

/// How many pieces may wait; one is some hundred kilobytes at the most, as it came from the network.
const PIECES: usize = 4;

/// A piece, or the end. A channel that closes without that was given up.
pub(super) enum Fed {
    Piece(Bytes),
    End,
}

pub(super) fn feed() -> (Sender<Fed>, Feed) {
    let (send, receive) = channel(PIECES);
    (send, Feed { receive, piece: Bytes::new(), ended: false, digest: Hasher::new(), length: 0 })
}

/// Reads what is fed, on a thread that may wait.
pub(super) struct Feed {
    receive: Receiver<Fed>,
    piece: Bytes,
    ended: bool,
    digest: Hasher,
    length: u64,
}

impl Feed {
    /// Digest and length of all that there was; call it at the end.
    pub(super) fn finish(self) -> (Sha256, u64) {
        (self.digest.finish(), self.length)
    }

    /// What it begins with: `length` bytes, or all there are. A server may send a few bytes first, which tell nothing.
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

    /// Whether there is nothing more to read.
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
