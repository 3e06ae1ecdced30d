//! [`Commands`] as processes of this machine.
//!
//! Each program leads a session of its own: it has no terminal, and the signal that ends it reaches its children too,
//! but for those that have made a session of theirs. What such a daemon still writes once the program itself has
//! ended is not waited for: it has to send its output elsewhere.
//!
//! `--root` means nothing here: programs are those of the running system, and see its files.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, getppid, setgid, setgroups, setsid, setuid};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::lines::Lines;
use super::{Commands, End, HostError, Invocation, OnLine, User};

/// How long a program may take to end once asked to (SIGTERM), before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long to go on reading after a program has ended: its children may hold the pipe, and a daemon does so for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// How long a killed program may take to be gone. Longer only if it hangs in the kernel, as on a dead NFS server.
const REAP: Duration = Duration::from_secs(2);

/// Runs programs on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessCommands;

#[async_trait(?Send)]
impl Commands for ProcessCommands {
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError> {
        let deadline = Instant::now() + invocation.timeout;
        let mut lines = Lines::new(on_line);
        let mut running = Running::start(invocation)?;
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

/// A program at work. Dropped, it takes its whole group with it.
struct Running {
    child: Child,
    group: Pid,
    output: Output,
    done: bool,
}

impl Running {
    fn start(invocation: &Invocation) -> Result<Self, HostError> {
        // Otherwise exec(2) would blame the program for it.
        let found = std::fs::metadata(&invocation.directory);
        if let Err(source) = found.and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }) {
            return Err(HostError::Path { operation: "work in", path: invocation.directory.clone(), source });
        }
        let start = || {
            let program = invocation.argv.first().ok_or_else(|| io::Error::other("there is no program to run"))?;
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
            become_alone(&mut command, invocation.user.as_ref());
            let child = command.spawn()?;
            // The writing end is in `command`, and the end of output is seen only once nobody has it.
            drop(command);
            let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
            let group = group.ok_or_else(|| io::Error::other("the process has no id"))?;
            Ok(Self { child, group, output: Output::new(reader)?, done: false })
        };
        start().map_err(|source| spawn(invocation, source))
    }

    /// Passes on its output until it ends.
    async fn end(&mut self, lines: &mut Lines<'_>) -> io::Result<ExitStatus> {
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                () = self.output.pass(lines), if self.output.open => {}
            }
        };
        self.done = true;
        Ok(status)
    }

    /// Passes on what is left of its output.
    async fn drain(&mut self, lines: &mut Lines<'_>) {
        let all = async {
            while self.output.open {
                self.output.pass(lines).await;
            }
        };
        let _ = timeout(DRAIN, all).await;
    }

    /// Ends it, kindly at first. Its group is killed even if it ends by itself: its children may not.
    async fn stop(&mut self, lines: &mut Lines<'_>) {
        self.signal(Signal::SIGTERM);
        let _ = timeout(GRACE, self.end(lines)).await;
        self.signal(Signal::SIGKILL);
        if !self.done {
            let _ = timeout(REAP, self.end(lines)).await;
            self.done = true;
        }
        self.drain(lines).await;
    }

    fn signal(&self, signal: Signal) {
        // «No such process» is what we want to hear, and for anything else there is no remedy.
        let _ = killpg(self.group, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.done {
            self.signal(Signal::SIGKILL);
        }
    }
}

/// What a program says, on stdout and stderr alike: one pipe for both keeps the order in which it was said.
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

    /// Passes on what is there, or waits for something to be there.
    async fn pass(&mut self, lines: &mut Lines<'_>) {
        match self.pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => self.open = false,
            Ok(count) => lines.push(&self.buffer[..count]),
        }
    }
}

/// Makes the program start in a session of its own, as `user`, and die with us.
fn become_alone(command: &mut Command, user: Option<&User>) {
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
        if let Some((uid, gid, groups)) = &user {
            setgroups(groups)?;
            setgid(*gid)?;
            setuid(*uid)?;
        }
        // Last, because a change of user forgets it. It counts for the thread that spawned, which is why this is not
        // done on the blocking pool, and for the program only, not for its children.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != parent {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe functions may be called; these are bare system calls, and
    // nothing here allocates.
    unsafe {
        command.pre_exec(alone);
    }
}

/// Where the program lies, by the `PATH` it will run with. Empty entries of it do not mean the working directory.
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
mod tests {
    use super::*;
    use crate::text::SecretText;

    fn sh(script: &str) -> Invocation {
        Invocation {
            argv: ["sh", "-c", script].map(SecretText::from).to_vec(),
            environment: vec![("PATH".into(), "/nowhere::/usr/bin:/bin".into())],
            directory: "/".into(),
            user: None,
            timeout: Duration::from_secs(30),
        }
    }

    async fn run(invocation: &Invocation) -> (Result<End, HostError>, Vec<String>) {
        let mut lines = Vec::new();
        let end = ProcessCommands.run(invocation, &mut |line| lines.push(line.to_owned())).await;
        (end, lines)
    }

    /// Whether a process is there, and not only waiting to be reaped by whoever its parent is now.
    fn lives(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn dies(pid: &str) -> bool {
        for _ in 0..200 {
            if !lives(pid) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn hears_both_streams_in_order() {
        let (end, lines) = run(&sh("echo one; echo two >&2; printf three; exit 3")).await;
        assert_eq!(end.unwrap(), End::Exited(3));
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn gives_nothing_but_what_was_asked_for() {
        let mut invocation = sh("pwd; tr '\\0' '\\n' </proc/self/environ; cat; ps -o sid= -p $$ 2>/dev/null | tr -d ' '; kill -9 $$");
        invocation.directory = "/usr".into();
        let (end, lines) = run(&invocation).await;
        assert_eq!(end.unwrap(), End::Signalled(9));
        assert_eq!(lines[0], "/usr");
        // A shell adds PWD and the like to what its children get.
        assert!(!lines.iter().any(|line| line.starts_with("CARGO") || line.starts_with("HOME")), "{lines:?}");
    }

    #[tokio::test]
    async fn bears_long_lines_and_bytes_that_are_no_text() {
        let (end, lines) = run(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; head -c 100000 /dev/urandom; echo; echo last")).await;
        assert_eq!(end.unwrap(), End::Exited(0));
        assert_eq!(lines[0], "x".repeat(crate::host::LINE_LIMIT));
        assert!(lines.iter().all(|line| line.len() <= crate::host::LINE_LIMIT));
        assert_eq!(lines.last().unwrap(), "last");
    }

    #[tokio::test]
    async fn ends_what_never_stops_talking() {
        let mut invocation = sh("exec yes");
        // Long enough for a loaded machine to start it.
        invocation.timeout = Duration::from_secs(2);
        let mut count = 0;
        let end = ProcessCommands.run(&invocation, &mut |_| count += 1).await;
        assert_eq!(end.unwrap(), End::TimedOut);
        assert!(count > 0);
    }

    #[tokio::test]
    async fn says_what_could_not_be_run() {
        let missing = |argv: &str| Invocation { argv: vec![argv.into()], ..sh("") };
        let (end, _) = run(&missing("no-such-program")).await;
        let explained = crate::failure::Explanation::of(&end.unwrap_err()).to_string();
        insta::assert_snapshot!(explained, @r"
        cannot run no-such-program: entity not found
        hint: install no-such-program in the image, or give its full path
        ");
        assert!(matches!(run(&missing("/etc/passwd")).await.0, Err(HostError::Spawn { .. })));
        let nowhere = Invocation { directory: "/no/such".into(), ..sh("true") };
        assert_eq!(run(&nowhere).await.0.unwrap_err().to_string(), "cannot work in /no/such");
    }

    #[tokio::test]
    async fn a_timeout_takes_the_grandchildren_too() {
        let mut invocation = sh("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait");
        invocation.timeout = Duration::from_secs(5);
        let (end, lines) = run(&invocation).await;
        assert_eq!(end.unwrap(), End::TimedOut);
        assert!(dies(&lines[0]).await, "{lines:?}");
    }

    #[tokio::test]
    async fn a_daemon_in_the_background_is_not_waited_for() {
        let begin = Instant::now();
        let (end, lines) = run(&sh("sleep 60 & echo $!")).await;
        assert_eq!(end.unwrap(), End::Exited(0));
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(lives(&lines[0]), "it was to go on");
        let _ = nix::sys::signal::kill(Pid::from_raw(lines[0].parse().unwrap()), Signal::SIGKILL);
    }

    #[tokio::test]
    async fn dropping_the_future_kills_the_group() {
        let (sender, mut pids) = tokio::sync::mpsc::unbounded_channel();
        let invocation = sh("echo $$; sleep 60 & echo $!; wait");
        let mut on_line = |line: &str| sender.send(line.to_owned()).unwrap();
        let run = ProcessCommands.run(&invocation, &mut on_line);
        let both = async { (pids.recv().await.unwrap(), pids.recv().await.unwrap()) };
        let (leader, child) = tokio::select! {
            pids = both => pids,
            end = run => panic!("ended early: {end:?}"),
        };
        assert!(dies(&leader).await && dies(&child).await);
    }

    #[tokio::test]
    async fn runs_as_the_user_asked_for() {
        let root = Uid::effective().is_root();
        // Without root there is one user we can be.
        let (uid, gid) = if root { (65534, 65533) } else { (Uid::effective().as_raw(), Gid::effective().as_raw()) };
        let user = User { name: "x".into(), uid, gid, home: "/".into(), groups: vec![gid, 65532] };
        let invocation = Invocation { user: Some(user), ..sh("id -u; id -g; id -G") };
        let (end, lines) = run(&invocation).await;
        assert_eq!(end.unwrap(), End::Exited(0));
        assert_eq!(lines[..2], [uid.to_string(), gid.to_string()]);
        if root {
            assert_eq!(lines[2], "65533 65532");
        }
    }
}
