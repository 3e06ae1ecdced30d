//! [`Files`] on the real disk.
//!
//! Every operation that may wait for a disk runs on a thread beside: the first touch of a block on a volume restored from
//! a snapshot takes tens of milliseconds, an fsync about as long, and other steps go on meanwhile. What is in memory is done
//! at once, for two threads that wake each other take longer. What each does, and how a root is kept, is in
//! [`tree`](super::tree).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use super::blocking::Threads;
use super::tree::{Tree, failed, found, outlives_the_boot};
use super::{Attributes, Files, HostError, Stat};

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
/// POSIX promises it to nobody who does not ask: fsync(2), «calling fsync() does not necessarily ensure that the entry in
/// the directory containing the file has also reached disk».
#[derive(Debug, Clone, Default)]
struct Grown(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// How many directories were created so far.
    created: u64,
    /// For each directory which creation in it was the last.
    last: BTreeMap<PathBuf, u64>,
}

impl Grown {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, path: &Path, mode: u32, tree: &Tree) -> io::Result<()> {
        // Whoever is told that it exists is to find it noted, hence the lock; what has to be read from the disk first is read
        // before it.
        let _ = tree.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, 0);
        let mut noted = self.noted();
        tree.create_directory(path, mode, &mut |directory| {
            noted.created += 1;
            let creation = noted.created;
            noted.last.insert(directory.to_owned(), creation);
        })
    }

    /// What of these leads to `path`.
    fn above(&self, path: &Path) -> Vec<(PathBuf, u64)> {
        let noted = self.noted();
        let above = path.ancestors().filter_map(|directory| noted.last.get_key_value(directory));
        above.map(|(directory, creation)| (directory.clone(), *creation)).collect()
    }

    /// Brings to disk what leads to `path`, as it was known before its own directory was brought there.
    fn to_disk(&self, above: Vec<(PathBuf, u64)>, path: &Path, tree: &Tree) -> io::Result<()> {
        for (directory, creation) in above {
            if path.parent() != Some(&directory) {
                tree.sync(&directory)?;
            }
            // Only now: another file below it that was installed meanwhile is not on disk before this. And not if there is
            // one more in it by now, which may have come too late for this.
            let mut noted = self.noted();
            if noted.last.get(&directory) == Some(&creation) {
                noted.last.remove(&directory);
            }
        }
        Ok(())
    }
}

impl DiskFiles {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { tree: Tree { root }, threads: Threads::default(), staging: RefCell::default(), grown: Grown::default() }
    }

    /// As [`Files::read`], at once: for what is read before there is anything to wait for.
    pub(super) fn read_now(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        self.tree.read(path, limit)
    }

    /// Opens a file of the tree for those beside this one that need a descriptor. `None` if there is none.
    pub(super) fn open_now(&self, path: &Path, flags: OFlag, mode: u32) -> Result<Option<File>, HostError> {
        let opened = self.tree.open(path, flags | OFlag::O_CLOEXEC, mode);
        found(opened).map(|fd| fd.map(File::from)).map_err(|source| failed("open", path, source))
    }

    pub(super) fn create_directory_now(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        self.grown.create(path, mode, &self.tree).map_err(|source| failed("create directory", path, source))
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&Tree, &Path) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        if ["/run", "/proc", "/sys"].iter().any(|memory| path.starts_with(memory)) {
            return work(&self.tree, path);
        }
        let (tree, owned) = (self.tree.clone(), path.to_owned());
        self.threads.work(operation, path, move || work(&tree, &owned)).await
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

    fn located(&self, path: &Path) -> PathBuf {
        self.tree.located(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::{Gid, Uid};

    use super::super::FileKind;
    use super::super::tree::filled;
    use super::*;

    /// A tree of its own, and the attributes that a test may ask for without being root.
    fn tree() -> (tempfile::TempDir, DiskFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = DiskFiles::new(Some(directory.path().to_owned()));
        (directory, files)
    }

    fn mine(mode: u32) -> Attributes {
        Attributes { mode, uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    async fn text(files: &DiskFiles, path: &str) -> Option<String> {
        let content = files.read(Path::new(path), 1000).await.unwrap()?;
        Some(String::from_utf8(content.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn installs_what_was_staged() {
        let (_directory, files) = tree();
        files.create_directory(Path::new("/etc/app"), 0o2775).await.unwrap();
        let (staged, path) = (Path::new("/etc/app/.x.new"), Path::new("/etc/app/x"));
        // A umask would take 0o022 away.
        files.stage(staged, b"one", mine(0o4666)).await.unwrap();
        files.install(staged, path).await.unwrap();

        let stat = files.stat(path).await.unwrap().unwrap();
        assert_eq!((stat.kind, stat.attributes.mode, stat.size), (FileKind::File, 0o4666, 3));
        assert_eq!(files.stat(Path::new("/etc")).await.unwrap().unwrap().attributes.mode, 0o2775);
        assert_eq!(files.list(Path::new("/etc/app")).await.unwrap(), ["x"]);
        assert_eq!(text(&files, "/etc/app/x").await.as_deref(), Some("one"));
    }

    fn grown(files: &DiskFiles) -> Vec<String> {
        files.grown.noted().last.keys().map(|directory| directory.display().to_string()).collect()
    }

    #[tokio::test]
    async fn directories_are_to_be_brought_to_disk_until_something_in_them_is() {
        let (_directory, files) = tree();
        files.create_directory(Path::new("/a/b/c"), 0o755).await.unwrap();
        files.create_directory(Path::new("/x"), 0o755).await.unwrap();
        assert_eq!(grown(&files), ["/", "/a", "/a/b"]);
        let (staged, path) = (Path::new("/a/b/.f.new"), Path::new("/a/b/f"));
        files.stage(staged, b"", mine(0o600)).await.unwrap();
        assert_eq!(grown(&files), ["/", "/a", "/a/b"]);
        files.install(staged, path).await.unwrap();
        assert!(grown(&files).is_empty());
    }

    #[test]
    fn what_is_created_meanwhile_is_still_to_be_brought_to_disk() {
        let (_directory, DiskFiles { tree, grown, .. }) = tree();
        let path = Path::new("/a/f");
        grown.create(Path::new("/a/b"), 0o755, &tree).unwrap();
        let above = grown.above(path);
        grown.create(Path::new("/a/c"), 0o755, &tree).unwrap();
        grown.to_disk(above, path, &tree).unwrap();
        assert_eq!(grown.above(Path::new("/a/c/f")).iter().map(|(directory, _)| directory).collect::<Vec<_>>(), ["/a"].map(Path::new));
    }

    #[tokio::test]
    async fn what_was_created_before_a_failure_is_still_to_be_brought_to_disk() {
        let (_directory, files) = tree();
        files.create_directory(&Path::new("/a/b").join("x".repeat(256)), 0o755).await.unwrap_err();
        assert_eq!(grown(&files), ["/", "/a"]);
    }

    #[tokio::test]
    async fn staging_replaces_a_planted_link_and_not_its_target() {
        let (directory, files) = tree();
        fs::write(directory.path().join("victim"), "keep").unwrap();
        symlink("victim", directory.path().join("staged")).unwrap();
        files.stage(Path::new("/staged"), b"new", mine(0o600)).await.unwrap();
        assert_eq!(text(&files, "/victim").await.as_deref(), Some("keep"));
        assert_eq!(text(&files, "/staged").await.as_deref(), Some("new"));
    }

    #[tokio::test]
    async fn what_was_staged_and_cannot_be_owned_is_removed() {
        if Uid::effective().is_root() {
            // Root may give files away; writing to a full device is what fails for it.
            assert!(filled(File::options().write(true).open("/dev/full").unwrap(), b"x", mine(0o666)).is_err());
            return;
        }
        let (_directory, files) = tree();
        let attributes = Attributes { uid: 0, ..mine(0o600) };
        files.stage(Path::new("/x"), b"x", attributes).await.unwrap_err();
        assert_eq!(files.stat(Path::new("/x")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn links_do_not_lead_out_of_the_root() {
        let (directory, files) = tree();
        symlink("/etc", directory.path().join("absolute")).unwrap();
        symlink("../../../../../../etc", directory.path().join("relative")).unwrap();
        for path in ["/absolute/passwd", "/relative/passwd", "/../../../../../etc/passwd"] {
            assert_eq!(text(&files, path).await, None, "{path}");
        }
        files.create_directory(Path::new("/etc"), 0o755).await.unwrap();
        files.stage(Path::new("/absolute/x"), b"inside", mine(0o644)).await.unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("etc/x")).unwrap(), "inside");
    }

    #[tokio::test]
    async fn names_the_operation_and_the_path() {
        let (_directory, files) = tree();
        files.stage(Path::new("/file"), b"", mine(0o600)).await.unwrap();
        let error = files.create_directory(Path::new("/file/x"), 0o755).await.unwrap_err();
        let explained = crate::failure::Explanation::of(&error).to_string();
        insta::assert_snapshot!(explained, @r"
        cannot create directory /file/x: Not a directory (os error 20)
        hint: a parent of /file/x is a file: move it away
        ");
        assert_eq!(files.read(Path::new("/"), 9).await.unwrap_err().to_string(), "cannot read /");
        assert_eq!(files.stage(Path::new("/no/x"), b"", mine(0o600)).await.unwrap_err().to_string(), "cannot write /no/x");
    }

    #[tokio::test]
    async fn reads_nothing_larger_than_asked_for_and_no_fifo() {
        let (directory, files) = tree();
        files.stage(Path::new("/x"), b"12345", mine(0o600)).await.unwrap();
        assert!(matches!(files.read(Path::new("/x"), 4).await, Err(HostError::TooLarge { limit: 4, .. })));
        assert_eq!(files.read(Path::new("/x"), 5).await.unwrap().unwrap().len(), 5);
        nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        assert!(files.read(Path::new("/fifo"), 4).await.is_err());
        assert!(DiskFiles::new(None).read(Path::new("/proc/self/status"), 1 << 16).await.unwrap().unwrap().len() > 100);
    }

    #[tokio::test]
    async fn sets_mode_and_follows_no_link() {
        let (directory, files) = tree();
        files.stage(Path::new("/x"), b"", mine(0o600)).await.unwrap();
        files.set_attributes(Path::new("/x"), mine(0o751)).await.unwrap();
        assert_eq!(files.stat(Path::new("/x")).await.unwrap().unwrap().attributes, mine(0o751));
        symlink("x", directory.path().join("link")).unwrap();
        assert!(files.set_attributes(Path::new("/link"), mine(0o600)).await.is_err());
    }

    #[tokio::test]
    async fn absence_is_an_answer() {
        let (directory, files) = tree();
        let path = Path::new("/no/such");
        assert_eq!(files.stat(path).await.unwrap(), None);
        assert!(files.read(path, 1).await.unwrap().is_none());
        assert!(files.list(path).await.unwrap().is_empty());
        files.remove(path).await.unwrap();
        assert_eq!(files.resolved(Path::new("/a/b")).await.unwrap(), Path::new("/a/b"));
        assert_eq!(files.located(Path::new("/a/../b")), directory.path().join("b"));
    }
}
