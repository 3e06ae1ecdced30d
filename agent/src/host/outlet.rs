//! Output to stderr and to the journal, written by separate threads: a log file may lie on a disk that hangs, a
//! terminal may be stopped, and journald may wait for its own disk.
//!
//! Output that cannot be written is queued up to a limit and dropped beyond it: the report still contains the result of
//! every step.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many bytes may be queued: enough for all lines of a program that prints too much.
const LIMIT: usize = 8 << 20;

/// How long the process waits at its end for queued output to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every outlet, so that the process can wait for them at its end.
static OUTLETS: Mutex<Vec<Arc<dyn Ends>>> = Mutex::new(Vec::new());

static STDERR: OnceLock<Outlet<Vec<u8>>> = OnceLock::new();

/// A queue of output and the thread that writes it. Clones share both.
pub(crate) struct Outlet<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    /// Whether an item is being written.
    busy: bool,
}

trait Ends: Send + Sync {
    fn ended(&self, until: Instant);
}

impl<T: Send + 'static> Outlet<T> {
    /// Starts a thread that passes everything that is [`put`](Outlet::put) to `take`.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn begin(take: impl FnMut(T) + Send + 'static) -> io::Result<Self> {
        let state = State { queue: VecDeque::new(), bytes: 0, busy: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("outlet".into()).spawn(move || theirs.run(take))?;
        let ends: Arc<dyn Ends> = shared.clone();
        OUTLETS.lock().unwrap_or_else(PoisonError::into_inner).push(ends);
        Ok(Self(shared))
    }

    /// Queues an item of this length. Never waits.
    pub(crate) fn put(&self, word: T, bytes: usize) {
        let mut state = self.0.state();
        if state.bytes + bytes <= LIMIT {
            state.bytes += bytes;
            state.queue.push_back((word, bytes));
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut take: impl FnMut(T)) {
        let mut state = self.state();
        loop {
            if let Some((word, bytes)) = state.queue.pop_front() {
                state.busy = true;
                drop(state);
                take(word);
                state = self.state();
                state.busy = false;
                state.bytes -= bytes;
                self.changed.notify_all();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl<T: Send> Ends for Shared<T> {
    fn ended(&self, until: Instant) {
        let mut state = self.state();
        while state.busy || !state.queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// From now on, everything for stderr is written by a separate thread.
pub(crate) fn talk_beside() {
    // Without a thread, output is written directly, as before.
    if let Ok(outlet) = Outlet::begin(write) {
        let _ = STDERR.set(outlet);
    }
}

/// Waits briefly for all queued output to be written, because the process is about to end.
pub(crate) fn finish() {
    let until = Instant::now() + PATIENCE;
    let outlets = OUTLETS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    outlets.iter().for_each(|outlet| outlet.ended(until));
}

/// Ignores errors: a reader that closed stderr wants no more output.
fn write(bytes: Vec<u8>) {
    let _ = io::stderr().lock().write_all(&bytes);
}

/// Writes to stderr, line by line. See [`talk_beside`].
#[derive(Debug, Default)]
pub(crate) struct Stderr(Vec<u8>);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.0);
        match STDERR.get() {
            Some(outlet) => {
                let length = bytes.len();
                outlet.put(bytes, length);
            }
            None => write(bytes),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_takes_nothing_holds_nobody_up() {
        let (take, taken) = channel();
        let (let_go, gate) = channel::<()>();
        let outlet = Outlet::begin(move |word: usize| {
            let _ = gate.recv();
            take.send(word).unwrap();
        })
        .unwrap();
        // One item is being written, and what exceeds the limit is dropped.
        for word in 0..20 {
            outlet.put(word, LIMIT / 10);
        }
        outlet.0.ended(Instant::now());
        drop(let_go);
        outlet.0.ended(Instant::now() + Duration::from_secs(60));
        assert!(taken.try_iter().eq(0..10));
    }
}
