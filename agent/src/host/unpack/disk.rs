//! [`Directories`] on the real disk.
//!
//! Two threads work on an archive: one decompresses, one writes. The data in transit between the network and these
//! threads is limited to about 4 MiB in all, plus the window of the decompressor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, syncfs, unlinkat};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

use super::error::{UnpackError, damaged};
use super::feed::{Fed, Feed, feed};
use super::limit::Limit;
use super::read;
use super::sink::Sink;
use super::write::Writer;
use super::{Directories, Form, Links, Unpack, Unpacked, Unpacking};
use crate::host::attributes::{Attributes, FileKind};
use crate::host::blocking;
use crate::host::error::HostError;
use crate::host::tree::{Tree, described, failed, found, through, to_disk};
use crate::host::wanted::still_wanted;

/// How many items may wait to be written: chunks of large files, or small files.
const WAITING: usize = 16;

/// The directories of this machine, or of the tree below `root`.
#[derive(Debug, Default)]
pub(crate) struct DiskDirectories {
    tree: Tree,
    /// One lock for each directory being created: the threads of a dropped operation keep running for a moment, and the
    /// next operation waits for them instead of writing at the same time.
    making: RefCell<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl DiskDirectories {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { tree: Tree { root }, making: RefCell::default() }
    }

    async fn turn(&self, path: &Path) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut making = self.making.borrow_mut();
            making.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(making.entry(path.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&Tree, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        let (tree, owned) = (self.tree.clone(), path.to_owned());
        blocking::work(operation, path, move || work(&tree, &owned).map_err(|source| failed(operation, &owned, source))).await
    }
}

#[async_trait(?Send)]
impl Directories for DiskDirectories {
    async fn unpack(&self, wanted: Unpacking) -> Result<Box<dyn Unpack>, UnpackError> {
        let turn = self.turn(&wanted.into).await;
        let made = self.on_disk("create directory", &wanted.into, |tree, into| {
            remove(tree, into)?;
            let (parent, name) = tree.parent_to_change(into)?;
            mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(0o700))?;
            Ok(openat(
                &parent,
                name.as_os_str(),
                OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?)
        });
        let directory = made.await.map_err(UnpackError::Host)?;
        let (send, feed) = feed();
        let at = wanted.into.clone();
        let into = wanted.into.clone();
        let work = tokio::spawn(async move {
            let work = move || {
                let _turn = turn;
                Ok(unpack(&directory, feed, &wanted))
            };
            blocking::work("unpack into", &into, work).await.unwrap_or_else(|lost| Err(UnpackError::Host(lost)))
        });
        Ok(Box::new(Unpacker { send: Some(send), work, at }))
    }

    async fn put(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        let from = from.to_owned();
        self.on_disk("replace", to, move |tree, to| put(tree, &from, to)).await
    }

    async fn hand_over(&self, directory: &Path, attributes: Attributes) -> Result<(), HostError> {
        self.on_disk("set owner and mode of", directory, move |tree, directory| {
            let (parent, name) = tree.parent_to_change(directory)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let opened = openat(&parent, name.as_os_str(), flags, Mode::empty())?;
            hand_over(&opened, attributes)?;
            // Last: nothing below is accessible to the new owner before the directory itself is.
            finish(&opened, attributes)?;
            Ok(syncfs(&opened)?)
        })
        .await
    }

    async fn remove(&self, directory: &Path) -> Result<(), HostError> {
        let _turn = self.turn(directory).await;
        self.on_disk("remove", directory, remove).await
    }

    async fn link(&self, at: &Path) -> Result<Option<PathBuf>, HostError> {
        self.on_disk("inspect", at, |tree, at| {
            let Some((parent, name)) = found(tree.parent(at))? else { return Ok(None) };
            match nix::fcntl::readlinkat(&parent, name.as_os_str()) {
                Ok(target) => Ok(Some(target.into())),
                Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn switch(&self, link: &Path, target: &Path) -> Result<(), HostError> {
        let target = target.to_owned();
        self.on_disk("switch", link, move |tree, link| {
            let (parent, name) = tree.parent_to_change(link)?;
            let mut staged = std::ffi::OsString::from(".ingot-staged.");
            staged.push(&name);
            match unlinkat(&parent, staged.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
            symlinkat(&target, &parent, staged.as_os_str())?;
            renameat(&parent, staged.as_os_str(), &parent, name.as_os_str())?;
            to_disk(&parent)
        })
        .await
    }

    async fn free(&self, directory: &Path) -> Result<u64, HostError> {
        self.on_disk("inspect", directory, |tree, directory| {
            for there in directory.ancestors() {
                let Some(opened) = found(tree.open(there, OFlag::O_PATH | OFlag::O_CLOEXEC, 0))? else { continue };
                return room(&opened);
            }
            Ok(u64::MAX)
        })
        .await
    }
}

struct Unpacker {
    send: Option<Sender<Fed>>,
    work: JoinHandle<Result<Unpacked, UnpackError>>,
    at: PathBuf,
}

impl Unpacker {
    async fn ended(&mut self) -> Result<Unpacked, UnpackError> {
        match (&mut self.work).await {
            Ok(ended) => ended,
            Err(lost) => Err(UnpackError::Host(failed("unpack into", &self.at, io::Error::other(lost)))),
        }
    }
}

#[async_trait(?Send)]
impl Unpack for Unpacker {
    async fn push(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        if let Some(send) = &self.send
            && send.send(Fed::Piece(bytes)).await.is_ok()
        {
            return Ok(());
        }
        // A closed channel means that the reader has ended, and before the end of the data it ends only with an error.
        self.send = None;
        self.ended().await.and(Err(damaged("there is data after its end")))
    }

    async fn finish(mut self: Box<Self>) -> Result<Unpacked, UnpackError> {
        if let Some(send) = self.send.take() {
            let _ = send.send(Fed::End).await;
        }
        self.ended().await
    }
}

/// Unpacks into an empty directory, sets its owner, and syncs all of it to disk.
fn unpack(directory: &OwnedFd, feed: Feed, wanted: &Unpacking) -> Result<Unpacked, UnpackError> {
    let trouble = |source: io::Error| UnpackError::Host(failed("write", &wanted.into, source));
    let own = (Uid::effective().as_raw(), Gid::effective().as_raw());
    let owner = Some((wanted.attributes.uid, wanted.attributes.gid)).filter(|owner| *owner != own);
    let (send, receive) = sync_channel(WAITING);
    let (give_back, spare) = channel();
    let free = room(directory).map_err(trouble)?;
    let (strip, links) = match &wanted.form {
        Form::Archive { strip_components, links } => (*strip_components, links.clone()),
        Form::File { .. } => (0, Links::default()),
    };
    let writer = Writer::new(directory.try_clone().map_err(trouble)?, wanted.into.clone(), owner, links.clone());
    let limit = Limit::new(wanted.limit, wanted.length);
    let mut sink = Sink { ops: send, spare, limit, strip, links, warnings: Vec::new(), entries: 0 };
    let (sha256, bytes, unpacked, warnings) = thread::scope(|scope| {
        let writing = thread::Builder::new().name("write".into()).spawn_scoped(scope, move || writer.run(&receive, &give_back));
        let writing = writing.map_err(trouble)?;
        let read = read::unpack(feed, wanted, || scratch(directory).map_err(trouble), free, &mut sink);
        let Sink { ops, limit, warnings, .. } = sink;
        drop(ops);
        let written = writing.join().unwrap_or_else(|_| Err(trouble(io::Error::other("the writing thread has died"))));
        // The writer's error comes first: the reader's error would only be that the writer is gone.
        let mut writer = written?;
        let (sha256, bytes) = read?;
        writer.make_links()?;
        Ok((sha256, bytes, limit.bytes, warnings))
    })?;
    finish(directory, wanted.attributes).map_err(trouble)?;
    // One sync for everything: syncing a hundred thousand files would wait for the disk a hundred thousand times.
    syncfs(directory).map_err(|errno| trouble(errno.into()))?;
    Ok(Unpacked { sha256, bytes, unpacked, warnings })
}

/// A file without a name, which disappears when it is closed.
fn scratch(directory: &OwnedFd) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    match openat(directory, ".", flags | OFlag::O_TMPFILE, mode) {
        Ok(file) => Ok(file.into()),
        // Not every filesystem supports unnamed files.
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => {
            let name = ".ingot-archive";
            let file = openat(directory, name, flags | OFlag::O_CREAT | OFlag::O_EXCL, mode)?;
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            Ok(file.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn room(opened: &OwnedFd) -> io::Result<u64> {
    let filesystem = fstatvfs(opened)?;
    Ok(filesystem.blocks_available() as u64 * filesystem.fragment_size() as u64)
}

fn finish(directory: &OwnedFd, attributes: Attributes) -> io::Result<()> {
    let now = described(&fstat(directory)?).attributes;
    if (now.uid, now.gid) != (attributes.uid, attributes.gid) {
        fchown(directory, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    }
    Ok(fchmod(directory, Mode::from_bits_truncate(attributes.mode))?)
}

fn hand_over(directory: &OwnedFd, attributes: Attributes) -> io::Result<()> {
    for entry in fs::read_dir(through(directory))? {
        still_wanted()?;
        let name = entry?.file_name();
        let found = described(&fstatat(directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?);
        let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
        // Before its content, so that the previous owner cannot add anything in the meantime.
        fchownat(directory, name.as_os_str(), Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if found.kind == FileKind::Directory {
            hand_over(&open_below(directory, &name)?, attributes)?;
        }
    }
    Ok(())
}

fn open_below(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}

fn put(tree: &Tree, from: &Path, to: &Path) -> io::Result<()> {
    let ((old, old_name), (new, new_name)) = (tree.parent_to_change(from)?, tree.parent_to_change(to)?);
    let rename = |flags| renameat2(&old, old_name.as_os_str(), &new, new_name.as_os_str(), flags);
    match rename(RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => return to_disk(&new),
        Err(Errno::EEXIST) => rename(RenameFlags::RENAME_EXCHANGE)?,
        // Network filesystems support only a plain rename.
        Err(Errno::EINVAL) => {
            remove(tree, to)?;
            renameat(&old, old_name.as_os_str(), &new, new_name.as_os_str())?;
            return to_disk(&new);
        }
        Err(error) => return Err(error.into()),
    }
    to_disk(&new)?;
    remove(tree, from)
}

/// Does not follow links.
fn remove(tree: &Tree, directory: &Path) -> io::Result<()> {
    let Some((parent, name)) = found(tree.parent_to_change(directory))? else { return Ok(()) };
    let Some(stat) = found(fstatat(&parent, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(io::Error::from))? else {
        return Ok(());
    };
    if described(&stat).kind != FileKind::Directory {
        return Ok(unlinkat(&parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?);
    }
    fs::remove_dir_all(through(&parent).join(name))?;
    to_disk(&parent)
}
