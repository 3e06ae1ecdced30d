//! One at a time: a lock that is a file below `/run/ingot`, such as [`BOOT`].
//!
//! An open-file-description lock (fcntl(2), `F_OFD_SETLK`) and not flock(2), because it can be asked after without
//! being taken: `ingot status` does that, as any user, on a file of mode 0644. The kernel releases it when the holder
//! dies, however it dies. The holder's process id is the file's content, for people.

use std::any::Any;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use super::error::HostError;
use super::files::{DiskFiles, Now};
use super::tree::failed;
use crate::failure::Failure;

/// Whoever holds it makes the boot of this machine.
pub(crate) const BOOT: &str = "/run/ingot/lock";

/// The lock, held until this is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file is what releases the lock")] File);

/// Who holds the lock. Its process id is unknown for the moment in which it is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
}

impl Lock {
    /// Takes the lock, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process has it.
    pub(crate) async fn take(path: &Path, files: &DiskFiles) -> Result<Self, LockError> {
        let taken = files.now("lock", path, |files, path| Ok(Self::take_now(path, files))).await;
        taken.unwrap_or_else(|source| Err(LockError::Open { path: path.to_owned(), source }))
    }

    fn take_now(path: &Path, files: &Now) -> Result<Self, LockError> {
        let refused = |source| LockError::Open { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            files.create_directory_now(directory, 0o755).map_err(refused)?;
        }
        let opened = files.open_now(path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW, 0o644).map_err(refused)?;
        let mut file = opened.ok_or_else(|| refused(failed("open", path, io::ErrorKind::NotFound.into())))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => return Err(LockError::Held { pid: pid_in(&mut file) }),
            Err(other) => return Err(refused(failed("lock", path, other.into()))),
        }
        note(&mut file).map_err(|source| refused(failed("write", path, source)))?;
        Ok(Self(file))
    }
}

/// Who holds the lock now; `None` if nobody does. Does not take it.
pub(crate) async fn holder(path: &Path, files: &DiskFiles) -> Result<Option<Holder>, HostError> {
    files.now("look at", path, |files, path| holder_now(path, files)).await
}

fn holder_now(path: &Path, files: &Now) -> Result<Option<Holder>, HostError> {
    let Some(mut file) = files.open_now(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW, 0)? else { return Ok(None) };
    let mut answer = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut answer)).map_err(|errno| failed("look at the lock", path, errno.into()))?;
    let held = i32::from(answer.l_type) != libc::F_UNLCK;
    Ok(held.then(|| Holder { pid: pid_in(&mut file) }))
}

/// The lock of the boot, of this machine or of a machine in memory.
#[async_trait(?Send)]
pub(crate) trait BootLock {
    /// Takes the lock without waiting. It is held until the returned value is dropped, or the process dies.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process has it.
    async fn take(&self) -> Result<Box<dyn Any>, LockError>;

    /// Whether no process is known to hold it.
    async fn is_free(&self) -> bool;
}

/// The lock [`BOOT`], below the root of `files`.
pub(crate) struct LockFile(DiskFiles);

impl LockFile {
    pub(crate) fn new(files: DiskFiles) -> Self {
        Self(files)
    }
}

#[async_trait(?Send)]
impl BootLock for LockFile {
    async fn take(&self) -> Result<Box<dyn Any>, LockError> {
        Ok(Box::new(Lock::take(Path::new(BOOT), &self.0).await?))
    }

    async fn is_free(&self) -> bool {
        holder(Path::new(BOOT), &self.0).await.is_ok_and(|holder| holder.is_none())
    }
}

fn note(file: &mut File) -> io::Result<()> {
    // The umask may have made it unreadable, and `status` is for everyone.
    nix::sys::stat::fchmod(&*file, nix::sys::stat::Mode::from_bits_truncate(0o644))?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A write lock on the whole file. Such locks belong to no process, so `l_pid` has to be 0.
fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another ingot is at work{}", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Held { pid: Option<u32> },
    #[error("cannot take the lock {}", path.display())]
    Open { path: PathBuf, source: HostError },
}

impl Failure for LockError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("run `ingot status --wait` to wait for it".into()),
            Self::Open { source, .. } => source.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_held_by_one_and_seen_by_all() {
        let (path, directory) = (Path::new(BOOT), tempfile::tempdir().unwrap());
        let files = DiskFiles::new(Some(directory.path().to_owned()));
        assert_eq!(holder(path, &files).await.unwrap(), None);

        let lock = Lock::take(path, &files).await.unwrap();
        let me = Some(std::process::id());
        assert_eq!(holder(path, &files).await.unwrap(), Some(Holder { pid: me }));
        assert!(matches!(Lock::take(path, &files).await, Err(LockError::Held { pid }) if pid == me));
        // Having asked must not have released it: POSIX locks would be gone now.
        assert_eq!(holder(path, &files).await.unwrap(), Some(Holder { pid: me }));

        drop(lock);
        assert_eq!(holder(path, &files).await.unwrap(), None);
        drop(Lock::take(path, &files).await.unwrap());
    }

    #[test]
    fn says_who_is_at_work() {
        let error = LockError::Held { pid: Some(7) };
        let explained = crate::failure::Explanation::of(&error).to_string();
        assert_eq!(explained, "another ingot is at work (process 7)\nhint: run `ingot status --wait` to wait for it");
    }
}
