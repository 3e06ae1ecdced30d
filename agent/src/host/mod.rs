//! The machine this process runs on: files, commands, units, users, disks, mounts, time.
//!
//! Each part is a trait with two implementations: the real one in the file of its name, and one in
//! [`fake::machine`](crate::fake::machine) that keeps a whole machine in memory, which serves `ingot dry-run` and the tests. Nothing here decides
//! anything; steps do.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

mod blocking;
pub(crate) mod clock;
pub(crate) mod commands;
pub(crate) mod disks;
pub(crate) mod environment;
pub(crate) mod files;
pub(crate) mod identity;
mod lines;
pub(crate) mod lock;
pub(crate) mod mounts;
pub(crate) mod opened;
pub(crate) mod reading;
pub(crate) mod startup;
pub(crate) mod state;
pub(crate) mod tree;
pub(crate) mod units;
pub(crate) mod unpack;
pub(crate) mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::text::SecretText;

/// Everything a step may do to, or ask of, this machine.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) files: Rc<dyn Files>,
    pub(crate) commands: Rc<dyn Commands>,
    pub(crate) units: Rc<dyn Units>,
    pub(crate) users: Rc<dyn Users>,
    pub(crate) disks: Rc<dyn disks::Disks>,
    pub(crate) mounts: Rc<dyn mounts::Mounts>,
    pub(crate) reading: Rc<dyn reading::Reading>,
    pub(crate) directories: Rc<dyn unpack::Directories>,
    pub(crate) clock: Rc<dyn Clock>,
}

impl Host {
    /// The machine we are on. With a `root`, files and users are those below it; programs, units and the network are
    /// always those of the running system.
    pub(crate) fn this_machine(root: Option<PathBuf>) -> Self {
        let commands: Rc<dyn Commands> = Rc::new(commands::ProcessCommands);
        let files: Rc<dyn Files> = Rc::new(files::DiskFiles::new(root.clone()));
        Self {
            files,
            users: Rc::new(users::EtcUsers::new(root.clone())),
            reading: Rc::new(reading::ThreadedReading::new(root.clone())),
            directories: Rc::new(unpack::DiskDirectories::new(root.clone())),
            mounts: Rc::new(mounts::KernelMounts::new(root, Rc::clone(&commands))),
            disks: Rc::new(disks::AttachedDisks::new(Rc::clone(&commands))),
            units: Rc::new(units::Systemctl::new(Rc::clone(&commands))),
            clock: Rc::new(clock::SystemClock::start()),
            commands,
        }
    }
}

/// Files and directories. Every path is absolute as the document says it; the implementation places it below `--root`.
#[async_trait(?Send)]
pub(crate) trait Files {
    /// Reads a whole file. `None` if there is none.
    ///
    /// # Errors
    ///
    /// Anything but «not found», a file larger than `limit` bytes included.
    async fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError>;

    /// Describes what is at `path`, without following a last symbolic link. `None` if there is nothing.
    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError>;

    /// Names in a directory, sorted. Empty if there is no such directory.
    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError>;

    /// Creates a directory and its missing parents, each with `mode`. Does nothing to what exists. They are on disk once
    /// something is installed in them.
    async fn create_directory(&self, path: &Path, mode: u32) -> Result<(), HostError>;

    /// Creates `staged` anew (what lay there is removed), gives it owner and mode while it is empty, writes it and
    /// brings it to disk. A failure leaves nothing behind.
    async fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError>;

    /// Renames `staged` over `path` and brings the directory to disk, and those that were created above it.
    async fn install(&self, staged: &Path, path: &Path) -> Result<(), HostError>;

    /// Sets owner and mode of an existing file.
    async fn set_attributes(&self, path: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Removes a file. Does nothing if there is none.
    async fn remove(&self, path: &Path) -> Result<(), HostError>;

    /// `path` without symbolic links, as the kernel names it in its tables. What does not exist yet is kept as it is.
    async fn resolved(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// Where `path` really lies, for a program that is given it: below `--root`, if there is one.
    fn located(&self, path: &Path) -> PathBuf;
}

/// Owner and permissions of a file. `mode` holds the twelve permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What [`Files::stat`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: FileKind,
    pub(crate) attributes: Attributes,
    pub(crate) size: u64,
    /// Changes whenever content or attributes do: inode and change time (see inode(7), st_ctim).
    pub(crate) inode: u64,
    pub(crate) changed_ns: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
    Other,
}

/// Runs programs.
#[async_trait(?Send)]
pub(crate) trait Commands {
    /// Runs a program to its end, its own process group and no input; kills the group when `timeout` has passed and
    /// whenever this future is dropped or this process dies.
    ///
    /// Each line of output (stdout and stderr, as they come, lossy UTF-8, at most [`LINE_LIMIT`] bytes each) goes
    /// to `on_line`: it may hold secrets, and redacting it is the caller's part.
    ///
    /// # Errors
    ///
    /// [`HostError::Spawn`] if it could not be started at all. A bad end is no error here: see [`End`].
    async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError>;
}

/// Takes each line of output. Has a name of its own because `async_trait` would give the line's lifetime one.
pub(crate) type OnLine<'a> = &'a mut dyn FnMut(&str);

/// The longest line of output that is kept, in bytes; the rest of a longer one is dropped.
pub(crate) const LINE_LIMIT: usize = 16 * 1024;

/// The `PATH` of programs that do not ask for another: enough for those that look up their own helpers; nothing of our
/// own environment is handed on.
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One program to run. The environment is exactly `environment`, nothing inherited.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// Program and arguments; a program without a slash is looked up in the `PATH` of `environment`.
    pub(crate) argv: Vec<SecretText>,
    pub(crate) environment: Vec<(String, SecretText)>,
    pub(crate) directory: PathBuf,
    /// `None` runs as we do.
    pub(crate) user: Option<User>,
    pub(crate) timeout: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

/// The service manager: systemd, by systemctl and journalctl.
#[async_trait(?Send)]
pub(crate) trait Units {
    /// Properties of several units in one call, in the order asked for. A unit that does not exist has `load: "not-found"`.
    async fn show(&self, units: &[String]) -> Result<Vec<Unit>, HostError>;

    /// Starts a unit and waits for the job, at most `timeout`.
    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;
    /// As [`start`](Units::start).
    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;
    /// As [`start`](Units::start).
    async fn reload(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;

    /// Makes systemd read its unit files again.
    async fn reload_definitions(&self) -> Result<(), HostError>;

    /// The last `lines` journal lines of a unit of this boot, oldest first; empty if there is no journal.
    async fn journal(&self, unit: &str, lines: usize) -> Vec<String>;

    /// The unit this process runs in, such as `ingot.service` or `cloud-final.service` (from /proc/self/cgroup).
    fn own(&self) -> Option<String>;
}

/// What systemd knows of a unit; each field as `systemctl show` names and spells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unit {
    /// Id
    pub(crate) id: String,
    /// LoadState: loaded, not-found, masked, bad-setting, error
    pub(crate) load: String,
    /// ActiveState: active, reloading, inactive, failed, activating, deactivating
    pub(crate) active: String,
    /// SubState
    pub(crate) sub: String,
    /// Result: success, exit-code, signal, timeout, start-limit-hit …
    pub(crate) result: String,
    /// NRestarts
    pub(crate) restarts: u32,
    /// Type, of a service: simple, exec, forking, oneshot, notify …; empty for other units
    pub(crate) service_type: String,
    /// After
    pub(crate) after: Vec<String>,
    /// Requires, BindsTo, Wants, Upholds: what is started with it
    pub(crate) pulls: Vec<String>,
    /// Whether a job for it is queued or running (Job is not 0)
    pub(crate) job: bool,
    /// NeedDaemonReload
    pub(crate) stale: bool,
    /// FragmentPath
    pub(crate) fragment: String,
    /// ExecMainStatus
    pub(crate) exit_status: i32,
    /// CanReload
    pub(crate) can_reload: bool,
}

/// Users and groups, from /etc/passwd and /etc/group only: a static binary must not load NSS modules.
pub(crate) trait Users {
    /// # Errors
    ///
    /// [`HostError::NoUser`] if there is none of that name or number.
    fn user(&self, name: &str) -> Result<User, HostError>;
    /// The id of a group by name or number.
    ///
    /// # Errors
    ///
    /// [`HostError::NoGroup`].
    fn group(&self, name: &str) -> Result<u32, HostError>;
    /// The user this process runs as: uid and gid.
    fn own(&self) -> (u32, u32);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    /// Supplementary groups, from /etc/group.
    pub(crate) groups: Vec<u32>,
}

/// Time. Durations come from the monotonic clock; the wall clock is only for people.
#[async_trait(?Send)]
pub(crate) trait Clock {
    fn now(&self) -> jiff::Timestamp;
    /// Since some fixed moment of this process.
    fn elapsed(&self) -> Duration;
    async fn sleep(&self, duration: Duration);
}

/// Why something on this machine could not be read or done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("cannot {operation} {}", path.display())]
    Path { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("cannot run {program}")]
    Spawn { program: String, source: io::Error },
    /// `unit` is empty for a verb that has none.
    #[error("systemctl {} failed: {said}", format!("{verb} {unit}").trim_end())]
    Systemctl { verb: &'static str, unit: String, said: String },
    #[error("systemctl {} did not end within {waited:?}", format!("{verb} {unit}").trim_end())]
    SystemctlTimeout { verb: &'static str, unit: String, waited: Duration },
    /// A program that works on a block device or a mount, such as mkfs.xfs, ended badly.
    #[error("{program} failed on {}: {said}", on.display())]
    Tool { program: String, on: PathBuf, said: String },
    /// `operation` names what and where; `filesystem` is empty where none is named; `said` is what the kernel's log has
    /// about it.
    #[error("cannot {operation}{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Mount { operation: String, filesystem: String, said: String, source: io::Error },
    /// The device is not the one that was found there a moment ago.
    #[error("{} is no longer {wanted}: it is {found} now", node.display())]
    Replaced { node: PathBuf, wanted: String, found: String },
    #[error("there is no user `{name}` in /etc/passwd")]
    NoUser { name: String },
    #[error("there is no group `{name}` in /etc/group")]
    NoGroup { name: String },
}

impl HostError {
    /// The same, of a program by the name that people may see: what was run may be made of a secret.
    pub(crate) fn of_program(self, shown: String) -> Self {
        match self {
            Self::Spawn { source, .. } => Self::Spawn { program: shown, source },
            other => other,
        }
    }
}

impl Failure for HostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Path { path, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Some("run as root, or give --root a directory of yours".into()),
                io::ErrorKind::ResourceBusy => Some(format!("see what uses {0} by `lsblk {0}`", path.display())),
                io::ErrorKind::StorageFull => Some(format!("free space on the filesystem of {}", path.display())),
                io::ErrorKind::ReadOnlyFilesystem => Some(format!("remount the filesystem of {} read-write", path.display())),
                io::ErrorKind::NotADirectory => Some(format!("a parent of {} is a file: move it away", path.display())),
                _ => None,
            },
            Self::TooLarge { path, .. } => Some(format!("move {} away if it is not what it should be", path.display())),
            Self::Spawn { program, source } => match source.kind() {
                io::ErrorKind::NotFound => Some(match disks::package(program) {
                    Some(package) => format!("install {package} in the image: {program} is part of it"),
                    None => format!("install {program} in the image, or give its full path"),
                }),
                io::ErrorKind::PermissionDenied => Some(format!("make {program} executable for the user it runs as")),
                _ => None,
            },
            Self::Systemctl { unit, .. } | Self::SystemctlTimeout { unit, .. } if unit.is_empty() => {
                Some("run `systemctl status` and `journalctl -b -p err`".into())
            }
            Self::Systemctl { unit, .. } | Self::SystemctlTimeout { unit, .. } => Some(format!("run `systemctl status {unit}`")),
            Self::Tool { program, on, .. } => Some(format!("run `{program}` on {} by hand to see what it says", on.display())),
            Self::Mount { filesystem, source, .. } => Some(mounts::advice(source, filesystem)),
            Self::Replaced { .. } => Some("boot again: disks were attached or detached meanwhile".into()),
            Self::NoUser { name } => Some(format!("create the user {name} in the image: `useradd --system {name}`")),
            Self::NoGroup { name } => Some(format!("create the group {name} in the image: `groupadd --system {name}`")),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Path { source, .. } | Self::Spawn { source, .. } if source.kind() == io::ErrorKind::Interrupted)
            || matches!(self, Self::Replaced { .. })
    }
}
