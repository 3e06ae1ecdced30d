//! Files of a machine in memory, with the errors that the kernel would return.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nix::errno::Errno;
use zeroize::Zeroizing;

use super::FakeMachine;
use super::tree::{Body, Tree, failed};
use crate::host::{Attributes, FileKind, Files, HostError, Stat};

impl FakeMachine {
    async fn change_files(
        &self,
        operation: &'static str,
        path: &Path,
        change: impl FnOnce(&mut Tree) -> Result<bool, Errno>,
    ) -> Result<(), HostError> {
        self.change(|| change(&mut self.0.tree.borrow_mut()).map_err(|errno| failed(operation, path, errno))).await
    }
}

#[async_trait(?Send)]
impl Files for FakeMachine {
    async fn read(&self, path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        self.alive().await;
        let tree = self.0.tree.borrow();
        match tree.node(path, true).map_err(|errno| failed("read", path, errno))?.map(|node| &node.body) {
            None => Ok(None),
            Some(Body::File(content)) if content.len() as u64 > limit => Err(HostError::TooLarge { path: path.to_owned(), limit }),
            Some(Body::File(content)) => Ok(Some(content.clone())),
            Some(_) => Err(failed("read", path, Errno::EISDIR)),
        }
    }

    async fn stat(&self, path: &Path) -> Result<Option<Stat>, HostError> {
        self.alive().await;
        let tree = self.0.tree.borrow();
        let node = tree.node(path, false).map_err(|errno| failed("look at", path, errno))?;
        Ok(node.map(|node| {
            let (kind, size) = match &node.body {
                Body::File(content) => (FileKind::File, content.len() as u64),
                Body::Directory => (FileKind::Directory, 4096),
                Body::Symlink(target) => (FileKind::Symlink, target.as_os_str().len() as u64),
            };
            Stat { kind, attributes: node.attributes, size, inode: node.inode, changed_ns: node.changed.into() }
        }))
    }

    async fn list(&self, directory: &Path) -> Result<Vec<String>, HostError> {
        self.alive().await;
        let failed = |errno| failed("list", directory, errno);
        let tree = self.0.tree.borrow();
        match tree.node(directory, true).map_err(failed)?.map(|node| &node.body) {
            None => return Ok(Vec::new()),
            Some(Body::Directory) => {}
            Some(_) => return Err(failed(Errno::ENOTDIR)),
        }
        tree.names(directory).map_err(failed)
    }

    async fn create_directory(&self, path: &Path, mode: u32) -> Result<(), HostError> {
        self.change_files("create directory", path, |tree| tree.create_directory(path, mode, (0, 0))).await
    }

    async fn create_directory_of(&self, path: &Path, attributes: Attributes) -> Result<(), HostError> {
        let Attributes { mode, uid, gid } = attributes;
        self.change_files("create directory", path, |tree| tree.create_directory(path, mode, (uid, gid))).await
    }

    async fn stage(&self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<(), HostError> {
        self.change_files("write", staged, |tree| tree.stage(staged, content, attributes)).await
    }

    async fn install(&self, staged: &Path, path: &Path) -> Result<(), HostError> {
        self.change_files("replace", path, |tree| tree.install(staged, path)).await
    }

    async fn set_attributes(&self, path: &Path, attributes: Attributes) -> Result<(), HostError> {
        self.change_files("set owner and mode of", path, |tree| tree.set_attributes(path, attributes)).await
    }

    async fn remove(&self, path: &Path) -> Result<(), HostError> {
        self.change_files("remove", path, |tree| tree.remove(path)).await
    }

    async fn resolved(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.alive().await;
        self.0.tree.borrow().resolved(path).map_err(|errno| failed("look at", path, errno))
    }

    async fn mount_point(&self, path: &Path) -> Result<PathBuf, HostError> {
        self.resolved(path).await
    }

    fn located(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::rooted;
    use super::*;
    use crate::host::files::DiskFiles;

    /// Runs the same sequence of operations on a filesystem, and returns its answers, step by step.
    async fn story(files: &dyn Files, owner: (u32, u32)) -> Vec<String> {
        let mut answers = Vec::new();
        let mut answer = |asked: &str, answer: Result<String, HostError>| {
            let answer = answer.unwrap_or_else(|error| format!("{:?}", crate::failure::Explanation::of(&error)));
            answers.push(format!("{asked}: {answer}"));
        };
        let attributes = |mode| Attributes { mode, uid: owner.0, gid: owner.1 };
        let path = Path::new;
        let done = |()| "done".to_owned();

        answer("directories", files.create_directory(path("/a/b"), 0o750).await.map(done));
        answer("again", files.create_directory(path("/a/b"), 0o700).await.map(done));
        answer("nowhere", files.stage(path("/no/x"), b"1", attributes(0o600)).await.map(done));
        answer("somewhere", files.stage(path("/a/x"), b"1", attributes(0o600)).await.map(done));
        answer("over a directory", files.install(path("/a/x"), path("/a/b")).await.map(done));
        answer("into nothing", files.install(path("/a/x"), path("/no/x")).await.map(done));
        answer("into place", files.install(path("/a/x"), path("/a/y")).await.map(done));
        answer("gone now", files.install(path("/a/x"), path("/a/y")).await.map(done));
        answer("below a file", files.stage(path("/a/y/z"), b"1", attributes(0o600)).await.map(done));
        answer("directory below a file", files.create_directory(path("/a/y/z"), 0o755).await.map(done));
        answer("directory over a file", files.create_directory(path("/a/y"), 0o755).await.map(done));
        answer("look below a file", files.stat(path("/a/y/z")).await.map(|stat| format!("{stat:?}")));
        answer("over a directory", files.stage(path("/a/b"), b"1", attributes(0o600)).await.map(done));
        answer("mode", files.set_attributes(path("/a/y"), attributes(0o640)).await.map(done));
        answer("mode of nothing", files.set_attributes(path("/a/x"), attributes(0o640)).await.map(done));
        for name in ["/a", "/a/b", "/a/y", "/a/x", "/no/x", "/", "/a/../a/./y"] {
            let stat = files.stat(path(name)).await;
            answer(name, stat.map(|stat| format!("{:?}", stat.map(|stat| (stat.kind, stat.attributes.mode & 0o777)))));
        }
        for name in ["/a", "/a/b", "/no", "/a/y"] {
            answer(name, files.list(path(name)).await.map(|names| names.join(" ")));
        }
        for name in ["/a/y", "/a/x", "/a", "/no/x", "/a/y/z"] {
            answer(name, files.read(path(name), 1).await.map(|content| format!("{content:?}")));
        }
        answer("too large", files.read(path("/a/y"), 0).await.map(|content| format!("{content:?}")));
        answer("remove a directory", files.remove(path("/a/b")).await.map(done));
        answer("remove", files.remove(path("/a/y")).await.map(done));
        answer("remove nothing", files.remove(path("/a/y")).await.map(done));
        answer("remove nowhere", files.remove(path("/no/y")).await.map(done));
        answers
    }

    #[tokio::test]
    async fn answers_as_a_disk_does() {
        let root = tempfile::tempdir().unwrap();
        // As for the root directory of a machine.
        std::fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let disk = DiskFiles::new(Some(root.path().to_owned()));
        let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        assert_eq!(story(&FakeMachine::new_instance(), (0, 0)).await, story(&disk, owner).await);
    }

    #[tokio::test]
    async fn a_change_shows_and_none_does_not() {
        let machine = FakeMachine::new_instance();
        machine.add_file("/etc/x", "1");
        let stat = || async { machine.stat(Path::new("/etc/x")).await.unwrap().unwrap() };
        let before = stat().await;
        machine.set_attributes(Path::new("/etc/x"), before.attributes).await.unwrap();
        assert_eq!((stat().await, machine.mutations()), (before, 0));
        machine.set_attributes(Path::new("/etc/x"), rooted(0o600)).await.unwrap();
        assert_ne!(stat().await.changed_ns, before.changed_ns);
        machine.stage(Path::new("/etc/x"), b"1", rooted(0o600)).await.unwrap();
        assert_ne!(stat().await.inode, before.inode);
        assert_eq!(machine.mutations(), 2);
    }

    #[tokio::test]
    async fn links_are_followed_but_for_the_last() {
        let machine = FakeMachine::new_instance();
        machine.add_file("/usr/lib/x/y", "1");
        machine.add_link("/lib", "usr/lib");
        machine.add_link("/etc/y", "/lib/../lib/x/y");
        machine.add_link("/etc/loop", "loop");
        assert_eq!(machine.read(Path::new("/etc/y"), 9).await.unwrap().unwrap().as_slice(), b"1");
        assert_eq!(machine.stat(Path::new("/etc/y")).await.unwrap().unwrap().kind, FileKind::Symlink);
        assert_eq!(machine.list(Path::new("/lib")).await.unwrap(), ["x"]);
        assert!(machine.read(Path::new("/etc/loop"), 9).await.is_err());
    }
}
