//! State shared by the threads of one reading: progress, failures, and whether to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::WasRead;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) done: AtomicU64,
    pub(super) of: AtomicU64,
    pub(super) files: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<String>>,
    stopped: AtomicBool,
}

impl Tally {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, why: impl FnOnce() -> String) {
        if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.first_failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(why());
        }
    }

    /// Bytes read, and bytes to read.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let done = self.done.load(Ordering::Relaxed);
        (done, self.of.load(Ordering::Relaxed).max(done))
    }

    pub(super) fn was_read(&self, unmatched: Vec<usize>) -> WasRead {
        WasRead {
            files: self.files.load(Ordering::Relaxed),
            bytes: self.so_far().0,
            failed: self.failed.load(Ordering::Relaxed),
            first_failure: self.first_failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone(),
            unmatched,
        }
    }
}
