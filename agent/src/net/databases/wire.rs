//! A connection, encrypted or not, that is read until there is enough.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::refusal::Refusal;

/// More than any message before a login is over has.
const LIMIT: usize = 1 << 20;

/// What can be read and written, whatever it is.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// How well it is known who reads what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Anybody on the way.
    Open,
    /// No one on the way, but maybe someone else than meant.
    Encrypted,
    /// Only the one whose certificate is trusted.
    Verified,
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// What has been read and not been used.
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

    /// Sends something, which may hold a password.
    pub(super) async fn send(&mut self, message: Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
        let sent = async {
            self.stream.write_all(&message).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Refusal::of_io(&self.at, &error))
    }

    /// Reads whatever comes next into the buffer: at least a byte.
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

    /// Reads until there are so many bytes.
    pub(super) async fn read_at_least(&mut self, bytes: usize) -> Result<(), Refusal> {
        while self.buffer.len() < bytes {
            self.read().await?;
        }
        Ok(())
    }

    /// Says goodbye, if the other side still listens.
    pub(super) async fn close(mut self, goodbye: &[u8]) {
        if self.stream.write_all(goodbye).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }

    /// The refusal of someone who speaks otherwise than expected.
    pub(super) fn odd(&self, what: impl Into<String>) -> Refusal {
        Refusal::Other { at: self.at.clone(), what: what.into() }
    }
}

/// What speaks like this, if that can be told.
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
