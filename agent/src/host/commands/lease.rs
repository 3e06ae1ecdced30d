//! A program that may run for as long as someone says so, and no longer: [`Lease`].
//!
//! ingot may be stopped, hang or die, and the program would go on. A small process therefore watches over it, forked from
//! ingot and from then on alone with a pipe and a clock: once the lease is over, or ingot is gone, it kills the program and all
//! that the program has started. For that they are in a cgroup of their own, or, where none can be made, in one process group.
//! The clock goes on while the machine is suspended.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeWriter, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, fork};

/// In a second.
const NANOSECONDS: i64 = 1_000_000_000;

/// How the names of cgroups begin.
const CGROUP: &str = "claim-";

/// Until when a program may run. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// In nanoseconds of `CLOCK_BOOTTIME`.
    until: i64,
    /// To the process that watches.
    watcher: Option<PipeWriter>,
}

impl Lease {
    /// One that is over after `left`.
    pub(crate) fn of(left: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { until: after(left), watcher: None })))
    }

    /// From now on it is over after `left`.
    pub(crate) fn extend(&self, left: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.until = after(left);
        let until = state.until;
        if let Some(watcher) = &mut state.watcher {
            // One that is gone cannot be told.
            let _ = watcher.write_all(&until.to_ne_bytes());
        }
    }
}

fn after(left: Duration) -> i64 {
    now().saturating_add(i64::try_from(left.as_nanos()).unwrap_or(i64::MAX))
}

fn now() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock");
    now.tv_sec() * NANOSECONDS + now.tv_nsec()
}

/// The process that watches over one program. Dropped, it takes with it whatever is left of that, unless it is to spare it.
pub(super) struct Guard {
    lease: Lease,
    watcher: Pid,
    cgroup: Option<Cgroup>,
    pub(super) spares: bool,
}

/// What the program itself has to do before it begins. The files are open until it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    procs: Option<RawFd>,
    watcher: RawFd,
}

impl Entry {
    /// Makes this process known to those who may have to kill it. Only system calls: this is between fork and exec.
    pub(super) fn enter(self) -> io::Result<()> {
        if let Some(procs) = self.procs {
            // Without it there is the process group.
            put(procs, b"0");
        }
        let group = -i64::from(nix::unistd::getpid().as_raw());
        if put(self.watcher, &group.to_ne_bytes()) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Guard {
    /// Begins to watch. The program comes after that.
    pub(super) fn start(lease: &Lease) -> io::Result<(Self, Entry)> {
        let cgroup = Cgroup::make().ok();
        let (reader, writer) = io::pipe()?;
        let kill = cgroup.as_ref().map(|cgroup| cgroup.kill.as_raw_fd());
        let entry = Entry { procs: cgroup.as_ref().map(|cgroup| cgroup.procs.as_raw_fd()), watcher: writer.as_raw_fd() };
        let mut state = lease.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the child only makes system calls, and never returns.
        match unsafe { fork() }? {
            ForkResult::Child => watch(reader.as_raw_fd(), writer.as_raw_fd(), kill, state.until),
            ForkResult::Parent { child } => {
                state.watcher = Some(writer);
                Ok((Self { lease: lease.clone(), watcher: child, cgroup, spares: false }, entry))
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.as_ref().filter(|_| !self.spares) {
            put(cgroup.kill.as_raw_fd(), b"1");
        }
        // It must not see the pipe closed: it would kill what is to be spared.
        let _ = kill(self.watcher, Signal::SIGKILL);
        let _ = waitpid(self.watcher, None);
        self.lease.0.lock().unwrap_or_else(PoisonError::into_inner).watcher = None;
    }
}

/// A cgroup below that of ingot, which nothing else is in.
pub(super) struct Cgroup {
    path: PathBuf,
    procs: File,
    kill: File,
}

impl Cgroup {
    pub(super) fn make() -> io::Result<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(io::ErrorKind::Unsupported)?;
        let own = PathBuf::from("/sys/fs/cgroup").join(own);
        clear(&own);
        let path = make_below(&own)?;
        let open = |name| OpenOptions::new().write(true).open(path.join(name));
        match (open("cgroup.procs"), open("cgroup.kill")) {
            (Ok(procs), Ok(kill)) => Ok(Self { path, procs, kill }),
            (Err(error), _) | (_, Err(error)) => {
                let _ = std::fs::remove_dir(&path);
                Err(error)
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What was killed may take a moment to be gone; then the next one removes it, or systemd with the cgroup of ingot.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Makes a directory for one. What an earlier process with our number has left there is in no one's way.
pub(super) fn make_below(own: &Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let path = own.join(format!("{CGROUP}{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
}

/// Removes those that earlier processes have left there. One that is in use stays.
fn clear(own: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(CGROUP)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Whether all of it was written. One system call.
fn put(to: RawFd, bytes: &[u8]) -> bool {
    // SAFETY: the buffer is as long as it says.
    let written = unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written) == Ok(bytes.len())
}

/// The whole life of the process that watches: until the lease is over or the other end of the pipe is closed.
///
/// A message is a number: a positive one is the end of the lease, a negative one the process group of the program.
fn watch(reader: RawFd, writer: RawFd, kill: Option<RawFd>, mut until: i64) -> ! {
    // SAFETY: only system calls on numbers, and on buffers that are as long as they say.
    unsafe {
        libc::setsid();
        libc::close(writer);
        libc::dup2(reader, 0);
        let kill = kill.map(|kill| libc::dup2(kill, 1));
        // Locks of ingot's, above all, which end with the last process that has them.
        libc::syscall(libc::SYS_close_range, if kill.is_some() { 2 } else { 1 }, u32::MAX, 0);
        // Where it goes on while the machine is suspended. Without it, a look each second has to do.
        let timer = libc::timerfd_create(libc::CLOCK_BOOTTIME, 0);
        let wait = if timer < 0 { 1_000 } else { -1 };
        let mut group = 0;
        loop {
            let mut time: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
            let left = until - (time.tv_sec * NANOSECONDS + time.tv_nsec);
            let mut message = 0_i64;
            let ready = left > 0 && {
                let mut end: libc::itimerspec = std::mem::zeroed();
                (end.it_value.tv_sec, end.it_value.tv_nsec) = (until / NANOSECONDS, until % NANOSECONDS);
                libc::timerfd_settime(timer, libc::TFD_TIMER_ABSTIME, &raw const end, std::ptr::null_mut());
                let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                let mut polls = [of(0), of(timer)];
                libc::poll(polls.as_mut_ptr(), 2, wait) > 0 && polls[0].revents != 0
            };
            if ready && libc::read(0, (&raw mut message).cast(), 8) == 8 {
                if message < 0 {
                    group = i32::try_from(-message).unwrap_or(0);
                } else {
                    until = message;
                }
            } else if ready || left <= 0 {
                if let Some(kill) = kill {
                    put(kill, b"1");
                }
                if group > 1 {
                    libc::kill(-group, libc::SIGKILL);
                }
                libc::_exit(0);
            }
        }
    }
}
