//! Records which files of a mount are opened and read while that happens, with fanotify(7).
//!
//! The mark covers the whole filesystem, because services see their mounts in their own namespaces. A file that is
//! mapped into memory is reported as opened. Each file is reported once; after that the kernel suppresses its events.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sys::fanotify::{EventFFlags, Fanotify, FanotifyEvent, InitFlags, MarkFlags, MaskFlags};
use nix::sys::stat::{SFlag, fstat};
use tokio::io::unix::AsyncFd;

use super::error::HostError;
use super::tree::failed;
use crate::failure::Failure;

/// A recording, which continues until it is dropped.
pub(crate) struct Recording {
    group: AsyncFd<Group>,
    at: PathBuf,
    unit: Option<String>,
    seen: HashSet<PathBuf>,
    /// The number of files that were opened by a path outside the mount.
    pub(crate) elsewhere: u64,
    /// Whether the kernel had to drop events.
    pub(crate) incomplete: bool,
}

struct Group(Fanotify);

impl AsRawFd for Group {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn watched() -> MaskFlags {
    MaskFlags::FAN_OPEN | MaskFlags::FAN_ACCESS
}

impl Recording {
    /// Starts to record which files below `at` are opened, limited to the processes of `unit` if one is given.
    ///
    /// # Errors
    ///
    /// If this process lacks the permission, or the kernel lacks the feature.
    pub(crate) fn begin(at: &Path, unit: Option<String>) -> Result<Self, RecordingError> {
        let at = std::fs::canonicalize(at).map_err(|source| RecordingError::Host(failed("find", at, source)))?;
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | InitFlags::FAN_UNLIMITED_QUEUE;
        let opened = EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC | EventFFlags::O_NOATIME;
        let group = Fanotify::init(flags, opened).map_err(RecordingError::Begin)?;
        let mark = |kind| group.mark(MarkFlags::FAN_MARK_ADD | kind, watched(), nix::fcntl::AT_FDCWD, Some(&at));
        match mark(MarkFlags::FAN_MARK_FILESYSTEM) {
            // Before Linux 4.20. Processes in their own mount namespace are missed.
            Err(Errno::EINVAL) => mark(MarkFlags::FAN_MARK_MOUNT),
            marked => marked,
        }
        .map_err(RecordingError::Begin)?;
        // SAFETY: a group always returns the same descriptor, which stays open for as long as the `AsyncFd` holds it.
        let registered = unsafe { AsyncFd::register(Group(group)) };
        let group = registered.map_err(|error| RecordingError::Host(failed("watch", &at, error.into())))?;
        Ok(Self { group, at, unit, seen: HashSet::new(), elsewhere: 0, incomplete: false })
    }

    /// The files opened for the first time since the last call, relative to the mount; waits until there is one.
    pub(crate) async fn next(&mut self) -> Result<Vec<PathBuf>, HostError> {
        loop {
            let events = {
                let at = &self.at;
                let mut ready = self.group.readable().await.map_err(|source| failed("watch", at, source))?;
                match ready.try_io(|group| Ok(group.get_ref().0.read_events()?)) {
                    Ok(events) => events.map_err(|source| failed("watch", at, source))?,
                    Err(_would_block) => continue,
                }
            };
            let new: Vec<PathBuf> = events.iter().filter_map(|event| self.take(event)).collect();
            if !new.is_empty() {
                return Ok(new);
            }
        }
    }

    fn take(&mut self, event: &FanotifyEvent) -> Option<PathBuf> {
        let Some(file) = event.fd() else {
            self.incomplete = true;
            return None;
        };
        let stat = fstat(file).ok()?;
        let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
        if !is_file || stat.st_nlink == 0 || event.pid() == std::process::id().cast_signed() || !self.is_of_unit(event.pid()) {
            return None;
        }
        let path = PathBuf::from(readlink(format!("/proc/self/fd/{}", file.as_raw_fd()).as_str()).ok()?);
        let below = path.strip_prefix(&self.at).ok().map(Path::to_owned);
        let surely_once = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
        // Without this, every read of an already recorded file would be another event.
        let _ = self.group.get_ref().0.mark(surely_once, watched(), file, None::<&Path>);
        let new = self.seen.insert(below.clone().unwrap_or(path));
        if below.is_none() && new {
            self.elsewhere += 1;
        }
        below.filter(|_| new)
    }

    fn is_of_unit(&self, pid: i32) -> bool {
        let Some(unit) = &self.unit else { return true };
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
        cgroup.is_ok_and(|lines| lines.lines().any(|line| line.split('/').any(|part| part == unit)))
    }
}

/// Why opened files cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingError {
    #[error("cannot watch which files are opened")]
    Begin(#[source] Errno),
    #[error(transparent)]
    Host(HostError),
}

impl Failure for RecordingError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Begin(Errno::EPERM | Errno::EACCES) => Some("run this command as root, outside of a container".into()),
            Self::Begin(Errno::ENOSYS) => Some("record on a kernel with CONFIG_FANOTIFY=y: this one has no fanotify".into()),
            Self::Begin(Errno::EINVAL) => Some("record on Linux 4.20 or newer: the fanotify of this kernel is too old".into()),
            Self::Begin(_) => None,
            Self::Host(source) => source.hint(),
        }
    }
}
