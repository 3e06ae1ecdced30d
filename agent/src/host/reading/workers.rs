//! The threads that read, and the files they read.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

use super::extents::{ALIGNMENT, Range};
use super::tally::Tally;
use super::walk::open;

/// Stack size in bytes: each thread does little but system calls.
const STACK: usize = 256 * 1024;

/// The longest sleep of a thread before it checks whether to stop.
const NAP: Duration = Duration::from_millis(100);

pub(super) fn spawn<'scope>(scope: &'scope thread::Scope<'scope, '_>, work: impl FnOnce() + Send + 'scope) -> io::Result<()> {
    thread::Builder::new().name("reading".into()).stack_size(STACK).spawn_scoped(scope, work).map(drop)
}

/// Takes the next item of an iterator that many threads share.
pub(super) fn next<T>(pieces: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Makes `count` threads call `work`, each with its own state, until it reports that nothing is left.
pub(super) fn in_flight<S>(count: usize, tally: &Tally, begin: impl Fn() -> S + Sync, work: impl Fn(&mut S) -> bool + Sync) {
    let until_done = || {
        let mut state = begin();
        while !tally.is_stopped() && work(&mut state) {}
    };
    thread::scope(|scope| {
        let spawned = (0..count).take_while(|_| spawn(scope, until_done).is_ok()).count();
        // Fewer threads than requested suffice.
        if spawned == 0 {
            until_done();
        }
    });
}

/// Sleeps, unless the reading is stopped.
pub(super) fn sleep(mut wait: Duration, tally: &Tally) {
    while !wait.is_zero() && !tally.is_stopped() {
        let nap = wait.min(NAP);
        thread::sleep(nap);
        wait -= nap;
    }
}

/// Gives the reads of this thread the lowest priority, if the disk's scheduler supports that.
pub(super) fn lowest_priority() {
    const OF_A_THREAD: libc::c_int = 1;
    const IDLE: libc::c_int = 3 << 13;
    // SAFETY: the arguments are three integers; 0 is the calling thread. A refusal is ignored, since the priority is
    // only a courtesy.
    let _ = unsafe { libc::syscall(libc::SYS_ioprio_set, OF_A_THREAD, 0, IDLE) };
}

/// A buffer for content that is discarded, at an address that O_DIRECT accepts.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    from: usize,
}

impl Buffer {
    pub(super) fn new(size: u64) -> Self {
        let bytes = vec![0; (size + ALIGNMENT) as usize];
        let from = bytes.as_ptr().align_offset(ALIGNMENT as usize);
        Self { bytes, from }
    }

    fn of(&mut self, length: u64) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + length as usize]
    }
}

/// Reads a range, as far as it exists.
pub(super) fn read_range(file: &File, range: Range, buffer: &mut Buffer, tally: &Tally, name: impl FnOnce() -> String) {
    let mut at = range.start;
    while at < range.end {
        // A whole number of blocks, even at the end of a file.
        let length = (range.end - at).next_multiple_of(ALIGNMENT);
        match file.read_at(buffer.of(length), at) {
            Ok(read) => {
                Tally::add(&tally.done, (read as u64).min(range.end - at));
                at += read as u64;
                if !(read as u64).is_multiple_of(ALIGNMENT) || read == 0 {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return tally.failed(|| format!("{}: {error}", name())),
        }
    }
}

/// A file that is being read.
pub(super) struct Opened {
    path: Arc<Path>,
    file: File,
    into_cache: bool,
    /// Whether reads bypass the page cache.
    direct: bool,
}

impl Opened {
    pub(super) fn new(path: &Arc<Path>, into_cache: bool) -> io::Result<Self> {
        let direct = if into_cache { None } else { open(path, libc::O_DIRECT).ok() };
        let (file, direct) = match direct {
            Some(file) => (file, true),
            None => (open(path, 0)?, false),
        };
        if !direct {
            // Reads exactly what is requested, without the kernel's read-ahead.
            let _ = posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
        }
        Ok(Self { path: Arc::clone(path), file, into_cache, direct })
    }

    pub(super) fn is(&self, path: &Arc<Path>) -> bool {
        Arc::ptr_eq(&self.path, path)
    }

    pub(super) fn read(&self, range: Range, buffer: &mut Buffer, tally: &Tally) {
        read_range(&self.file, range, buffer, tally, || self.path.display().to_string());
        if !self.into_cache && !self.direct {
            let (start, length) = (range.start as libc::off_t, range.length() as libc::off_t);
            let _ = posix_fadvise(self.file.as_fd(), start, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }
}
