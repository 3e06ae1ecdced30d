//! A program that may run only as long as ingot permits it: [`Lease`].
//!
//! If ingot were stopped, hung or died, the program would keep running. A small process therefore watches it, forked
//! from ingot and independent of it except for a pipe and a clock: when the lease ends or ingot is gone, it kills the
//! program and everything the program has started. For this purpose those processes are in a cgroup of their own or,
//! where none can be created, in one process group. The clock also advances while the machine is suspended.

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

/// Nanoseconds in a second.
const NANOSECONDS: i64 = 1_000_000_000;

/// Prefix of the names of cgroups.
const CGROUP: &str = "claim-";

/// The time until which a program may run. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lease(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// End of the lease, in nanoseconds of `CLOCK_BOOTTIME`.
    until: i64,
    /// The pipe to the watching process.
    watcher: Option<PipeWriter>,
}

impl Lease {
    /// Creates a lease that ends after `left`.
    pub(crate) fn of(left: Duration) -> Self {
        Self(Arc::new(Mutex::new(State { until: after(left), watcher: None })))
    }

    /// Makes the lease end after `left`, counted from now.
    pub(crate) fn extend(&self, left: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.until = after(left);
        let until = state.until;
        if let Some(watcher) = &mut state.watcher {
            // A watcher that is gone cannot be notified.
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

/// The process that watches one program. Dropping it kills what is left of the program, unless `spares` is set.
pub(super) struct Guard {
    lease: Lease,
    watcher: Pid,
    cgroup: Option<Cgroup>,
    pub(super) spares: bool,
}

/// What the program's process has to do before exec. The files must stay open until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    procs: Option<RawFd>,
    watcher: RawFd,
}

impl Entry {
    /// Registers this process with those who may have to kill it. Makes system calls only, because it runs between fork
    /// and exec.
    pub(super) fn enter(self) -> io::Result<()> {
        if let Some(procs) = self.procs {
            // If this fails, the process group remains.
            put(procs, b"0");
        }
        let group = -i64::from(nix::unistd::getpid().as_raw());
        if put(self.watcher, &group.to_ne_bytes()) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl Guard {
    /// Starts watching. The program is started after that.
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
        // Killed first: when it saw the pipe closed, it would kill the processes to be spared.
        let _ = kill(self.watcher, Signal::SIGKILL);
        let _ = waitpid(self.watcher, None);
        self.lease.0.lock().unwrap_or_else(PoisonError::into_inner).watcher = None;
    }
}

/// A cgroup below ingot's own that contains only the program and its children.
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
        // Killed processes may take a moment to disappear. In that case the next cgroup's creation removes it, or
        // systemd removes it with ingot's cgroup.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Creates the directory of a cgroup. Skips names left behind by an earlier process with the same pid.
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

/// Removes cgroups that earlier processes left behind. The kernel refuses to remove one that is in use.
fn clear(own: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(CGROUP)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Writes with one system call. Returns whether all bytes were written.
fn put(to: RawFd, bytes: &[u8]) -> bool {
    // SAFETY: the pointer and the length belong to one slice.
    let written = unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written) == Ok(bytes.len())
}

/// The watching process: runs until the lease ends or the other end of the pipe is closed.
///
/// A message is one number: if positive, the end of the lease; if negative, the negated process group of the program.
fn watch(reader: RawFd, writer: RawFd, kill: Option<RawFd>, mut until: i64) -> ! {
    // SAFETY: only system calls with numbers, and with buffers of the stated lengths.
    unsafe {
        libc::setsid();
        libc::close(writer);
        libc::dup2(reader, 0);
        let kill = kill.map(|kill| libc::dup2(kill, 1));
        // Closes all other descriptors. Most importantly ingot's locks, which are held until the last process that has
        // them open closes them.
        libc::syscall(libc::SYS_close_range, if kill.is_some() { 2 } else { 1 }, u32::MAX, 0);
        // This timer advances while the machine is suspended. Without it, the watcher polls once a second.
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
