//! Finds the selected files, and their locations.
//!
//! The path to a file is as cold as the file: each directory, inode and extent map is a slow read of its own. Many
//! threads therefore work at the same time, and each takes a file from a random position in the queue: neighbors share
//! a block of inodes, and threads that proceed from one to the next wait for the same read (four reads in flight
//! instead of sixty, on XFS). Directories are visited depth first, so that the number of unvisited ones stays small.
//! Symbolic links are not followed, and other filesystems are not entered.

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use nix::libc;

use super::fiemap;
use super::selection::{Meant, Selection};
use super::tally::Tally;

/// With this many files waiting, a thread that finds another one maps it immediately: a directory of millions of files
/// must not become a queue of millions.
const WAITING: usize = 16 * 1024;

/// With this many files waiting, no further directory is listed: this is enough for randomly chosen files to lie far
/// apart.
const ENOUGH: usize = 4 * 1024;

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Its location: on the device, or the position in inode order if the location is unknown.
    pub(super) place: u64,
    pub(super) length: u64,
    pub(super) file: Arc<Path>,
    /// The offset in the file.
    pub(super) from: u64,
}

/// A path to visit.
struct Job {
    path: PathBuf,
    meant: Meant,
    /// The patterns that end with this path.
    ended: Vec<usize>,
    /// Unknown if the path was named without listing its directory.
    kind: Option<FileType>,
}

impl Job {
    fn is_file(&self) -> bool {
        self.kind.is_some_and(|kind| kind.is_file())
    }
}

#[derive(Default)]
struct Queue {
    /// Directories, and paths that may be directories.
    directories: Vec<Job>,
    files: Vec<Job>,
    /// The number of jobs in progress, which may add more.
    busy: usize,
}

impl Queue {
    fn push(&mut self, job: Job) {
        let queue = if job.is_file() { &mut self.files } else { &mut self.directories };
        queue.push(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let directory = if self.files.len() < ENOUGH { self.directories.pop() } else { None };
        directory.or_else(|| (!self.files.is_empty()).then(|| self.files.swap_remove(fastrand::usize(..self.files.len()))))
    }

    fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.files.is_empty()
    }
}

/// One walk below one directory.
pub(super) struct Walk<'a> {
    selection: &'a Selection,
    device: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// By index, whether a pattern has matched something.
    found: Mutex<Vec<bool>>,
    tally: &'a Tally,
}

impl<'a> Walk<'a> {
    /// Starts at `at`.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub(super) fn new(at: &Path, selection: &'a Selection, tally: &'a Tally) -> io::Result<Self> {
        let metadata = fs::metadata(at)?;
        let (meant, ended) = selection.whole();
        let walk = Self {
            selection,
            device: metadata.dev(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            found: Mutex::new(vec![false; selection.len()]),
            tally,
        };
        walk.queue().push(Job { path: at.to_owned(), meant, ended, kind: Some(metadata.file_type()) });
        Ok(walk)
    }

    /// Walks, together with all other threads that call this, until nothing is left or the reading is stopped.
    pub(super) fn go(&self, send: &SyncSender<Vec<Piece>>) {
        while let Some(job) = self.next() {
            if !self.tally.is_stopped() {
                self.visit(job, send);
            }
            let mut queue = self.queue();
            queue.busy -= 1;
            if queue.busy == 0 && queue.is_empty() {
                self.changed.notify_all();
            }
        }
    }

    /// The patterns that matched nothing.
    pub(super) fn unmatched(&self) -> Vec<usize> {
        let found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        found.iter().enumerate().filter(|(_, found)| !**found).map(|(at, _)| at).collect()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.pop() {
                queue.busy += 1;
                return Some(job);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn visit(&self, job: Job, send: &SyncSender<Vec<Piece>>) {
        let kind = match job.kind {
            Some(kind) => kind,
            None => match fs::symlink_metadata(&job.path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => return self.failed(&job.path, error),
            },
        };
        if kind.is_dir() || kind.is_file() {
            self.note(&job.ended);
        }
        if kind.is_dir() {
            if let Err(error) = self.list(&job, send) {
                self.failed(&job.path, error);
            }
        } else if kind.is_file() && job.meant.everything {
            match self.map(&job.path) {
                Ok(Some(pieces)) => {
                    Tally::add(&self.tally.files, 1);
                    // If the reading was stopped, there is no receiver.
                    let _ = send.send(pieces);
                }
                Ok(None) => {}
                Err(error) => self.failed(&job.path, error),
            }
        }
    }

    /// A file that disappears during the walk does not count as a failure.
    fn failed(&self, path: &Path, error: io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.tally.failed(|| format!("{}: {error}", path.display()));
        }
    }

    fn list(&self, directory: &Job, send: &SyncSender<Vec<Piece>>) -> io::Result<()> {
        if fs::symlink_metadata(&directory.path)?.dev() != self.device {
            return Ok(());
        }
        if let Some(names) = directory.meant.names() {
            for name in names {
                self.enter(directory, name, None, send);
            }
            return Ok(());
        }
        for entry in fs::read_dir(&directory.path)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if self.tally.is_stopped() {
                return Ok(());
            }
            match name.to_str() {
                Some(name) => self.enter(directory, name, Some(kind), send),
                // Patterns are text. A name that is not UTF-8 is selected only if everything is.
                None if directory.meant.everything => {
                    self.push(Job { path: entry.path(), meant: Meant::all(), ended: Vec::new(), kind: Some(kind) }, send);
                }
                None => {}
            }
        }
        Ok(())
    }

    fn enter(&self, directory: &Job, name: &str, kind: Option<FileType>, send: &SyncSender<Vec<Piece>>) {
        if let Some((meant, ended)) = self.selection.enter(&directory.meant, name) {
            self.push(Job { path: directory.path.join(name), meant, ended, kind }, send);
        }
    }

    fn note(&self, ended: &[usize]) {
        if !ended.is_empty() {
            let mut found = self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            ended.iter().for_each(|at| found[*at] = true);
        }
    }

    fn push(&self, job: Job, send: &SyncSender<Vec<Piece>>) {
        let mut queue = self.queue();
        if queue.files.len() >= WAITING && job.is_file() {
            drop(queue);
            return self.visit(job, send);
        }
        queue.push(job);
        drop(queue);
        self.changed.notify_one();
    }

    /// The pieces of a file; `None` if it is not a file on this filesystem.
    fn map(&self, path: &Path) -> io::Result<Option<Vec<Piece>>> {
        let file = open(path, 0)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.dev() != self.device {
            return Ok(None);
        }
        let (name, size): (Arc<Path>, u64) = (path.into(), metadata.len());
        let whole = || vec![Piece { place: metadata.ino(), length: size, file: name.clone(), from: 0 }];
        let pieces = match fiemap::extents(&file, size)? {
            None if size == 0 => Vec::new(),
            None => whole(),
            Some(extents) => {
                let piece = |extent: fiemap::Extent| Piece {
                    place: extent.physical,
                    length: extent.length,
                    file: name.clone(),
                    from: extent.logical,
                };
                extents.into_iter().map(piece).collect()
            }
        };
        Ok(Some(pieces))
    }
}

/// Opens a file for reading, without changing its access time if that is permitted.
pub(super) fn open(path: &Path, flags: libc::c_int) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    // Non-blocking: what was a file a moment ago may be a FIFO now.
    let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    match options.read(true).custom_flags(flags | libc::O_NOATIME).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => options.custom_flags(flags).open(path),
        opened => opened,
    }
}
