//! Running programs, and [`ProcessCommands`], which runs them as processes of this machine.
//!
//! Each program leads a session of its own: it has no terminal, and the signal that ends it also reaches its children,
//! except those that have created their own session. Output that such a daemon writes after the program itself has
//! ended is not waited for: a daemon has to redirect its output.
//!
//! A program that may run only as long as ingot permits it has a [`Lease`].
//!
//! `--root` has no effect here: programs come from the running system and see its files.

// A lease is kept by a cgroup and a timer of Linux.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/lease.rs")]
mod lease;

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, getppid, setgid, setsid, setuid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::blocking::{Kind, Threads};
use super::calls;
use super::error::HostError;
use super::lines::{Lines, OnLine};
use super::users::User;
use super::wanted::still_wanted;
use crate::text::SecretText;

pub(crate) use lease::Lease;
use lease::{Entry, Guard};

/// Runs programs.
#[async_trait(?Send)]
pub(crate) trait Commands {
    /// Runs a program until it ends, in its own process group and without input. Kills the group when `timeout` has
    /// passed, when this future is dropped, and when this process dies.
    ///
    /// Passes each line of output to `on_line`: stdout and stderr in the order they arrive, decoded as lossy UTF-8, at
    /// most [`LINE_LIMIT`](crate::redaction::LINE_LIMIT) bytes each. Lines may contain secrets, which the caller has to
    /// redact.
    ///
    /// # Errors
    ///
    /// [`HostError::Spawn`] if the program could not be started at all. A failed exit is not an error here: see
    /// [`End`].
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError>;
}

/// The `PATH` of programs that do not set another: enough for programs that look up their own helpers. ingot's own
/// environment is not passed on.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One program to run. Its environment is exactly `environment`; nothing is inherited.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `environment`.
    pub(crate) argv: Vec<SecretText>,
    pub(crate) environment: Vec<(String, SecretText)>,
    pub(crate) directory: PathBuf,
    /// `None` runs it as ingot's own user.
    pub(crate) user: Option<User>,
    pub(crate) timeout: Duration,
    /// Once the lease ends, the program is killed together with everything it started, even if ingot is gone. Processes
    /// left behind by a program that exited successfully are spared.
    pub(crate) lease: Option<Lease>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

/// How long a program may take to end after SIGTERM before it is killed. Together with [`REAP`] and [`DRAIN`] this is
/// less than a second, because a step has to end at its `timeout:`.
const GRACE: Duration = Duration::from_millis(500);

/// How long output is still read after a program has ended: its children may hold the pipe, and a daemon holds it
/// forever.
const DRAIN: Duration = Duration::from_millis(200);

/// How long a killed program may take to disappear. It takes longer only if it hangs in the kernel, as on a dead NFS
/// server.
const REAP: Duration = Duration::from_millis(100);

/// The threads that start programs: working directories and executables may lie on a disk that hangs.
static STARTING: LazyLock<Threads> = LazyLock::new(|| Threads::of(Kind::Staying));

/// Runs programs on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessCommands;

#[async_trait(?Send)]
impl Commands for ProcessCommands {
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError> {
        let deadline = Instant::now() + invocation.timeout;
        let mut lines = Lines::new(on_line);
        let Ok(started) = timeout_at(deadline, Running::start(invocation)).await else { return Ok(End::TimedOut) };
        let mut running = started?;
        let end = match timeout_at(deadline, running.end(&mut lines)).await {
            Ok(Ok(status)) => {
                running.drain(&mut lines).await;
                ended(status)
            }
            Ok(Err(source)) => return Err(spawn(invocation, source)),
            Err(_) => {
                running.stop(&mut lines).await;
                End::TimedOut
            }
        };
        lines.finish();
        Ok(end)
    }
}

/// A running program. Dropping it kills its whole group.
struct Running {
    child: Child,
    group: Pid,
    output: Output,
    done: bool,
    guard: Option<Guard>,
}

impl Running {
    async fn start(invocation: &Invocation) -> Result<Self, HostError> {
        let (runtime, wanted) = (Handle::current(), invocation.clone());
        let start = move || {
            let _entered = runtime.enter();
            Self::start_now(&wanted)
        };
        // If the caller has given up by the time it starts, it is dropped and thereby killed.
        STARTING.work("start a program in", &invocation.directory, &invocation.directory, start).await
    }

    fn start_now(invocation: &Invocation) -> Result<Self, HostError> {
        // Without this check, exec(2) would report the missing directory as an error of the program.
        let found = std::fs::metadata(&invocation.directory);
        if let Err(source) = found.and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }) {
            return Err(HostError::Path { operation: "start a program in", path: invocation.directory.clone(), source });
        }
        let start = || {
            let program = invocation.argv.first().ok_or_else(|| io::Error::other("no program is named"))?;
            let path = look_up(program.expose(), invocation)?;
            let (reader, writer) = io::pipe()?;
            let mut command = Command::new(path);
            command
                .arg0(program.expose())
                .args(invocation.argv[1..].iter().map(|argument| argument.expose()))
                .env_clear()
                .envs(invocation.environment.iter().map(|(name, value)| (name, value.expose())))
                .current_dir(&invocation.directory)
                .stdin(Stdio::null())
                .stdout(writer.try_clone()?)
                .stderr(writer)
                .kill_on_drop(true);
            let watched = invocation.lease.as_ref().map(Guard::start).transpose()?;
            let (guard, entry) = watched.map_or((None, None), |(guard, entry)| (Some(guard), Some(entry)));
            become_alone(&mut command, invocation.user.as_ref(), entry);
            // The disk may have hung until now.
            still_wanted()?;
            let child = command.spawn()?;
            // `command` holds the writing end, and the end of output is seen only after every copy is closed.
            drop(command);
            let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
            let group = group.ok_or_else(|| io::Error::other("the process has no ID"))?;
            Ok(Self { child, group, output: Output::new(reader)?, done: false, guard })
        };
        start().map_err(|source| spawn(invocation, source))
    }

    /// Passes on the program's output until it ends.
    async fn end(&mut self, lines: &mut Lines<'_>) -> io::Result<ExitStatus> {
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                () = self.output.pass(lines), if self.output.open => {}
            }
        };
        self.done = true;
        self.guard.iter_mut().for_each(|guard| guard.spares = status.success());
        Ok(status)
    }

    /// Passes on the rest of its output.
    async fn drain(&mut self, lines: &mut Lines<'_>) {
        let all = async {
            while self.output.open {
                self.output.pass(lines).await;
            }
        };
        let _ = timeout(DRAIN, all).await;
    }

    /// Stops the program, first with SIGTERM. Its group is killed even if the program ends by itself, because its
    /// children may not.
    async fn stop(&mut self, lines: &mut Lines<'_>) {
        self.signal(Signal::SIGTERM);
        let _ = timeout(GRACE, self.end(lines)).await;
        self.signal(Signal::SIGKILL);
        if !self.done {
            let _ = timeout(REAP, self.end(lines)).await;
            self.done = true;
        }
        // Even if it exited cleanly, it had timed out, so nothing is spared.
        self.guard.iter_mut().for_each(|guard| guard.spares = false);
        self.drain(lines).await;
    }

    fn signal(&self, signal: Signal) {
        // "No such process" is the desired state, and no other error can be acted on.
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done || self.guard.as_ref().is_some_and(|guard| !guard.spares) {
            self.signal(Signal::SIGKILL);
        }
    }
}

/// The program's output: stdout and stderr share one pipe, which preserves the order of their lines.
struct Output {
    pipe: Receiver,
    open: bool,
    buffer: zeroize::Zeroizing<Vec<u8>>,
}

impl Output {
    fn new(reader: PipeReader) -> io::Result<Self> {
        let pipe = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        Ok(Self { pipe, open: true, buffer: vec![0; 8192].into() })
    }

    /// Passes on the available output, or waits for some.
    async fn pass(&mut self, lines: &mut Lines<'_>) {
        match self.pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => self.open = false,
            Ok(count) => lines.push(&self.buffer[..count]),
        }
    }
}

/// Makes the program start in its own session, as `user`, and die with ingot.
fn become_alone(command: &mut Command, user: Option<&User>, entry: Option<Entry>) {
    let root = nix::unistd::geteuid().is_root();
    let ours = |user: &&User| !root && (user.uid, user.gid) == (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    // Without root there is nothing to change, and setgroups(2) would be refused.
    let user = user.filter(|user| !ours(user)).map(|user| {
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        (Uid::from_raw(user.uid), Gid::from_raw(user.gid), groups)
    });
    let parent = nix::unistd::getpid();
    let alone = move || -> io::Result<()> {
        setsid()?;
        if let Some(entry) = entry {
            entry.enter()?;
        }
        if let Some((uid, gid, groups)) = &user {
            calls::set_groups(groups)?;
            setgid(*gid)?;
            setuid(*uid)?;
        }
        // Last, because a change of user clears it. It is tied to the thread that spawned the program, which is why
        // that thread lives as long as ingot, and it covers the program only, not its children.
        calls::die_with_parent()?;
        if getppid() != parent {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    // SAFETY: only async-signal-safe functions may be called between fork and exec; these are bare system calls, and
    // nothing here allocates.
    unsafe {
        command.pre_exec(alone);
    }
}

/// Finds the program in the `PATH` that it will run with. Empty entries do not mean the working directory.
fn look_up(program: &str, invocation: &Invocation) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(invocation.directory.join(program));
    }
    let path = invocation.environment.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.expose());
    let mut refusal = io::ErrorKind::NotFound;
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let candidate = invocation.directory.join(directory).join(program);
        match is_executable(&candidate) {
            Some(true) => return Ok(candidate),
            Some(false) => refusal = io::ErrorKind::PermissionDenied,
            None => {}
        }
    }
    Err(refusal.into())
}

fn is_executable(path: &Path) -> Option<bool> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or(0)),
    }
}

fn spawn(invocation: &Invocation, source: io::Error) -> HostError {
    let program = invocation.argv.first().map_or_else(String::new, |program| program.expose().to_owned());
    HostError::Spawn { program, source }
}

#[cfg(test)]
mod tests;
