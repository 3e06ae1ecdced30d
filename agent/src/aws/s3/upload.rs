//! Whether S3 takes what is written to it: a slow upload is told from one into a black hole.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use tokio::time::Instant;

/// How much is handed on at a time, in bytes. What waits in buffers on the way is a few times as much.
const PIECE: usize = 8 << 10;

/// When S3 last did something about a write: took some of it, or answered. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload(Arc<Mutex<Option<Instant>>>);

impl Upload {
    /// Notes that it does something now.
    pub(crate) fn moves(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// For how long it has done nothing. `None` if it never did anything.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.elapsed())
    }

    /// A body of which every piece that leaves is noted: the first one once there is a connection.
    pub(super) fn body(&self, mut content: Bytes) -> Body {
        let upload = self.clone();
        Body::wrap_stream(stream::iter(std::iter::from_fn(move || {
            upload.moves();
            let piece = content.split_to(content.len().min(PIECE));
            (!piece.is_empty()).then_some(Ok::<Bytes, Infallible>(piece))
        })))
    }
}
