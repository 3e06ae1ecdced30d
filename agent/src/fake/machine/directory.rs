//! Directories of a machine in memory. An archive in memory contains one file, whose content is the bytes that were
//! pushed. Compressed content stays compressed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use nix::errno::Errno;

use super::FakeMachine;
use super::tree::{Body, Tree, failed};
use crate::digest::Sha256;
use crate::host::unpack::{Directories, Form, Unpack, UnpackError, Unpacked, Unpacking};
use crate::host::{Attributes, HostError};

/// The one file that an archive is unpacked to.
const CONTENT: &str = "content";

impl FakeMachine {
    async fn change_directories(
        &self,
        operation: &'static str,
        path: &Path,
        change: impl FnOnce(&mut Tree) -> Result<bool, Errno>,
    ) -> Result<(), HostError> {
        self.change(|| change(&mut self.0.tree.borrow_mut()).map_err(|errno| failed(operation, path, errno))).await
    }
}

#[cfg(test)]
impl FakeMachine {
    /// From now on, an archive has the digest of its content.
    pub(crate) fn stop_inventing_archives(&self) {
        self.0.any_archive.set(false);
    }

    /// Limits how many more bytes may be written.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.0.free.set(bytes);
    }
}

#[async_trait(?Send)]
impl Directories for FakeMachine {
    async fn unpack(&self, wanted: Unpacking) -> Result<Box<dyn Unpack>, UnpackError> {
        let made = self.change_directories("create directory", &wanted.into, |tree| {
            tree.remove_all(&wanted.into)?;
            tree.create_directory(&wanted.into, 0o700, (0, 0))
        });
        made.await.map_err(UnpackError::Host)?;
        Ok(Box::new(FakeUnpack { machine: self.clone(), wanted, content: Vec::new() }))
    }

    async fn put(&self, from: &Path, to: &Path) -> Result<(), HostError> {
        self.change_directories("replace", to, |tree| tree.put_directory(from, to)).await
    }

    async fn hand_over(&self, directory: &Path, attributes: Attributes) -> Result<(), HostError> {
        self.change_directories("set owner and mode of", directory, |tree| tree.hand_over(directory, attributes)).await
    }

    async fn remove(&self, directory: &Path) -> Result<(), HostError> {
        self.change_directories("remove", directory, |tree| tree.remove_all(directory)).await
    }

    async fn link(&self, at: &Path) -> Result<Option<PathBuf>, HostError> {
        self.alive().await;
        let tree = self.0.tree.borrow();
        Ok(match tree.node(at, false).map_err(|errno| failed("look at", at, errno))?.map(|node| &node.body) {
            Some(Body::Symlink(target)) => Some(target.clone()),
            _ => None,
        })
    }

    async fn switch(&self, link: &Path, target: &Path) -> Result<(), HostError> {
        self.change_directories("switch", link, |tree| tree.switch(link, target)).await
    }

    async fn free(&self, _directory: &Path) -> Result<u64, HostError> {
        self.alive().await;
        Ok(self.0.free.get())
    }
}

/// The processes and the periodic tasks of a release whose archive is not read.
const SAID: [(&str, &[u8]); 2] = [("Procfile", b"web: <the command of the release>\n"), ("cron.yaml", b"version: 1\ncron: []\n")];

#[cfg(test)]
impl FakeMachine {
    /// Adds a file to every invented release.
    pub(crate) fn add_to_releases(&self, path: &str, content: &str) {
        self.0.of_releases.borrow_mut().push((path.to_owned(), Some(content.to_owned())));
    }

    /// Removes a file from every invented release.
    pub(crate) fn leave_out_of_releases(&self, path: &str) {
        self.0.of_releases.borrow_mut().push((path.to_owned(), None));
    }
}

struct FakeUnpack {
    machine: FakeMachine,
    wanted: Unpacking,
    content: Vec<u8>,
}

#[async_trait(?Send)]
impl Unpack for FakeUnpack {
    async fn push(&mut self, bytes: Bytes) -> Result<(), UnpackError> {
        self.machine.alive().await;
        self.content.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Unpacked, UnpackError> {
        let Self { machine, wanted, content } = *self;
        let (found, bytes) = (Sha256::of(&content), content.len() as u64);
        let sha256 = match wanted.sha256 {
            Some(asked) if machine.0.any_archive.get() => asked,
            Some(asked) if asked != found => return Err(UnpackError::Digest { wanted: asked, found }),
            _ => found,
        };
        let (name, mode) = match &wanted.form {
            Form::Archive { .. } => (CONTENT, 0o644),
            Form::File { name, mode, .. } => (name.as_str(), *mode),
        };
        let path = wanted.into.join(name);
        let is_invented = matches!(wanted.form, Form::Archive { .. }) && machine.0.any_archive.get();
        let made = machine.change_directories("write", &path, |tree| {
            tree.stage(&path, &content, Attributes { mode, ..wanted.attributes })?;
            if is_invented {
                let attributes = Attributes { mode, ..wanted.attributes };
                let own = machine.0.of_releases.borrow();
                for (name, content) in SAID.iter().filter(|(name, _)| !own.iter().any(|(own, _)| own == name)) {
                    tree.stage(&wanted.into.join(name), content, attributes)?;
                }
                for (name, content) in own.iter().filter_map(|(name, content)| Some((name, content.as_ref()?))) {
                    let path = wanted.into.join(name);
                    tree.create_directory(path.parent().unwrap_or(&path), 0o755, (0, 0))?;
                    tree.stage(&path, content.as_bytes(), attributes)?;
                }
            }
            tree.hand_over(&wanted.into, wanted.attributes)
        });
        made.await.map_err(UnpackError::Host)?;
        Ok(Unpacked { sha256, bytes, unpacked: bytes, warnings: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::unpack::disk::DiskDirectories;
    use crate::host::{Files, files::DiskFiles};

    /// Runs the same sequence of operations on both, and returns their answers, step by step.
    async fn story(directories: &dyn Directories, files: &dyn Files, owner: (u32, u32)) -> Vec<String> {
        let path = Path::new;
        let mut answers = Vec::new();
        let mut answer = |asked: &str, answer: Result<String, HostError>| {
            let answer = answer.unwrap_or_else(|error| format!("{:?}", crate::failure::Explanation::of(&error)));
            answers.push(format!("{asked}: {answer}"));
        };
        let done = |()| "done".to_owned();
        let attributes = Attributes { mode: 0o750, uid: owner.0, gid: owner.1 };
        for directory in ["/a/old/deep", "/a/new"] {
            files.create_directory(path(directory), 0o755).await.unwrap();
        }
        answer("put over", directories.put(path("/a/new"), path("/a/old")).await.map(done));
        answer("gone", files.list(path("/a")).await.map(|names| names.join(" ")));
        answer("inside", files.list(path("/a/old")).await.map(|names| names.join(" ")));
        answer("put nothing", directories.put(path("/a/new"), path("/a/x")).await.map(done));
        answer("rename", directories.put(path("/a/old"), path("/a/x")).await.map(done));
        answer("hand over", directories.hand_over(path("/a/x"), attributes).await.map(done));
        let mode = files.stat(path("/a/x")).await.map(|stat| format!("{:o}", stat.unwrap().attributes.mode));
        answer("mode", mode);
        answer("no link", directories.link(path("/a/current")).await.map(|link| format!("{link:?}")));
        answer("switch", directories.switch(path("/a/current"), path("x")).await.map(done));
        answer("switch again", directories.switch(path("/a/current"), path("y")).await.map(done));
        answer("link", directories.link(path("/a/current")).await.map(|link| format!("{link:?}")));
        answer("a directory is no link", directories.link(path("/a/x")).await.map(|link| format!("{link:?}")));
        answer("a link over a directory", directories.switch(path("/a/x"), path("y")).await.map(done));
        answer("remove", directories.remove(path("/a/x")).await.map(done));
        answer("remove nothing", directories.remove(path("/a/x")).await.map(done));
        answer("nowhere", directories.remove(path("/no/x")).await.map(done));
        answer("left", files.list(path("/a")).await.map(|names| names.join(" ")));
        answers
    }

    #[tokio::test]
    async fn answers_as_a_disk_does() {
        let root = tempfile::tempdir().unwrap();
        let (directories, files) = (DiskDirectories::new(Some(root.path().into())), DiskFiles::new(Some(root.path().into())));
        let machine = FakeMachine::new_instance();
        let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let without_staged =
            |answers: Vec<String>| answers.into_iter().map(|line| line.replace(".ingot-staged.x ", "")).collect::<Vec<_>>();
        assert_eq!(story(&machine, &machine, (0, 0)).await, without_staged(story(&directories, &files, own).await));
    }
}
