//! Work that may wait for a disk, done on separate threads: the runtime has one thread, which never waits for a disk.
//!
//! The first read of a block on a volume restored from a snapshot takes tens of milliseconds. On a filesystem that
//! hangs (a dead NFS server, a lost volume, `fsfreeze`) an operation never ends and cannot be canceled: its thread is
//! abandoned. The effect on other work is bounded:
//!
//! - [`work`] runs on a thread of its own and does not wait for other operations. What ingot stores for itself, such as
//!   its record, is written this way.
//! - [`Threads::work`] queues operations and runs [`AT_ONCE`] at a time. An operation that is [`LATE`] no longer counts
//!   towards that limit, so the others proceed; while [`LATE_ON_ONE_MOUNT`] operations are late on one mount, no
//!   further operation begins there. The mount table is read without holding the lock, because the kernel blocks that
//!   read while another process mounts a filesystem that does not answer. Once reading it is late too, each directory
//!   counts as a mount.
//! - There are at most [`THREADS`] threads. Beyond that, an operation is refused.
//!
//! An operation of several system calls checks [`still_wanted`](super::wanted::still_wanted) before each call that
//! changes something. After its step has failed, the call that hangs may still take effect, but no later call does.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::HostError;
use super::mountinfo;
use super::tree::failed;
use super::wanted::while_wanted;

/// How many operations wait for a disk at the same time. A boot with a hundred files took a quarter to a half longer
/// with a thread for each file, and a fifth longer with four threads (ext4, 2 cores). This is also the number of blocks
/// fetched from a snapshot at a time.
const AT_ONCE: usize = 16;

/// An operation that takes this long may never end. Fetching a block from a snapshot usually takes less.
const LATE: Duration = Duration::from_millis(100);

/// With this many late operations on one mount, no further operation begins there.
const LATE_ON_ONE_MOUNT: usize = 64;

/// The maximum number of threads of one kind. Each takes about 20 KiB.
const THREADS: usize = 512;

/// How long an idle thread waits for its next operation before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// Wait time of a thread that never ends.
const FOR_EVER: Duration = Duration::from_hours(24);

/// The threads of [`work`].
static ALONE: LazyLock<Threads> = LazyLock::new(|| Threads::of(Kind::Alone));

/// Runs `work` on a thread of its own. If the thread is lost, the error says that `operation` failed on `path`.
///
/// # Errors
///
/// Those of `work`, and [`HostError::NoThread`].
pub(crate) async fn work<T: Send + 'static>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    ALONE.work(operation, path, path, work).await
}

/// How threads share the work, and how long they live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Operations are queued and take turns.
    Turns,
    /// Each operation gets a thread immediately.
    Alone,
    /// As with `Alone`, but the thread lives as long as the process: programs that it has started would be killed with
    /// it.
    Staying,
}

/// Threads that carry out operations. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Threads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kind: Kind,
    /// Held briefly, never during a system call that may block.
    state: Mutex<State>,
    called: Condvar,
    /// Returns the current mount points. Reads the kernel's mount table, except in tests.
    mounts: fn() -> Vec<PathBuf>,
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Run the operation at this index of the queue.
    Begin(usize),
    /// So many operations are late that the mounts they are on decide what may begin.
    LookAtMounts,
    Wait,
}

#[derive(Debug, Default)]
struct State {
    /// [`LATE`], except in tests.
    late: Duration,
    queue: VecDeque<Job>,
    under_way: BTreeMap<u64, UnderWay>,
    threads: usize,
    /// Threads that wait to be called.
    idle: usize,
    /// The idle threads that check again on their own once an operation is late.
    watching: usize,
    /// Threads that were called or started and have not checked the queue yet.
    called: usize,
    starting: usize,
    /// Since when a thread has been reading the mount table.
    looking: Option<Instant>,
    numbers: u64,
}

struct Job {
    number: u64,
    at: PathBuf,
    wanted: Arc<AtomicBool>,
    work: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("at", &self.at).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct UnderWay {
    since: Instant,
    at: PathBuf,
}

impl Default for Threads {
    fn default() -> Self {
        Self::of(Kind::Turns)
    }
}

impl Threads {
    pub(super) fn of(kind: Kind) -> Self {
        Self::with(kind, LATE)
    }

    fn with(kind: Kind, late: Duration) -> Self {
        Self::with_mounts(kind, late, mounts)
    }

    fn with_mounts(kind: Kind, late: Duration, mounts: fn() -> Vec<PathBuf>) -> Self {
        Self(Arc::new(Shared { kind, state: Mutex::new(State { late, ..State::default() }), called: Condvar::new(), mounts }))
    }

    /// As [`work`](fn@work), but queued. An operation that has not begun when its caller gives up is not run. `at` is
    /// where `path` lies in the mounts of this process.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        at: &Path,
        work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let (send, receive) = oneshot::channel();
        let wanted = Arc::new(AtomicBool::new(true));
        // The caller may no longer be waiting.
        let work = Box::new(move || drop(send.send(work())));
        let number = self.enqueue(at.to_owned(), Arc::clone(&wanted), work);
        let number = number.map_err(|source| HostError::NoThread { operation, path: path.to_owned(), source })?;
        let mut waiting = Waiting { shared: &self.0, number, wanted, is_over: false };
        let done = receive.await;
        waiting.is_over = true;
        done.unwrap_or_else(|lost| Err(failed(operation, path, io::Error::other(lost))))
    }

    fn enqueue(&self, at: PathBuf, wanted: Arc<AtomicBool>, work: Box<dyn FnOnce() + Send>) -> io::Result<u64> {
        let mut state = self.0.state();
        state.numbers += 1;
        let number = state.numbers;
        state.queue.push_back(Job { number, at, wanted, work });
        let engaged = self.0.engage(&mut state);
        // Dropped after the lock is released: its destructor may free what others wait for.
        let refused = if engaged.is_err() { state.queue.pop_back() } else { None };
        drop(state);
        drop(refused);
        engaged.map(|()| number)
    }
}

/// A waiting caller. When it is dropped early, an operation that has not begun is not run, and a running one stops at
/// its next check.
struct Waiting<'a> {
    shared: &'a Shared,
    number: u64,
    wanted: Arc<AtomicBool>,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.wanted.store(false, Ordering::Release);
        let mut state = self.shared.state();
        let at = state.queue.iter().position(|job| job.number == self.number);
        let job = at.and_then(|at| state.queue.remove(at));
        drop(state);
        drop(job);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a thread run an operation if one may begin. Otherwise makes sure that a thread is waiting for an operation
    /// to become late.
    ///
    /// # Errors
    ///
    /// If no thread can be had, and none will be free soon.
    fn engage(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        // A thread that fell asleep while the queue was empty would not check in time.
        let looks = state.watching + state.called + state.starting > 0;
        if state.next(self.kind, Instant::now(), None) == Next::Wait && (state.queue.is_empty() || looks) {
            return Ok(());
        }
        if state.idle == 0 {
            return self.start(state);
        }
        state.idle -= 1;
        state.called += 1;
        self.called.notify_one();
        Ok(())
    }

    fn start(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let started = if state.threads < THREADS {
            let shared = Arc::clone(self);
            thread::Builder::new().name("disk".into()).spawn(move || shared.run())
        } else {
            Err(io::Error::other(format!("{THREADS} disk operations are stuck")))
        };
        match started {
            Ok(_) => {
                state.threads += 1;
                state.starting += 1;
                Ok(())
            }
            Err(_) if state.fresh(Instant::now()) + state.called + state.starting > 0 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The loop of a thread: runs one operation after another.
    fn run(self: Arc<Self>) {
        let mut state = self.state();
        state.starting -= 1;
        let mut mounts = None;
        loop {
            let now = Instant::now();
            let next = state.next(self.kind, now, mounts.take().as_deref());
            if next == Next::LookAtMounts {
                state.looking = Some(now);
                // Another thread must notice if this one becomes late.
                let _ = self.engage(&mut state);
                drop(state);
                mounts = Some((self.mounts)());
                state = self.state();
                state.looking = None;
                continue;
            }
            if let Next::Begin(at) = next
                && let Some(job) = state.queue.remove(at)
            {
                let Job { number, at, wanted, work } = job;
                state.under_way.insert(number, UnderWay { since: now, at });
                // Without another thread, this one runs the rest of the queue itself, unless it hangs.
                let _ = self.engage(&mut state);
                drop(state);
                carry_out(wanted, work);
                state = self.state();
                state.under_way.remove(&number);
                continue;
            }
            state.idle += 1;
            let watches = usize::from(!state.queue.is_empty());
            state.watching += watches;
            let is_called;
            (state, is_called) = self.wait(state);
            state.watching -= watches;
            if !is_called {
                state.idle -= 1;
                if state.queue.is_empty() && self.kind != Kind::Staying {
                    state.threads -= 1;
                    return;
                }
            }
        }
    }

    /// Waits until it is called or, while operations are queued, until one that is running becomes late.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        let now = Instant::now();
        // A staying thread has no reason to check again.
        let idle = if self.kind == Kind::Staying { FOR_EVER } else { IDLE };
        let until = now + if state.queue.is_empty() { idle } else { state.next_late(now) };
        loop {
            if state.called > 0 {
                state.called -= 1;
                return (state, true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (state, false);
            }
            (state, _) = self.called.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Decides what may begin, given `mounts` if they are known.
    fn next(&self, kind: Kind, now: Instant, mounts: Option<&[PathBuf]>) -> Next {
        if self.queue.is_empty() || (kind == Kind::Turns && self.fresh(now) + self.called + self.starting >= AT_ONCE) {
            return Next::Wait;
        }
        let late = || self.under_way.values().filter(|under_way| self.is_late(under_way, now)).map(|under_way| under_way.at.as_path());
        if kind != Kind::Turns || late().count() < LATE_ON_ONE_MOUNT {
            return Next::Begin(0);
        }
        match self.looking {
            _ if mounts.is_some() => {}
            None => return Next::LookAtMounts,
            Some(since) if now.saturating_duration_since(since) < self.late => return Next::Wait,
            // Reading the mount table may never end, so it is no longer waited for.
            Some(_) => {}
        }
        let mount = |path: &Path| match mounts {
            Some(mounts) => mounts.iter().filter(|at| path.starts_with(at)).max_by_key(|at| at.as_os_str().len()).cloned(),
            None => path.parent().map(Path::to_owned),
        };
        let mut late_on: BTreeMap<Option<PathBuf>, usize> = BTreeMap::new();
        late().for_each(|path| *late_on.entry(mount(path)).or_default() += 1);
        let may_begin = |job: &Job| late_on.get(&mount(&job.at)).is_none_or(|late| *late < LATE_ON_ONE_MOUNT);
        self.queue.iter().position(may_begin).map_or(Next::Wait, Next::Begin)
    }

    fn is_late(&self, under_way: &UnderWay, now: Instant) -> bool {
        now.saturating_duration_since(under_way.since) >= self.late
    }

    /// The number of running operations that are not late.
    fn fresh(&self, now: Instant) -> usize {
        self.under_way.values().filter(|under_way| !self.is_late(under_way, now)).count()
    }

    /// How long until another operation, or the reading of the mount table, becomes late.
    fn next_late(&self, now: Instant) -> Duration {
        let since = self.under_way.values().map(|under_way| under_way.since).chain(self.looking);
        let left = since.map(|since| (since + self.late).saturating_duration_since(now)).filter(|left| !left.is_zero());
        left.min().unwrap_or(IDLE)
    }
}

/// Without the mount table, everything counts as one mount.
fn mounts() -> Vec<PathBuf> {
    mountinfo::lines().unwrap_or_default().into_iter().map(|line| line.mounted.at).collect()
}

fn carry_out(wanted: Arc<AtomicBool>, work: Box<dyn FnOnce() + Send>) {
    if wanted.load(Ordering::Acquire) {
        while_wanted(wanted, work);
    }
}

#[cfg(test)]
mod tests;
