//! Walks the tree below a root with several threads, and reads the wanted files.
//!
//! Directories are visited depth first, so that few are waiting. The files of a directory are put into the same queue,
//! up to a limit, so that one large directory keeps all threads busy.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::members::Unpacked;
use super::reader::{Amount, Reader, Seen};
use super::{file as files, mounted, packed, parts};

/// With this many paths waiting, a thread that finds another file reads it immediately.
const WAITING: usize = 4 * 1024;

/// Reads the files below `root` that `reader` wants, with `threads` threads including the calling one.
pub(crate) fn read<R: Reader>(root: &Path, threads: usize, reader: &R) -> Amount {
    let walk = Walk { root, reader, queue: Mutex::default(), changed: Condvar::new(), linked: Mutex::default() };
    match fs::metadata(root) {
        Ok(metadata) => walk.queue().waiting.push(Job::Directory(root.to_owned(), metadata.dev())),
        Err(error) => reader.failed(Path::new("/"), &error),
    }
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().name("scan".into()).spawn_scoped(scope, || walk.go()).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mine = walk.go();
        others
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .fold(mine, |sum, amount| Amount { files: sum.files + amount.files, bytes: sum.bytes + amount.bytes })
    })
}

enum Job {
    /// A directory, and the device number of its parent's filesystem.
    Directory(PathBuf, u64),
    File(PathBuf, Metadata),
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Job>,
    /// The number of jobs in progress, which may add more.
    busy: usize,
}

struct Walk<'a, R> {
    root: &'a Path,
    reader: &'a R,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Files with several names that have been seen.
    linked: Mutex<HashSet<(u64, u64)>>,
}

impl<R: Reader> Walk<'_, R> {
    /// Works, together with all other threads that call this, until nothing is left.
    fn go(&self) -> Amount {
        let (mut amount, mut buffer) = (Amount::default(), Vec::new());
        while let Some(job) = self.next() {
            match job {
                Job::Directory(path, parent) => {
                    if let Err(error) = self.list(&path, parent, &mut amount, &mut buffer) {
                        self.failed(&path, &error);
                    }
                }
                Job::File(path, metadata) => self.visit(&path, &metadata, &mut amount, &mut buffer),
            }
            let mut queue = self.queue();
            queue.busy -= 1;
            if queue.busy == 0 && queue.waiting.is_empty() {
                self.changed.notify_all();
            }
        }
        amount
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.waiting.pop() {
                queue.busy += 1;
                return Some(job);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn list(&self, directory: &Path, parent: u64, amount: &mut Amount, buffer: &mut Vec<u8>) -> io::Result<()> {
        let device = fs::symlink_metadata(directory)?.dev();
        if device != parent && mounted::is_no_part(directory) {
            return Ok(());
        }
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            // An entry that disappears during the listing does not affect the others.
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) => {
                    self.failed(&path, &error);
                    continue;
                }
            };
            if kind.is_dir() {
                self.push(Job::Directory(path, device));
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) if self.queue().waiting.len() >= WAITING => self.visit(&path, &metadata, amount, buffer),
                    Ok(metadata) => self.push(Job::File(path, metadata)),
                    Err(error) => self.failed(&path, &error),
                }
            }
        }
        Ok(())
    }

    fn push(&self, job: Job) {
        self.queue().waiting.push(job);
        self.changed.notify_one();
    }

    fn visit(&self, path: &Path, metadata: &Metadata, amount: &mut Amount, buffer: &mut Vec<u8>) {
        let file = Seen { path: &self.in_image(path), modified: metadata.mtime(), member: None };
        let mut notes = R::Notes::default();
        // A file with several names is read under the first one that is wanted.
        if self.reader.wants(&file, &mut notes) && self.is_new(metadata) {
            match files::open(path).and_then(|mut opened| self.search(&mut opened, &file, &mut notes, buffer)) {
                Ok(bytes) => {
                    amount.files += 1;
                    amount.bytes += bytes;
                }
                Err(error) => self.failed(path, &error),
            }
        }
        self.reader.end(&file, notes);
    }

    /// Reads a file, or the members of an archive. Returns the number of bytes read.
    fn search(&self, opened: &mut File, file: &Seen<'_>, notes: &mut R::Notes, buffer: &mut Vec<u8>) -> io::Result<u64> {
        let mut bytes = 0;
        let mut take = |name: &str, content: &mut dyn io::Read| {
            let member = Seen { member: Some(name), ..*file };
            let mut notes = R::Notes::default();
            if self.reader.wants(&member, &mut notes) {
                bytes += parts::cut(content, buffer, |part| self.reader.take(&member, part, &mut notes))?;
            }
            self.reader.end(&member, notes);
            Ok(())
        };
        match packed::unpack(file.path, opened, &mut take)? {
            Unpacked::Plain => {}
            Unpacked::Members => return Ok(bytes),
            Unpacked::InPart(why) => {
                self.reader.skipped(file.path, why);
                return Ok(bytes);
            }
            Unpacked::Not(why) => self.reader.skipped(file.path, why),
        }
        opened.rewind()?;
        parts::cut(opened, buffer, |part| self.reader.take(file, part, notes))
    }

    fn is_new(&self, metadata: &Metadata) -> bool {
        metadata.nlink() < 2 || self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert((metadata.dev(), metadata.ino()))
    }

    /// A file that disappears during the walk does not count as a failure.
    fn failed(&self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.reader.failed(&self.in_image(path), error);
        }
    }

    fn in_image(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.root).unwrap_or(path))
    }
}
