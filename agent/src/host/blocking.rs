//! Work that waits for a disk, on threads beside: the first touch of a block on a volume restored from a snapshot takes tens
//! of milliseconds, and other steps go on meanwhile.

use std::cell::OnceCell;
use std::io;
use std::path::Path;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::error::HostError;
use super::tree::failed;

/// Does `work`, on a thread for itself. What is reported should it be lost is that `operation` failed on `path`.
pub(super) async fn work<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|lost| Err(failed(operation, path, io::Error::other(lost))))
}

/// How many of many short operations wait for a disk at a time. A boot of a hundred files took a quarter to a half longer
/// with a thread for each, and a fifth longer with four (ext4, 2 cores). Of blocks that have to come from a snapshot first, so many
/// come at a time.
const AT_ONCE: usize = 16;

/// Threads for many short operations: whichever is done with one takes the next that waits, and nobody has to wake it.
#[derive(Debug, Default)]
pub(super) struct Threads(OnceCell<Runtime>);

impl Threads {
    /// As [`work`], when it is its turn. What has not begun when its caller gives up is not done.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let pool = match self.0.get() {
            Some(pool) => pool,
            None => {
                let made = Builder::new_current_thread().max_blocking_threads(AT_ONCE).build();
                let made = made.map_err(|source| failed(operation, path, source))?;
                self.0.get_or_init(|| made)
            }
        };
        let mut begun = Begun(pool.spawn_blocking(work));
        let done = (&mut begun.0).await;
        done.unwrap_or_else(|lost| Err(failed(operation, path, io::Error::other(lost))))
    }
}

impl Drop for Threads {
    /// Without waiting for a disk.
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.shutdown_background();
        }
    }
}

struct Begun<T>(JoinHandle<T>);

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    use futures_util::future::{join_all, poll_immediate};

    use super::*;

    #[tokio::test]
    async fn so_many_at_a_time_and_not_what_nobody_waits_for_any_more() {
        let (threads, done) = (Threads::default(), Arc::new(AtomicUsize::new(0)));
        let all_begun = Arc::new(Barrier::new(AT_ONCE + 1));
        let one = |gate: Option<Arc<Barrier>>| {
            let done = Arc::clone(&done);
            threads.work("wait for", Path::new("/"), move || {
                if let Some(gate) = gate {
                    gate.wait();
                    gate.wait();
                }
                Ok(done.fetch_add(1, Ordering::SeqCst))
            })
        };
        let mut busy = std::pin::pin!(join_all((0..AT_ONCE).map(|_| one(Some(Arc::clone(&all_begun))))));
        assert!(poll_immediate(&mut busy).await.is_none());
        all_begun.wait();
        assert!(poll_immediate(std::pin::pin!(one(None))).await.is_none());
        let patient = one(None);
        all_begun.wait();
        assert!(busy.await.iter().all(Result::is_ok));
        assert_eq!(patient.await.unwrap(), AT_ONCE);
    }
}
