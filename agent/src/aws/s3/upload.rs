//! Whether S3 accepts the bytes that are sent to it: distinguishes a slow upload from a stalled one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use tokio::time::Instant;

/// How much is handed over at a time, in bytes. The buffers on the way hold a few times as much.
const PIECE: usize = 8 << 10;

/// When S3 last showed activity on a write: accepted some bytes, or answered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload(Arc<Mutex<Option<Instant>>>);

impl Upload {
    /// Records activity now.
    pub(crate) fn moves(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long there has been no activity. `None` if there never was any.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.elapsed())
    }

    /// A body that records each piece handed over. The first piece is handed over once there is a connection.
    pub(super) fn body(&self, mut content: Bytes) -> Body {
        let upload = self.clone();
        Body::wrap_stream(stream::iter(std::iter::from_fn(move || {
            upload.moves();
            let piece = content.split_to(content.len().min(PIECE));
            (!piece.is_empty()).then_some(Ok::<Bytes, Infallible>(piece))
        })))
    }
}
