//! Creates files, directories and links below one directory, and nowhere else.
//!
//! Every path is opened by openat2(2) with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS` (Linux 5.6) relative to the
//! descriptor of that directory: whatever names an archive contains, and whatever links it has created before, the
//! kernel does not leave the directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, fstatat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

use super::entry;
use super::error::UnpackError;
use super::links::Links;
use super::sink::{CHUNK, Op};
use crate::host::tree::failed;

pub(super) struct Writer {
    root: OwnedFd,
    /// The path of `root`, for messages.
    at: PathBuf,
    /// The owner of what is created, if it is not this process's user.
    owner: Option<(Uid, Gid)>,
    /// The directory of the last entry, which usually contains the next one as well.
    last: Option<(PathBuf, OwnedFd)>,
    file: Option<(PathBuf, File, Option<TimeSpec>)>,
    /// Which links may point outside.
    links: Links,
}

impl Writer {
    pub(super) fn new(root: OwnedFd, at: PathBuf, owner: Option<(u32, u32)>, links: Links) -> Self {
        let owner = owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
        Self { root, at, owner, last: None, file: None, links }
    }

    /// Executes all operations, and returns itself at the end; buffers are returned through `spare`.
    pub(super) fn run(mut self, ops: &Receiver<Op>, spare: &Sender<Vec<u8>>) -> Result<Self, UnpackError> {
        for op in ops {
            match op {
                Op::Directory { path, mode } => self.directory(&path, mode).map_err(|error| self.trouble(&path, error))?,
                Op::File { path, mode, modified, chunk, length, is_last } => {
                    let file = self.create(&path, mode).map_err(|error| self.trouble(&path, error))?;
                    self.file = Some((path, file, modified));
                    self.write(chunk, length, is_last, spare)?;
                }
                Op::More { chunk, length, is_last } => self.write(chunk, length, is_last, spare)?,
                Op::Symlink { path, target } => self.symlink(&path, &target).map_err(|error| self.trouble(&path, error))?,
                Op::HardLink { path, to } => {
                    if let Some(target) = self.hard_link(&path, &to).map_err(|error| self.trouble(&path, error))? {
                        // Relative to its new directory, the link may have another target than where it was checked.
                        self.links.judge(path.as_os_str().as_bytes(), &path, &target)?;
                    }
                }
            }
        }
        Ok(self)
    }

    /// Creates the links that the document names, unless the archive contains them.
    pub(super) fn make_links(&mut self) -> Result<(), UnpackError> {
        let named: Vec<(PathBuf, PathBuf)> = self.links.named().map(|(path, to)| (path.to_owned(), to.to_owned())).collect();
        for (path, to) in named {
            if let Some(what) = self.make_link(&path, &to).map_err(|error| self.trouble(&path, error))? {
                let why = format!("{what} in place of the link to {} that `links` of the bundle requires", to.display());
                return Err(UnpackError::Refused { name: entry::shown(path.as_os_str().as_bytes()), why });
            }
        }
        Ok(())
    }

    /// Creates a link, replacing an empty directory. If something else is in its place, returns what it is.
    fn make_link(&mut self, path: &Path, to: &Path) -> io::Result<Option<&'static str>> {
        let (parent, name) = self.parent(path)?;
        let found = match fstatat(parent, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => None,
            found => Some(SFlag::from_bits_truncate(found?.st_mode) & SFlag::S_IFMT),
        };
        match found {
            None => {}
            Some(SFlag::S_IFLNK) => {
                let target = readlinkat(parent, name.as_os_str())?;
                let is_allowed = self.links.allow(path, target.as_bytes());
                return Ok((!is_allowed).then_some("a link to something else"));
            }
            Some(SFlag::S_IFDIR) => match unlinkat(parent, name.as_os_str(), UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => return Ok(Some("a directory that is not empty,")),
                removed => removed?,
            },
            Some(_) => return Ok(Some("a file")),
        }
        self.last = None;
        self.symlink(path, to.as_os_str().as_bytes()).map(|()| None)
    }

    fn write(&mut self, chunk: Vec<u8>, length: usize, is_last: bool, spare: &Sender<Vec<u8>>) -> Result<(), UnpackError> {
        let Some((path, file, modified)) = &mut self.file else { return Ok(()) };
        let written = file.write_all(&chunk[..length]).and_then(|()| match modified {
            Some(time) if is_last => Ok(futimens(&*file, time, time)?),
            _ => Ok(()),
        });
        if let Err(error) = written {
            let path = path.clone();
            return Err(self.trouble(&path, error));
        }
        if is_last {
            self.file = None;
        }
        if chunk.len() == CHUNK {
            // The receiver may be gone.
            let _ = spare.send(chunk);
        }
        Ok(())
    }

    fn create(&mut self, path: &Path, mode: u32) -> io::Result<File> {
        let owner = self.owner;
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(parent, name.as_os_str(), flags, Mode::from_bits_truncate(0o600));
        let fd = match open() {
            // As in tar: of two entries with the same name, the last one wins.
            Err(Errno::EEXIST) => {
                unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
                open()?
            }
            opened => opened?,
        };
        if let Some((uid, gid)) = owner {
            fchown(&fd, Some(uid), Some(gid))?;
        }
        fchmod(&fd, Mode::from_bits_truncate(mode))?;
        Ok(File::from(fd))
    }

    fn directory(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let owner = self.owner;
        let (parent, name) = self.parent(path)?;
        make_directory(parent, &name, mode, owner)
    }

    fn symlink(&mut self, path: &Path, target: &[u8]) -> io::Result<()> {
        let owner = self.owner;
        let (parent, name) = self.parent(path)?;
        let make = || symlinkat(OsStr::from_bytes(target), parent, name.as_os_str());
        match make() {
            Err(Errno::EEXIST) => {
                unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
                make()?;
            }
            made => made?,
        }
        if let Some((uid, gid)) = owner {
            fchownat(parent, name.as_os_str(), Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Creates a hard link to a file or to a symbolic link. Returns the target if it is a symbolic link.
    fn hard_link(&mut self, path: &Path, to: &Path) -> io::Result<Option<Vec<u8>>> {
        let (from, from_name) = match to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => (self.open(parent)?, to.file_name().unwrap_or_default()),
            None => (self.root.try_clone()?, to.file_name().unwrap_or_default()),
        };
        let found = fstatat(&from, from_name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if path == to {
            return Ok(None);
        }
        let target = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => Some(readlinkat(&from, from_name)?.into_vec()),
            SFlag::S_IFDIR => return Err(Errno::EISDIR.into()),
            _ => None,
        };
        let (parent, name) = self.parent(path)?;
        // Without a flag, a symbolic link itself is linked, not its target.
        let link = || linkat(&from, from_name, parent, name.as_os_str(), AtFlags::empty());
        match link() {
            Err(Errno::EEXIST) => {
                unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
                link()?;
            }
            linked => linked?,
        }
        Ok(target)
    }

    /// The directory of an entry, created if the archive has no entry for it, and the entry's name in it.
    fn parent(&mut self, path: &Path) -> io::Result<(&OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok((&self.root, name)) };
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let opened = match self.open(parent) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make_all(parent)?;
                    self.open(parent)?
                }
                opened => opened?,
            };
            self.last = Some((parent.to_owned(), opened));
        }
        Ok((self.last.as_ref().map_or(&self.root, |(_, opened)| opened), name))
    }

    fn make_all(&self, directory: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = directory.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        missing.reverse();
        for part in missing {
            let name = part.file_name().unwrap_or_default();
            let parent = match part.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                Some(parent) => self.open(parent)?,
                None => self.root.try_clone()?,
            };
            match self.open(part) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_directory(&parent, name, 0o755, self.owner)?,
                opened => drop(opened?),
            }
        }
        Ok(())
    }

    fn open(&self, directory: &Path) -> io::Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        loop {
            match openat2(&self.root, directory, OpenHow::new().flags(flags).resolve(resolve)) {
                // A rename somewhere on the system interrupted the resolution; try again.
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                opened => return Ok(opened?),
            }
        }
    }

    fn trouble(&self, path: &Path, error: io::Error) -> UnpackError {
        let name = || entry::shown(path.as_os_str().as_bytes());
        let refused = |why: &str| UnpackError::Refused { name: name(), why: why.into() };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => UnpackError::NoSpace { name: name(), at: self.at.clone() },
            Some(Errno::ELOOP | Errno::EXDEV) => refused("whose path goes through a link"),
            Some(Errno::ENOTDIR) => refused("which is below something that is not a directory"),
            Some(Errno::EISDIR | Errno::EEXIST) => refused("which is both a directory and something else"),
            Some(Errno::ENOENT) => refused("a link to a missing file"),
            _ => UnpackError::Host(failed("write", &self.at.join(path), error)),
        }
    }
}

fn make_directory(parent: &OwnedFd, name: &OsStr, mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o700)) {
        Err(Errno::EEXIST) => {
            let found = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
                return Err(Errno::EEXIST.into());
            }
        }
        made => made?,
    }
    if let Some((uid, gid)) = owner {
        fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    // No other process can reach this directory yet, so what was just checked is still there.
    Ok(fchmodat(parent, name, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)?)
}
