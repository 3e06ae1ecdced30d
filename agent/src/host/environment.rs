//! What this process was given: environment variables, terminals, the boot it runs in. No other code reads `std::env`,
//! except `sd_notify`, which finds its socket there.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::calls;
use super::error::HostError;
use super::files::Files;
use crate::gather::Gather as _;
use crate::text::SecretText;

/// The environment variables that ingot uses, and what its standard streams are connected to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// The AWS SDKs' variables: endpoints, region, a developer's credentials.
    pub(crate) aws: Aws,
    /// The whole environment, for programs that the user could also have started directly. Contains secrets.
    pub(crate) inherited: Vec<(String, SecretText)>,
    /// Device and inode of the journal's socket, if stderr is connected to it (set by systemd).
    pub(crate) journal_stream: Option<String>,
    /// The invocation id of ingot's unit, if systemd started it.
    pub(crate) invocation_id: Option<String>,
    pub(crate) term: Option<String>,
    /// Set to a non-empty value: no colors. See <https://no-color.org>.
    pub(crate) no_color: bool,
    /// The width of the terminal, or the value of COLUMNS.
    pub(crate) columns: Option<usize>,
    pub(crate) home: Option<OsString>,
    pub(crate) path: Option<String>,
    /// What an image build states about itself, for the attestation.
    pub(crate) build: Build,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    /// Whether stderr goes directly to the journal.
    pub(crate) stderr_is_journal: bool,
}

/// Every `INGOT_BUILD_…` variable that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) name: Option<String>,
    pub(crate) source_image: Option<String>,
    pub(crate) git_revision: Option<String>,
}

/// Every `AWS_…` variable. Some are secrets, so all are stored as secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aws(Vec<(String, SecretText)>);

impl Aws {
    /// A variable that is not a secret, such as `AWS_ENDPOINT_URL`. `None` if unset or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.secret(name).map(SecretText::expose)
    }

    /// The non-empty variables with this prefix. None of them may be a secret.
    pub(crate) fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter(move |(name, _)| name.starts_with(prefix)).filter_map(|(name, _)| Some((name.as_str(), self.get(name)?)))
    }

    /// Every variable, for code that looks for credentials among them.
    pub(crate) fn all(&self) -> std::collections::BTreeMap<String, String> {
        self.0.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).gather()
    }

    /// A variable that is a secret, such as `AWS_SECRET_ACCESS_KEY`. `None` if unset or empty.
    pub(crate) fn secret(&self, name: &str) -> Option<&SecretText> {
        self.0.iter().find(|(known, value)| known == name && !value.expose().is_empty()).map(|(_, value)| value)
    }
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        let mut environment = Self::of(std::env::vars_os());
        environment.stdout_is_terminal = std::io::stdout().is_terminal();
        environment.stderr_is_terminal = std::io::stderr().is_terminal();
        environment.columns = environment.columns.or_else(columns);
        environment.stderr_is_journal = nix::sys::stat::fstat(std::io::stderr())
            .is_ok_and(|stat| environment.journal_stream.as_deref() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        environment
    }

    /// Variables that are not UTF-8 count as unset, except for paths.
    fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let text = value.to_str().map(str::to_owned);
            environment.inherited.extend(text.as_deref().map(|text| (name.to_owned(), SecretText::from(text))));
            match name {
                "JOURNAL_STREAM" => environment.journal_stream = text,
                "INVOCATION_ID" => environment.invocation_id = text,
                "TERM" => environment.term = text,
                "NO_COLOR" => environment.no_color = !value.is_empty(),
                "COLUMNS" => environment.columns = text.and_then(|text| text.parse().ok()),
                "HOME" => environment.home = Some(value),
                "PATH" => environment.path = text,
                "INGOT_BUILD_NAME" => environment.build.name = given(text),
                "INGOT_BUILD_SOURCE_IMAGE" => environment.build.source_image = given(text),
                "INGOT_BUILD_GIT_REVISION" => environment.build.git_revision = given(text),
                _ if name.starts_with("AWS_") => {
                    environment.aws.0.extend(text.map(|text| (name.to_owned(), SecretText::from(text))));
                }
                _ => {}
            }
        }
        environment
    }
}

nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);

/// The width of the terminal, if stdout or stderr is one. A terminal that does not know its width reports 0.
fn columns() -> Option<usize> {
    let width = |stream: i32| {
        // SAFETY: all zeros are a valid `winsize`, and the kernel writes at most one `winsize`.
        let (size, asked) = unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            let asked = window_size(stream, &raw mut size);
            (size, asked)
        };
        asked.ok().map(|_| usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    width(libc::STDOUT_FILENO).or_else(|| width(libc::STDERR_FILENO))
}

/// A build tool sets a variable to the empty string if it has no value for it.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The id that the kernel assigned to this boot.
///
/// # Errors
///
/// If /proc is not mounted, or has an unexpected value.
pub(crate) async fn boot_id(files: &dyn Files) -> Result<String, HostError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let content = files.read(path, 64).await?.unwrap_or_default();
    let id = String::from_utf8_lossy(&content).trim().to_owned();
    if id.is_empty() {
        return Err(super::tree::failed("read", path, std::io::Error::other("the boot ID cannot be read: is /proc mounted?")));
    }
    Ok(id)
}

/// Reads standard input to its end.
///
/// # Errors
///
/// If it is longer than `limit` bytes, or cannot be read.
pub(crate) fn standard_input(limit: u64) -> Result<Vec<u8>, HostError> {
    whole(std::io::stdin().lock(), Path::new("standard input"), limit)
}

/// Reads a pipe to its end, such as that of a shell's `<(…)`; `None` if `path` is not a pipe.
///
/// # Errors
///
/// If it is longer than `limit` bytes, or cannot be read.
pub(crate) fn pipe(path: &Path, limit: u64) -> Option<Result<Vec<u8>, HostError>> {
    path.metadata().ok().filter(|found| found.file_type().is_fifo())?;
    let opened = OpenOptions::new().read(true).open(path).map_err(|source| super::tree::failed("open", path, source));
    Some(opened.and_then(|opened| whole(opened, path, limit)))
}

fn whole(from: impl io::Read, path: &Path, limit: u64) -> Result<Vec<u8>, HostError> {
    let mut content = Vec::new();
    let read = from.take(limit + 1).read_to_end(&mut content);
    read.map_err(|source| super::tree::failed("read", path, source))?;
    if content.len() as u64 > limit { Err(HostError::TooLarge { path: path.to_owned(), limit }) } else { Ok(content) }
}

/// Writes one line to the system console, which appears in the instance's console output and screenshot. On a machine
/// without a console, or with a stuck one, the line is lost.
pub(crate) fn console(line: &str) {
    let options = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    if let Ok(mut console) = OpenOptions::new().write(true).custom_flags(options).open("/dev/console") {
        // With a carriage return, because the console may be a terminal in raw mode. A failure cannot be reported
        // anywhere.
        let _ = console.write_all(format!("{line}\r\n").as_bytes());
    }
}

/// Tells the service manager that this unit is up, if the unit is of `Type=notify`.
pub(crate) fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        log::warn!("cannot tell systemd that this unit is ready: {error}");
    }
}

/// Tells the service manager that this unit is stopping, and that stopping may take this long from now on.
pub(crate) fn stopping(within: Duration) {
    let microseconds = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    let states = [sd_notify::NotifyState::Stopping, sd_notify::NotifyState::ExtendTimeoutUsec(microseconds)];
    if let Err(error) = sd_notify::notify(&states) {
        log::warn!("cannot extend the stop timeout with systemd: {error}");
    }
}

/// Makes a path absolute, as [`Files`] requires. A relative path is relative to the current directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether a process with this number exists.
pub(crate) fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    // A process of another user may not be signaled, but exists.
    pid.is_ok_and(|pid| kill(pid, None) != Err(nix::errno::Errno::ESRCH))
}

/// How long ago the process with this number started, if it is ingot: the number may have been reused.
pub(crate) fn age_of_ingot(pid: u32) -> Option<Duration> {
    let read = |path: String| std::fs::read_to_string(path).ok();
    if read(format!("/proc/{pid}/comm"))? != read("/proc/self/comm".into())? {
        return None;
    }
    let stat = read(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses and may contain any character. The start time is the 22nd field: see proc_pid_stat(5).
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let per_second = u64::try_from(nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??).ok()?;
    let now = calls::since_boot().ok()?;
    Some(now.saturating_sub(Duration::from_millis(ticks * 1000 / per_second.max(1))))
}

/// Asks the process with this number to exit, with SIGTERM.
///
/// # Errors
///
/// If the process has exited, or is not ingot: the number may have been reused.
pub(super) fn end_ingot(pid: u32) -> io::Result<()> {
    // Every process may read the name, while `exe` is hidden from a unit with fewer capabilities than that process.
    let name = |process: &str| std::fs::read(format!("/proc/{process}/comm"));
    if name(&pid.to_string())? != name("self")? {
        return Err(io::Error::other("it is not an ingot process"));
    }
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(kill(Pid::from_raw(pid), Signal::SIGTERM)?)
}

/// Whether this many more files can be opened. Some libraries abort the process if they cannot open theirs.
pub(crate) fn can_open(files: usize) -> bool {
    // Each end of a pipe is one file.
    let opened: Result<Vec<_>, _> = (0..files.div_ceil(2)).map(|_| std::io::pipe()).collect();
    opened.is_ok()
}

/// Keeps secrets out of core dumps, and prevents this process from being traced by its own user.
///
/// Only the soft limit is lowered: programs that ingot runs inherit it and may raise it again.
pub(crate) fn harden() {
    // Neither call fails unless a sandbox forbids it; a boot continues without.
    let hard = getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, hard)| hard);
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    if let Err(errno) = limited.and_then(|()| calls::forbid_dumps()) {
        log::warn!("cannot disable core dumps: {errno}");
    }
}

/// The path of the running program.
pub(crate) fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "/usr/bin/ingot".into())
}

#[cfg(test)]
mod tests {
    use super::super::files::DiskFiles;
    use super::*;

    #[test]
    fn keeps_what_it_knows() {
        let variables =
            [("NO_COLOR", ""), ("COLUMNS", "80"), ("AWS_REGION", "eu-west-1"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("X", "y")];
        let environment = Environment::of(variables.map(|(name, value)| (name.into(), value.into())));
        assert!(!environment.no_color);
        assert_eq!(environment.columns, Some(80));
        assert_eq!(environment.aws.get("AWS_REGION"), Some("eu-west-1"));
        assert_eq!(environment.aws.get("AWS_PROFILE"), None);
        assert!(!format!("{environment:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn knows_its_boot() {
        assert_eq!(boot_id(&DiskFiles::new(None)).await.unwrap().len(), 36);
        let empty = tempfile::tempdir().unwrap();
        let error = boot_id(&DiskFiles::new(Some(empty.path().to_owned()))).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/sys/kernel/random/boot_id");
    }

    #[test]
    fn knows_for_how_long_an_ingot_has_run() {
        let age = age_of_ingot(std::process::id()).unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
        // The first process of the machine is another program.
        assert_eq!(age_of_ingot(1), None);
        assert_eq!(age_of_ingot(u32::MAX), None);
    }

    #[test]
    fn only_an_ingot_is_asked_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let comm = |process: &str| std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap();
        let namesake = directory.path().join(comm("self").trim());
        std::os::unix::fs::symlink("/bin/sleep", &namesake).unwrap();
        for (program, is_ingot) in [(Path::new("/bin/sleep"), false), (&namesake, true)] {
            let mut process = std::process::Command::new(program).arg("60").spawn().unwrap();
            // The process exists before it has its final name.
            while comm(&process.id().to_string()) == comm("thread-self") {
                std::thread::yield_now();
            }
            let ended = end_ingot(process.id());
            if ended.is_err() {
                process.kill().unwrap();
            }
            let signal = std::os::unix::process::ExitStatusExt::signal(&process.wait().unwrap());
            assert_eq!(signal == Some(libc::SIGTERM), is_ingot, "{ended:?}, {signal:?}");
            assert!(end_ingot(process.id()).is_err());
        }
    }
}
