//! What is said, on stderr and to the journal, by a thread of its own: a log file may lie on a disk that hangs, a terminal may
//! be stopped, and journald may wait for its own disk.
//!
//! What is not taken is kept up to a limit, and lost beyond it: the report has the end of every step all the same.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much may wait to be taken, in bytes: all lines of a program that says more than it should.
const LIMIT: usize = 8 << 20;

/// How long the end of a process waits for what it has said to be taken.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every outlet, so that the end of the process can wait for them.
static OUTLETS: Mutex<Vec<Arc<dyn Ends>>> = Mutex::new(Vec::new());

static STDERR: OnceLock<Outlet<Vec<u8>>> = OnceLock::new();

/// Words on their way to where they are taken. Clones share everything.
pub(crate) struct Outlet<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    queue: VecDeque<(T, usize)>,
    bytes: usize,
    /// Whether one is being taken.
    busy: bool,
}

trait Ends: Send + Sync {
    fn ended(&self, until: Instant);
}

impl<T: Send + 'static> Outlet<T> {
    /// Begins to give to `take`, on a thread beside, what is [`put`](Outlet::put).
    ///
    /// # Errors
    ///
    /// If there is no thread for it.
    pub(crate) fn begin(take: impl FnMut(T) + Send + 'static) -> io::Result<Self> {
        let state = State { queue: VecDeque::new(), bytes: 0, busy: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("outlet".into()).spawn(move || theirs.run(take))?;
        let ends: Arc<dyn Ends> = shared.clone();
        OUTLETS.lock().unwrap_or_else(PoisonError::into_inner).push(ends);
        Ok(Self(shared))
    }

    /// Says something of this length. Waits for no one.
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

/// Has everything that goes to stderr from now on taken by a thread beside.
pub(crate) fn talk_beside() {
    // Without a thread it is written at once, as before.
    if let Ok(outlet) = Outlet::begin(write) {
        let _ = STDERR.set(outlet);
    }
}

/// Waits a moment for all that was said to be taken: the process is about to end.
pub(crate) fn finish() {
    let until = Instant::now() + PATIENCE;
    let outlets = OUTLETS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    outlets.iter().for_each(|outlet| outlet.ended(until));
}

/// Whoever closed it early has read enough.
fn write(bytes: Vec<u8>) {
    let _ = io::stderr().lock().write_all(&bytes);
}

/// stderr, line by line. See [`talk_beside`].
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
        // One is being taken, and what is too much is lost.
        for word in 0..20 {
            outlet.put(word, LIMIT / 10);
        }
        outlet.0.ended(Instant::now());
        drop(let_go);
        outlet.0.ended(Instant::now() + Duration::from_secs(60));
        assert!(taken.try_iter().eq(0..10));
    }
}
