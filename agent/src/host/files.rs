//! Files and directories, and [`DiskFiles`], those on the real disk.
//!
//! Every operation that may wait for a disk runs on a separate thread: the first read of a block on a volume restored
//! from a snapshot takes tens of milliseconds, an fsync about as long, and other steps proceed in the meantime.
//! Operations on files in memory run directly, because handing them to another thread takes longer ([`memory`]). The
//! details of each operation, and of `--root`, are in [`tree`](super::tree).

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

/// The directories of ingot's record, its report and its runtime state.
const OWN: [&str; 2] = ["/var/lib/ingot", "/run/ingot"];

/// Files and directories. Every path is absolute, as in the document; the implementation resolves it below `--root`.
#[async_trait(?Send)]
pub(crate) trait Files {
    /// Reads a whole file. `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Any error other than "not found", including a file larger than `limit` bytes.
    async fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError>;

    /// Describes `path`, without following a final symbolic link. `None` if it does not exist.
    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError>;

    /// The names in a directory, sorted. Empty if the directory does not exist.
    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError>;

    /// Creates a directory and its missing parents, each with `mode`. Leaves existing directories unchanged. New ones
    /// are durable once something has been installed in them.
    async fn create_directory(&self, path: &Path, mode: u32) -> Result<(), HostError>;

    /// The same, but each new directory has this mode and owner from the start.
    async fn create_directory_of(&self, path: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Creates `staged` anew (an old one is removed), sets owner and mode while it is empty, writes the content and
    /// syncs it to disk. A failure leaves nothing behind.
    async fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError>;

    /// Renames `staged` over `path`, then syncs the directory and the new directories above it.
    async fn install(&self, staged: &Path, path: &Path) -> Result<(), HostError>;

    /// Sets owner and mode of an existing file.
    async fn set_attributes(&self, path: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Removes a file. Does nothing if it does not exist.
    async fn remove(&self, path: &Path) -> Result<(), HostError>;

    /// `path` without symbolic links, as the kernel names it in its tables. Components that do not exist yet are kept.
    async fn resolved(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// The same for a mount point, without following links that another user may have created.
    async fn mount_point(&self, path: &Path) -> Result<PathBuf, HostError>;

    /// The real location of `path`, for passing it to a program: below `--root`, if there is one.
    fn located(&self, path: &Path) -> PathBuf;
}

/// The files of this machine, or of the tree below `root`.
#[derive(Debug, Default)]
pub(crate) struct DiskFiles {
    tree: Tree,
    threads: Threads,
    /// One lock for each path being staged. A step that was dropped halfway leaves its write running on its thread; the
    /// next writer of that path waits for it, so that it does not rename a half-written file.
    staging: RefCell<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    grown: Grown,
}

/// Directories that contain a new directory that may not be on disk yet.
///
/// A new directory matters once something is installed in it, and that installation syncs both: its own fsync has
/// usually made the new directory durable already (journals are written in order), so the second one costs little.
/// POSIX does not guarantee this: fsync(2), "calling fsync() does not necessarily ensure that the entry in the
/// directory containing the file has also reached disk".
///
/// The lock is held briefly, never across a system call, because one of them may hang.
#[derive(Debug, Clone, Default)]
struct Grown(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// The number of directories created so far.
    created: u64,
    directories: BTreeMap<PathBuf, Within>,
}

/// The state of one directory.
#[derive(Debug, Default)]
struct Within {
    /// The number of the last creation in it; 0 if there was none.
    last: u64,
    /// How many directories are being created in it. Noted before the creation, so that a directory is never seen
    /// before it is noted.
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

    /// The noted directories on the path to `path`.
    fn above(&self, path: &Path) -> Vec<(PathBuf, u64)> {
        let noted = self.noted();
        let above = path.ancestors().filter_map(|directory| noted.directories.get_key_value(directory));
        above.map(|(directory, within)| (directory.clone(), within.last)).collect()
    }

    /// Syncs the directories that lead to `path`, as they were noted before the directory of `path` was synced.
    fn to_disk(&self, above: Vec<(PathBuf, u64)>, path: &Path, tree: &Tree) -> io::Result<()> {
        for (directory, creation) in above {
            if path.parent() != Some(&directory) {
                tree.sync(&directory)?;
            }
            // Removed only after the sync: a file installed below it in the meantime is not durable before. And not if
            // a directory has been created in it since, which the sync may have missed.
            let mut noted = self.noted();
            if noted.directories.get(&directory).is_some_and(|within| within.last == creation && within.under_way == 0) {
                noted.directories.remove(&directory);
            }
        }
        Ok(())
    }
}

/// The files of a [`DiskFiles`] for synchronous work on a thread that may block: [`DiskFiles::now`].
#[derive(Debug, Clone)]
pub(crate) struct Now {
    tree: Tree,
    grown: Grown,
}

impl Now {
    /// Opens a file. `None` if it does not exist.
    pub(super) fn open_now(&self, path: &Path, flags: OFlag, mode: u32) -> Result<Option<File>, HostError> {
        let opened = self.tree.open(path, flags | OFlag::O_CLOEXEC, mode);
        found(opened).map(|fd| fd.map(File::from)).map_err(|source| failed("open", path, source))
    }

    /// As [`Files::remove`], synchronously.
    pub(super) fn remove_now(&self, path: &Path) -> Result<(), HostError> {
        found(self.tree.unlink(path)).map(drop).map_err(|source| failed("remove", path, source))
    }

    /// Exchanges two paths. Returns whether both existed.
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

    /// Runs `work` where it may wait for a disk: directly if `path` is in memory, otherwise on a thread of its own.
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
        // Operations on ingot's own files do not wait for other operations.
        if OWN.iter().any(|own| path.starts_with(own)) {
            return blocking::work(operation, path, work).await;
        }
        self.threads.work(operation, path, &self.tree.located(path), work).await
    }

    /// Below a `--root`, the paths that are in memory on a machine are on disk.
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
