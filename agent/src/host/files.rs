//! Files and directories, and [`DiskFiles`]: those on the real disk.
//!
//! Every operation that may wait for a disk runs on a thread beside: the first touch of a block on a volume restored from
//! a snapshot takes tens of milliseconds, an fsync about as long, and other steps go on in the meantime. What is in memory is done
//! at once, for two threads that wake each other take longer ([`memory`]). What each does, and how a root is
//! kept, is in [`tree`](super::tree).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::attributes::{Attributes, Stat};
use super::blocking::{self, Threads};
use super::error::HostError;
use super::memory;
use super::tree::{Growth, Tree, failed, found, marks, outlives_the_boot};

/// Where ingot keeps its record, its report and what it tells the machine.
const OWN: [&str; 2] = ["/var/lib/ingot", "/run/ingot"];

/// Files and directories. Every path is absolute as the document says it; the implementation places it below `--root`.
#[async_trait(?Send)]
pub(crate) trait Files {
    /// Reads a whole file. `None` if there is none.
    ///
    /// # Errors
    ///
    /// Anything but "not found", a file larger than `limit` bytes included.
    async fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError>;

    /// Describes what is at `path`, without following a last symbolic link. `None` if there is nothing.
    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError>;

    /// Names in a directory, sorted. Empty if there is no such directory.
    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError>;

    /// Creates a directory and its missing parents, each with `mode`. Does nothing to what exists. They are on disk once
    /// something is installed in them.
    async fn create_directory(&self, path: &Path, mode: u32) -> Result<(), HostError>;

    /// The same, where each that is created has this mode and owner from its first moment.
    async fn create_directory_of(&self, path: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Creates `staged` again (what lay there is removed), gives it owner and mode while it is empty, writes it and
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

    /// The same of a place to mount on, without following links that another user may have laid.
    async fn mount_point(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// Where `path` really lies, for a program that is given it: below `--root`, if there is one.
    fn located(&self, path: &Path) -> PathBuf;
}

/// The files of this machine, or of the tree below `root`.
#[derive(Debug, Default)]
pub(crate) struct DiskFiles {
    tree: Tree,
    threads: Threads,
    /// One lock for each path being staged. A step that was dropped in the middle leaves its write running beside; the next
    /// writer of that path waits for it instead of renaming its half.
    staging: RefCell<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    grown: Grown,
}

/// Directories with a new one in them that is not known to be on disk.
///
/// A new directory matters once there is something in it, and what installs that brings both to disk: its own fsync has
/// most often made the new directory durable as well (journals are written in order), so that the second costs little.
/// POSIX promises it to no one who does not ask: fsync(2), "calling fsync() does not necessarily ensure that the entry in
/// the directory containing the file has also reached disk".
///
/// Locked for moments, and never over a system call: one of them may hang.
#[derive(Debug, Clone, Default)]
struct Grown(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// How many directories were created so far.
    created: u64,
    directories: BTreeMap<PathBuf, Within>,
}

/// What is known of one directory.
#[derive(Debug, Default)]
struct Within {
    /// Which creation in it was the last; 0 if none was.
    last: u64,
    /// How many are being created in it. Whoever finds one there is to find it noted, so it is noted before.
    under_way: usize,
}

impl Noted {
    fn note(&mut self, directory: &Path, growth: Growth) {
        let within = self.directories.entry(directory.to_owned()).or_default();
        match growth {
            Growth::Begins => within.under_way += 1,
            Growth::Created | Growth::Failed => within.under_way -= 1,
        }
        if growth == Growth::Created {
            self.created += 1;
            within.last = self.created;
        }
        if within.under_way == 0 && within.last == 0 {
            self.directories.remove(directory);
        }
    }
}

impl Grown {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, path: &Path, mode: u32, tree: &Tree) -> io::Result<()> {
        tree.create_directory(path, mode, None, &mut |directory, growth| self.noted().note(directory, growth))
    }

    fn create_of(&self, path: &Path, attributes: Attributes, tree: &Tree) -> io::Result<()> {
        let Attributes { mode, uid, gid } = attributes;
        tree.create_directory(path, mode, Some((uid, gid)), &mut |directory, growth| self.noted().note(directory, growth))
    }

    /// What of these leads to `path`.
    fn above(&self, path: &Path) -> Vec<(PathBuf, u64)> {
        let noted = self.noted();
        let above = path.ancestors().filter_map(|directory| noted.directories.get_key_value(directory));
        above.map(|(directory, within)| (directory.clone(), within.last)).collect()
    }

    /// Brings to disk what leads to `path`, as it was known before its own directory was brought there.
    fn to_disk(&self, above: Vec<(PathBuf, u64)>, path: &Path, tree: &Tree) -> io::Result<()> {
        for (directory, creation) in above {
            if path.parent() != Some(&directory) {
                tree.sync(&directory)?;
            }
            // Only now: another file below it that was installed in the meantime is not on disk before this. And not if there is
            // one more in it by now, which may have come too late for this.
            let mut noted = self.noted();
            if noted.directories.get(&directory).is_some_and(|within| within.last == creation && within.under_way == 0) {
                noted.directories.remove(&directory);
            }
        }
        Ok(())
    }
}

/// The files of a [`DiskFiles`] for work that is done at once, on a thread that may wait: [`DiskFiles::now`].
#[derive(Debug, Clone)]
pub(crate) struct Now {
    tree: Tree,
    grown: Grown,
}

impl Now {
    /// Opens a file. `None` if there is none.
    pub(super) fn open_now(&self, path: &Path, flags: OFlag, mode: u32) -> Result<Option<File>, HostError> {
        let opened = self.tree.open(path, flags | OFlag::O_CLOEXEC, mode);
        found(opened).map(|fd| fd.map(File::from)).map_err(|source| failed("open", path, source))
    }

    /// As [`Files::remove`], at once.
    pub(super) fn remove_now(&self, path: &Path) -> Result<(), HostError> {
        found(self.tree.unlink(path)).map(drop).map_err(|source| failed("remove", path, source))
    }

    /// Lets two paths change places. Returns whether there was something at both.
    pub(super) fn exchange_now(&self, one: &Path, other: &Path) -> Result<bool, HostError> {
        let exchanged = found(self.tree.exchange(one, other));
        exchanged.map(|done| done.is_some()).map_err(|source| failed("replace", other, source))
    }

    pub(super) fn create_directory_now(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        self.grown.create(path, mode, &self.tree).map_err(|source| failed("create directory", path, source))
    }
}

impl DiskFiles {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { tree: Tree { root }, threads: Threads::default(), staging: RefCell::default(), grown: Grown::default() }
    }

    /// Has `work` done where a disk may be waited for: at once if `path` is in memory, else on a thread for itself.
    pub(super) async fn now<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&Now, &Path) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let (now, owned) = (Now { tree: self.tree.clone(), grown: self.grown.clone() }, path.to_owned());
        if self.is_in_memory(path).await {
            return work(&now, &owned);
        }
        blocking::work(operation, path, move || work(&now, &owned)).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&Tree, &Path) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let work = |tree: &Tree, path: &Path| work(tree, path).map_err(|error| marks::explained(tree, error));
        if self.is_in_memory(path).await {
            return work(&self.tree, path);
        }
        let (tree, owned) = (self.tree.clone(), path.to_owned());
        let work = move || work(&tree, &owned);
        // What ingot keeps for itself waits for no other operation.
        if OWN.iter().any(|own| path.starts_with(own)) {
            return blocking::work(operation, path, work).await;
        }
        self.threads.work(operation, path, &self.tree.located(path), work).await
    }

    /// Below a root, what is in memory on a machine is on a disk.
    async fn is_in_memory(&self, path: &Path) -> bool {
        self.tree.root.is_none() && memory::holds(path).await
    }

    async fn turn(&self, staged: &Path) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut staging = self.staging.borrow_mut();
            staging.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(staging.entry(staged.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

#[async_trait(?Send)]
impl Files for DiskFiles {
    async fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        self.on_disk("read", path, move |tree, path| tree.read(path, limit)).await
    }

    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError> {
        self.on_disk("look at", path, |tree, path| found(tree.stat(path)).map_err(|e| failed("look at", path, e))).await
    }

    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError> {
        self.on_disk("list", directory, |tree, path| tree.list(path).map_err(|e| failed("list", path, e))).await
    }

    async fn create_directory(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        let (operation, grown) = ("create directory", self.grown.clone());
        self.on_disk(operation, path, move |tree, path| grown.create(path, mode, tree).map_err(|source| failed(operation, path, source)))
            .await
    }

    async fn create_directory_of(&self, path: &Path, attributes: Attributes) -> Result<(), HostError> {
        let (operation, grown) = ("create directory", self.grown.clone());
        let create =
            move |tree: &Tree, path: &Path| grown.create_of(path, attributes, tree).map_err(|source| failed(operation, path, source));
        self.on_disk(operation, path, create).await
    }

    async fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError> {
        let turn = self.turn(staged).await;
        let content = Zeroizing::new(content.to_vec());
        self.on_disk("write", staged, move |tree, staged| {
            let _turn = turn;
            tree.stage(staged, &content, attributes)
        })
        .await
    }

    async fn install(&self, staged: &Path, path: &Path) -> Result<(), HostError> {
        let turn = self.turn(staged).await;
        let (staged, grown) = (staged.to_owned(), self.grown.clone());
        self.on_disk("replace", path, move |tree, path| {
            let _turn = turn;
            let above = if outlives_the_boot(path) { grown.above(path) } else { Vec::new() };
            let durable = tree.install(&staged, path).and_then(|()| grown.to_disk(above, path, tree));
            durable.map_err(|source| failed("replace", path, source))
        })
        .await
    }

    async fn set_attributes(&self, path: &Path, attributes: Attributes) -> Result<(), HostError> {
        let operation = "set owner and mode of";
        self.on_disk(operation, path, move |tree, path| tree.set_attributes(path, attributes).map_err(|e| failed(operation, path, e))).await
    }

    async fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.on_disk("remove", path, |tree, path| found(tree.unlink(path)).map(drop).map_err(|e| failed("remove", path, e))).await
    }

    async fn resolved(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.on_disk("look at", path, |tree, path| tree.resolved(path).map_err(|e| failed("look at", path, e))).await
    }

    async fn mount_point(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.on_disk("mount at", path, |tree, path| tree.mount_point(path).map_err(|e| failed("mount at", path, e))).await
    }

    fn located(&self, path: &Path) -> PathBuf {
        self.tree.located(path)
    }
}

#[cfg(test)]
mod tests;
