//! Work that waits for a disk, on the blocking pool: the first touch of a block on a volume restored from a snapshot takes
//! tens of milliseconds, and other steps go on meanwhile.

use std::io;
use std::path::Path;

use super::HostError;
use super::tree::failed;

/// Does `work`. What is reported should it be lost is that `operation` failed on `path`.
pub(super) async fn work<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|lost| Err(failed(operation, path, io::Error::other(lost))))
}
