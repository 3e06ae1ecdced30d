//! File operations as system calls, below a root or not: on one thread, waiting only for the disk.
//!
//! Every operation first opens the directory and then works relative to that descriptor. With a root, paths are
//! resolved by openat2(2) with `RESOLVE_IN_ROOT` (Linux 5.6): `..` and symbolic links, including absolute ones, stay
//! below the root, as in a chroot. Without a root, nothing newer than Linux 2.6.39 is needed. Changes do not follow
//! symbolic links that other users may have created: [`way`]. Used by [`files`](super::files);
//! [`scrub`](crate::image::scrub) resolves paths on its own.

pub(super) mod marks;
mod owned;
mod portable;
mod way;

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, renameat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, unlinkat};
use zeroize::Zeroizing;

use self::portable::content;
pub(super) use self::portable::{Growth, Tree};
pub(crate) use self::portable::{failed, found, outlives_the_boot};
use self::way::Foreign;
use super::attributes::{Attributes, FileKind, Stat};
use super::error::HostError;
use super::wanted::still_wanted;

use crate::sorting::Sort as _;

impl Tree {
    /// `path` without symbolic links, as far as it exists.
    pub(crate) fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolved_by(path, &|known| self.open(known, OFlag::O_PATH | OFlag::O_CLOEXEC, 0))
    }

    /// The same for a mount point: [`way`] determines which links are not followed.
    pub(crate) fn mount_point(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolved_by(path, &|known| self.open_to_change(known))
    }

    fn resolved_by(&self, path: &Path, open: &dyn Fn(&Path) -> io::Result<OwnedFd>) -> io::Result<PathBuf> {
        let root = match self.root.as_ref().map(fs::canonicalize).map(found).transpose()? {
            Some(None) => return Ok(path.to_owned()),
            root => root.flatten(),
        };
        for known in path.ancestors() {
            let Some(opened) = found(open(known))? else { continue };
            let real = fs::read_link(through(&opened))?;
            let below = root.as_ref().map_or(Ok(real.as_path()), |root| real.strip_prefix(root)).unwrap_or(Path::new(""));
            let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
            // Component by component, because joining an empty path would add a slash.
            return Ok(Path::new("/").components().chain(below.components()).chain(rest.components()).collect());
        }
        Ok(path.to_owned())
    }

    /// Opens a file or a directory, unless the operation is no longer wanted: opening is where a filesystem hangs.
    pub(crate) fn open(&self, path: &Path, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let mode = Mode::from_bits_truncate(mode);
        let opened = match &self.root {
            None => open(path, flags, mode)?,
            Some(root) => {
                let root = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
                // openat2 refuses a mode if nothing can be created.
                let mode = if flags.contains(OFlag::O_CREAT) { mode } else { Mode::empty() };
                openat2(&root, path, OpenHow::new().flags(flags).mode(mode).resolve(ResolveFlag::RESOLVE_IN_ROOT))?
            }
        };
        still_wanted()?;
        Ok(opened)
    }

    /// The directory that contains `path`, and the name in it.
    pub(crate) fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, 0)?, name.to_owned()))
    }

    /// The same for a change: [`way`] determines which links are not followed.
    pub(crate) fn parent_to_change(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        Ok((self.directory_to_change(path.parent().unwrap_or(Path::new("/")))?, name.to_owned()))
    }

    /// Opens the directory at `path`, for changes in it.
    pub(crate) fn directory_to_change(&self, path: &Path) -> io::Result<OwnedFd> {
        let opened = way::open_way(self.root.as_deref(), path, OFlag::O_DIRECTORY, Foreign::ToTheirOwn)?;
        still_wanted()?;
        let is_directory = SFlag::from_bits_truncate(fstat(&opened)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        if is_directory { Ok(opened) } else { Err(Errno::ENOTDIR.into()) }
    }

    /// Opens `path` as [`way`] resolves it, to mount or unmount something there. The descriptor is an `O_PATH` one.
    pub(crate) fn open_to_change(&self, path: &Path) -> io::Result<OwnedFd> {
        let opened = way::open_way(self.root.as_deref(), path, OFlag::empty(), Foreign::None)?;
        still_wanted()?;
        Ok(opened)
    }

    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        let failed = |source| failed("read", path, source);
        // Non-blocking: opening a FIFO must not wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let Some(fd) = found(self.open(path, flags, 0)).map_err(failed)? else { return Ok(None) };
        content(File::from(fd), path, limit).map(Some)
    }

    pub(crate) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let stat = if path.file_name().is_none() {
            fstat(self.open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, 0)?)?
        } else {
            let (parent, name) = self.parent(path)?;
            fstatat(&parent, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?
        };
        Ok(described(&stat))
    }

    pub(crate) fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Some(fd) = found(self.open(directory, flags, 0))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in fs::read_dir(through(&fd))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.order();
        Ok(names)
    }

    /// Creates a directory and its missing parents. `grown` is called before and after a directory gets a new entry:
    /// the new entries are not on disk yet.
    pub(crate) fn create_directory(
        &self,
        path: &Path,
        mode: u32,
        owner: Option<(u32, u32)>,
        grown: &mut dyn FnMut(&Path, Growth),
    ) -> io::Result<()> {
        if let Some(root) = &self.root {
            fs::create_dir_all(root)?;
        }
        let is_there = |part: &Path| self.directory_to_change(part).map(drop);
        let mut parts: Vec<&Path> = path.ancestors().filter(|part| part.file_name().is_some()).collect();
        parts.reverse();
        for part in parts {
            if found(is_there(part))?.is_some() {
                continue;
            }
            let (parent, name) = self.parent_to_change(part)?;
            let mut grown = |growth| {
                if let Some(parent) = part.parent()
                    && outlives_the_boot(part)
                {
                    grown(parent, growth);
                }
            };
            grown(Growth::Begins);
            // The mode is set at creation, except for bits that the umask removes: modes of existing directories are
            // never repaired, and the power may fail before the next call.
            let made = match owner {
                None => mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(mode)),
                Some(owner) => owned::make(&parent, &name, Mode::from_bits_truncate(mode), owner),
            };
            grown(if made.is_ok() { Growth::Created } else { Growth::Failed });
            match made {
                // That directory has its mode already, and its owner may have replaced it by now.
                Ok(()) if owner.is_some() => {}
                Ok(()) => {
                    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                    let made = openat(&parent, name.as_os_str(), flags, Mode::empty())?;
                    fchmod(&made, Mode::from_bits_truncate(mode))?;
                }
                // Another process has created it in the meantime. Fails if it is something else, including a dangling
                // link.
                Err(Errno::EEXIST) => is_there(part)?,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError> {
        let failed = |source| failed("write", staged, source);
        let (parent, name) = self.parent_to_change(staged).map_err(failed)?;
        found(remove(&parent, &name)).and_then(|_| still_wanted()).map_err(failed)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&parent, name.as_os_str(), flags, Mode::from_bits_truncate(0o600)).map_err(|e| failed(e.into()))?;
        let written = still_wanted().and_then(|()| filled(File::from(fd), content, attributes));
        let written = written.and_then(|file| if outlives_the_boot(staged) { file.sync_all() } else { Ok(()) });
        written.map_err(|error| {
            // The first error is the one to report.
            let _ = remove(&parent, &name);
            failed(error)
        })
    }

    /// Syncs the entries of directories to disk, not the content of files.
    pub(crate) fn sync(&self, directory: &Path) -> io::Result<()> {
        to_disk(&self.open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, 0)?)
    }

    pub(crate) fn install(&self, staged: &Path, path: &Path) -> io::Result<()> {
        let (from, staged_name) = self.parent_to_change(staged)?;
        let (to, name) = self.parent_to_change(path)?;
        renameat(&from, staged_name.as_os_str(), &to, name.as_os_str())?;
        if !outlives_the_boot(path) {
            return Ok(());
        }
        to_disk(&to)?;
        if staged.parent() != path.parent() {
            to_disk(&from)?;
        }
        Ok(())
    }

    /// Exchanges two paths atomically. Available since Linux 3.17 (renameat2(2)).
    pub(crate) fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let ((one, one_name), (other, other_name)) = (self.parent_to_change(one)?, self.parent_to_change(other)?);
        let (one_name, other_name) = (CString::new(one_name.as_bytes())?, CString::new(other_name.as_bytes())?);
        // SAFETY: both descriptors are open and both names are NUL-terminated for the duration of the call. nix has no
        // `renameat2` for musl.
        let done = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                one.as_raw_fd(),
                one_name.as_ptr(),
                other.as_raw_fd(),
                other_name.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        Ok(Errno::result(done).map(drop)?)
    }

    pub(crate) fn set_attributes(&self, path: &Path, attributes: Attributes) -> io::Result<()> {
        let (parent, name) = self.parent_to_change(path)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&parent, name.as_os_str(), flags, Mode::empty())?;
        let now = described(&fstat(&fd)?);
        if now.kind == FileKind::Symlink {
            return Err(Errno::ELOOP.into());
        }
        let owner_differs = (now.attributes.uid, now.attributes.gid) != (attributes.uid, attributes.gid);
        if owner_differs {
            let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
            fchownat(&fd, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)?;
        }
        // chown(2) clears setuid bits, hence this order.
        if owner_differs || now.attributes.mode != attributes.mode {
            fs::set_permissions(through(&fd), fs::Permissions::from_mode(attributes.mode))?;
        }
        Ok(())
    }

    pub(crate) fn unlink(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_to_change(path)?;
        remove(&parent, &name)
    }
}

/// Sets owner and mode of a new, empty file before anyone else can open it, then writes it. The caller decides whether
/// it has to be synced.
pub(crate) fn filled(mut file: File, content: &[u8], attributes: Attributes) -> io::Result<File> {
    let made = described(&fstat(&file)?).attributes;
    if (made.uid, made.gid) != (attributes.uid, attributes.gid) {
        fchown(&file, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    }
    // After chown(2), which clears setuid bits, and exactly, whatever the umask.
    fchmod(&file, Mode::from_bits_truncate(attributes.mode))?;
    file.write_all(content)?;
    if attributes.mode & 0o7000 != 0 {
        // write(2) clears them too, except for root.
        fchmod(&file, Mode::from_bits_truncate(attributes.mode))?;
    }
    Ok(file)
}

fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    Ok(unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Syncs a directory. An `O_PATH` descriptor cannot be synced, so the directory is opened again.
pub(crate) fn to_disk(directory: &OwnedFd) -> io::Result<()> {
    let fd = openat(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    match File::from(fd).sync_all() {
        // Some network and virtual filesystems cannot sync directories.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

pub(crate) fn described(stat: &FileStat) -> Stat {
    let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => FileKind::File,
        SFlag::S_IFDIR => FileKind::Directory,
        SFlag::S_IFLNK => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Stat {
        kind,
        attributes: Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        inode: stat.st_ino,
        changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
    }
}

/// A path by which other calls can refer to an open descriptor.
pub(crate) fn through(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}
