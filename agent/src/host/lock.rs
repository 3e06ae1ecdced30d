//! Mutual exclusion between processes: a lock is a file below `/run/ingot`, such as [`BOOT`].
//!
//! The lock is an open-file-description lock (fcntl(2), `F_OFD_SETLK`) rather than flock(2), because its state can be
//! queried without taking it. The kernel releases it when the holder dies, however it dies. The file contains the
//! holder's process id, for people.
//!
//! Every user who can open the file can hold the lock and so prevent this machine from ever booting. It therefore has
//! mode 0600, in a directory that only its owner can write to. A file with other permissions is replaced, because
//! another user may have it open. Other users learn from the kernel's own list whether the lock is held (`/proc/locks`,
//! see proc_locks(5)).

mod words;

use std::any::Any;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};
use nix::unistd::{fchown, geteuid};

use super::environment::end_ingot;
use super::error::HostError;
use super::files::{DiskFiles, Now};
use super::tree::failed;

pub(crate) use self::words::{BOOT, BootLock, Holder, LockError};

/// How often a lock file may be replaced during one attempt to take the lock.
const REPLACED: u32 = 8;

/// The mode bits that let users other than the owner change a directory.
const OTHERS_WRITE: u32 = 0o022;

/// Errors of opening something that is not a file of this process's user.
const NO_FILE_OF_OURS: [Errno; 3] = [Errno::ELOOP, Errno::EACCES, Errno::ENXIO];

/// A lock, held until this is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file is what releases the lock")] File);

impl Lock {
    /// Takes the lock, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process holds it.
    pub(crate) async fn take(path: &Path, files: &DiskFiles) -> Result<Self, LockError> {
        let taken = files.now("lock", path, |files, path| Ok(Self::take_now(path, files))).await;
        taken.unwrap_or_else(|source| Err(LockError::Open { path: path.to_owned(), source }))
    }

    fn take_now(path: &Path, files: &Now) -> Result<Self, LockError> {
        let refused = |source| LockError::Open { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            files.create_directory_now(directory, 0o755).map_err(refused)?;
            close_to_others(directory, files).map_err(refused)?;
        }
        for _ in 0..REPLACED {
            let opened = open_own(path, files).map_err(refused)?;
            let Some(mut file) = opened.map_or_else(|| replace(path, files), |file| Ok(Some(file))).map_err(refused)? else { continue };
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(LockError::Held { pid: pid_in(&mut file) }),
                Err(other) => return Err(refused(failed("lock", path, other.into()))),
            }
            // Another process may have replaced the file in the meantime and hold the lock on the new one.
            if is_at(&file, path, files).map_err(refused)? {
                note(&mut file).map_err(|source| refused(failed("write", path, source)))?;
                return Ok(Self(file));
            }
        }
        Err(refused(failed("lock", path, io::Error::other("it keeps being replaced"))))
    }
}

/// Makes directories writable only for this process's user.
fn close_to_others(directory: &Path, files: &Now) -> Result<(), HostError> {
    let failed = |source: Errno| failed("set owner and mode of", directory, source.into());
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let Some(opened) = files.open_now(directory, flags, 0)? else { return Ok(()) };
    let found = fstat(&opened).map_err(failed)?;
    if found.st_uid != geteuid().as_raw() {
        fchown(&opened, Some(geteuid()), None).map_err(failed)?;
    }
    if found.st_mode & OTHERS_WRITE != 0 {
        fchmod(&opened, Mode::from_bits_truncate(found.st_mode & !OTHERS_WRITE)).map_err(failed)?;
    }
    Ok(())
}

/// Opens a lock file, creating it if necessary. `None` if the existing file could be opened by other users.
fn open_own(path: &Path, files: &Now) -> Result<Option<File>, HostError> {
    match files.open_now(path, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK, 0o600) {
        Ok(opened) => Ok(opened.filter(|file| fstat(file).is_ok_and(|stat| is_private(&stat)))),
        // A symbolic link, a file of another user, or a socket.
        Err(HostError::Path { source, .. })
            if source.raw_os_error().is_some_and(|errno| NO_FILE_OF_OURS.contains(&Errno::from_raw(errno))) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Replaces a lock file that other users could open by a new one that is already locked. `None` if that file is gone,
/// because another process has replaced it.
///
/// The replaced file is checked only after the exchange, and put back if it is another process's valid lock. If it were
/// checked before, another process could put its lock there between check and exchange, and both processes would hold a
/// lock.
fn replace(path: &Path, files: &Now) -> Result<Option<File>, HostError> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    files.remove_now(&new)?;
    let created = files.open_now(&new, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW, 0o600)?;
    let file = created.ok_or_else(|| failed("create", &new, io::ErrorKind::NotFound.into()))?;
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())).map_err(|errno| failed("lock", &new, errno.into()))?;
    let exchanged = files.exchange_now(&new, path);
    let is_taken = match exchanged {
        Ok(true) => {
            let before = files.open_now(&new, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
            let is_lock = before.is_some_and(|before| fstat(&before).is_ok_and(|stat| is_private(&stat)));
            !(is_lock && files.exchange_now(&new, path)?)
        }
        Ok(false) | Err(_) => false,
    };
    files.remove_now(&new)?;
    exchanged?;
    if is_taken {
        log::warn!("replaced {}, because other users could open it", path.display());
    }
    Ok(is_taken.then_some(file))
}

fn is_private(stat: &FileStat) -> bool {
    let is_file = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    is_file && stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0 && stat.st_nlink <= 1
}

/// Whether `path` still refers to this file.
fn is_at(file: &File, path: &Path, files: &Now) -> Result<bool, HostError> {
    let identity = |file: &File| fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let found = files.open_now(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)?;
    Ok(found.is_some_and(|found| identity(&found) == identity(file)))
}

/// The current holder of the lock; `None` if it is free. Does not take the lock.
pub(crate) async fn holder(path: &Path, files: &DiskFiles) -> Result<Option<Holder>, HostError> {
    files.now("inspect", path, |files, path| holder_now(path, files)).await
}

fn holder_now(path: &Path, files: &Now) -> Result<Option<Holder>, HostError> {
    // Non-blocking: if there is a FIFO in its place, opening must not wait for a writer.
    let mut file = match files.open_now(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK, 0) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        Err(HostError::Path { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => return holder_by_kernel(path, files),
        Err(error) => return Err(error),
    };
    let mut answer = whole_file();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut answer)).map_err(|errno| failed("inspect the lock", path, errno.into()))?;
    let held = i32::from(answer.l_type) != libc::F_UNLCK;
    Ok(held.then(|| Holder { pid: pid_in(&mut file) }))
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

    async fn end(&self, pid: u32) -> io::Result<()> {
        end_ingot(pid)
    }
}

/// The same for a process that may not open the file: the kernel lists every lock, but not its holder.
fn holder_by_kernel(path: &Path, files: &Now) -> Result<Option<Holder>, HostError> {
    let Some(file) = files.open_now(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, 0)? else { return Ok(None) };
    let stat = fstat(&file).map_err(|errno| failed("inspect the lock", path, errno.into()))?;
    let list = Path::new("/proc/locks");
    let locks = std::fs::read_to_string(list).map_err(|source| failed("read", list, source))?;
    Ok(is_listed(&locks, &stat).then_some(Holder { pid: None }))
}

/// Whether the list contains a line for this file such as `3: OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 EOF`. Lines of
/// locks that are only waited for have an arrow after the number.
fn is_listed(locks: &str, file: &FileStat) -> bool {
    let (major, minor) = (nix::sys::stat::major(file.st_dev), nix::sys::stat::minor(file.st_dev));
    let ours = format!("{major:02x}:{minor:02x}:{}", file.st_ino);
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("OFDLCK") && words.nth(1) == Some("WRITE") && words.nth(1) == Some(&ours)
    })
}

fn note(file: &mut File) -> io::Result<()> {
    // The umask may have removed more bits.
    fchmod(&*file, Mode::from_bits_truncate(0o600))?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A write lock on the whole file. OFD locks do not belong to a process, so `l_pid` has to be 0.
fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests;
