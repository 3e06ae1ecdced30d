//! A buffered connection, encrypted or not.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::refusal::Refusal;

/// Longer than any message before the login is complete.
const LIMIT: usize = 1 << 20;

/// A stream that can be read and written.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Who may read what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Anyone on the way.
    Open,
    /// Nobody on the way, but the peer may not be the intended one.
    Encrypted,
    /// Only the peer whose certificate is trusted.
    Verified,
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// Bytes that have been read but not used.
    pub(super) buffer: BytesMut,
    pub(super) trust: Trust,
    at: String,
}

impl Wire {
    pub(super) fn new(stream: impl Stream + 'static, at: String) -> Self {
        Self { stream: Box::new(stream), buffer: BytesMut::new(), trust: Trust::Open, at }
    }

    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    pub(super) fn encrypted(stream: impl Stream + 'static, trust: Trust, at: String) -> Self {
        Self { trust, ..Self::new(stream, at) }
    }

    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Sends a message, which may hold a password.
    pub(super) async fn send(&mut self, message: Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
        let sent = async {
            self.stream.write_all(&message).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Refusal::of_io(&self.at, &error))
    }

    /// Reads the next bytes into the buffer: at least one.
    pub(super) async fn read(&mut self) -> Result<(), Refusal> {
        if self.buffer.len() > LIMIT {
            return Err(self.odd("a message that does not end"));
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Refusal::of_io(&self.at, &io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::of_io(&self.at, &error)),
        }
    }

    /// Reads until the buffer has this many bytes.
    pub(super) async fn read_at_least(&mut self, bytes: usize) -> Result<(), Refusal> {
        while self.buffer.len() < bytes {
            self.read().await?;
        }
        Ok(())
    }

    /// Sends a goodbye, if the server is still listening.
    pub(super) async fn close(mut self, goodbye: &[u8]) {
        if self.stream.write_all(goodbye).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }

    /// The refusal of a peer that does not speak the expected protocol.
    pub(super) fn odd(&self, what: impl Into<String>) -> Refusal {
        Refusal::Other { at: self.at.clone(), what: what.into() }
    }
}

/// The protocol of the first bytes, if it can be recognized.
pub(super) fn recognised(first: &[u8]) -> &'static str {
    match first {
        [b'H', b'T', b'T', b'P', ..] => "HTTP",
        [b'S', b'S', b'H', b'-', ..] => "SSH",
        [_, _, 0, 0, 10, ..] | [_, _, 0, 0, 0xff, ..] => "MySQL",
        [0x15 | 0x16, 3, ..] => "TLS from the first byte on",
        [b'2', b'2', b'0', b' ', ..] => "a mail or file transfer protocol",
        [b'-', b'E', b'R', b'R', ..] => "Redis",
        _ => "another protocol",
    }
}
