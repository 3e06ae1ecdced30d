//! The file tree of a machine in memory, by the rules of the kernel.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::digest::Sha256;
use crate::host::{Attributes, HostError};

/// Linux follows at most this many symbolic links in one path (path_resolution(7)).
const LINKS: u32 = 40;

#[derive(Debug)]
pub(super) struct Tree {
    /// By real path. The parent of every node is a directory in this map. Keys are compared as bytes, because comparing
    /// paths component by component takes ten times as long.
    nodes: BTreeMap<OsString, Node>,
    /// The last value given out as an inode number or a change time.
    moment: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) attributes: Attributes,
    pub(super) inode: u64,
    pub(super) changed: u64,
}

#[derive(Clone)]
pub(super) enum Body {
    File(Zeroizing<Vec<u8>>),
    Directory,
    Symlink(PathBuf),
}

impl Default for Tree {
    fn default() -> Self {
        let root = Node { body: Body::Directory, attributes: rooted(0o755), inode: 1, changed: 1 };
        Self { nodes: BTreeMap::from([("/".into(), root)]), moment: 1 }
    }
}

impl Tree {
    pub(super) fn add_file(&mut self, path: &Path, content: &[u8]) {
        self.add(path, Body::File(content.to_vec().into()), rooted(0o644));
    }

    pub(super) fn add_directory(&mut self, path: &Path) {
        if !self.nodes.contains_key(path.as_os_str()) {
            self.add(path, Body::Directory, rooted(if path == Path::new("/tmp") { 0o1777 } else { 0o755 }));
        }
    }

    pub(super) fn add_link(&mut self, path: &Path, target: &Path) {
        self.add(path, Body::Symlink(target.to_owned()), rooted(0o777));
    }

    fn add(&mut self, path: &Path, body: Body, attributes: Attributes) {
        if let Some(parent) = path.parent() {
            self.add_directory(parent);
        }
        self.put(path.components().collect(), body, attributes);
    }

    pub(super) fn file(&self, path: &Path) -> Option<(String, Attributes)> {
        let node = self.at(&self.resolve(path, true).ok()?)?;
        match &node.body {
            Body::File(content) => Some((String::from_utf8_lossy(content).into_owned(), node.attributes)),
            Body::Directory | Body::Symlink(_) => None,
        }
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.nodes.iter().filter(|(_, node)| matches!(node.body, Body::File(_))).map(|(path, _)| path.into()).collect()
    }

    /// Empties directories.
    pub(super) fn clear(&mut self, directories: &[&Path]) {
        self.nodes
            .retain(|path, _| !directories.iter().any(|directory| Path::new(path) != *directory && Path::new(path).starts_with(directory)));
    }

    pub(super) fn describe(&self, lines: &mut BTreeMap<String, String>) {
        for (path, node) in &self.nodes {
            let Attributes { mode, uid, gid } = node.attributes;
            let body = match &node.body {
                Body::File(content) => {
                    let digest = Sha256::of(content).short(6);
                    format!("file, {} bytes, sha256 {digest}…", content.len())
                }
                Body::Directory => "directory".to_owned(),
                Body::Symlink(target) => format!("link to {}", target.display()),
            };
            lines.insert(Path::new(path).display().to_string(), format!("{mode:04o} {uid}:{gid} {body}"));
        }
    }

    /// The real path: all links are resolved, except a last one unless `follow`. The last component need not exist.
    fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf, Errno> {
        let mut rest: VecDeque<OsString> = parts(path);
        let mut real = PathBuf::from("/");
        let mut links = 0;
        let mut here = self.body(&real);
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                real.pop();
                here = self.body(&real);
                continue;
            }
            match here {
                Some(Body::Directory) => {}
                Some(_) => return Err(Errno::ENOTDIR),
                None => return Err(Errno::ENOENT),
            }
            real.push(part);
            here = self.body(&real);
            let Some(Body::Symlink(target)) = here else { continue };
            if rest.is_empty() && !follow {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::ELOOP);
            }
            real.pop();
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            here = self.body(&real);
            parts(target).into_iter().rev().for_each(|part| rest.push_front(part));
        }
        Ok(real)
    }

    /// The node at a real path.
    fn at(&self, real: &Path) -> Option<&Node> {
        self.nodes.get(real.as_os_str())
    }

    fn body(&self, real: &Path) -> Option<&Body> {
        self.at(real).map(|node| &node.body)
    }

    /// The real path, as far as the path exists.
    pub(super) fn resolved(&self, path: &Path) -> Result<PathBuf, Errno> {
        for known in path.ancestors() {
            if self.node(known, true)?.is_some() {
                let rest = path.strip_prefix(known).unwrap_or(Path::new(""));
                return Ok(self.resolve(known, true)?.components().chain(rest.components()).collect());
            }
        }
        Ok(path.to_owned())
    }

    pub(super) fn node(&self, path: &Path, follow: bool) -> Result<Option<&Node>, Errno> {
        match self.resolve(path, follow) {
            Ok(real) => Ok(self.at(&real)),
            Err(Errno::ENOENT) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The real path at which a node may be created: its directory exists.
    fn place(&self, path: &Path) -> Result<PathBuf, Errno> {
        let real = self.resolve(path, false)?;
        match real.parent().map(|parent| self.at(parent)) {
            Some(Some(_)) => Ok(real),
            Some(None) => Err(Errno::ENOENT),
            None => Err(Errno::EISDIR),
        }
    }

    /// The names in a directory, in order.
    pub(super) fn names(&self, directory: &Path) -> Result<Vec<String>, Errno> {
        let real = self.resolve(directory, true)?;
        let inside = self.nodes.keys().map(Path::new).filter(|path| path.parent() == Some(&real));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    pub(super) fn is_directory(&self, real: &Path) -> bool {
        self.body(real).is_some_and(|body| matches!(body, Body::Directory))
    }

    fn put(&mut self, real: PathBuf, body: Body, attributes: Attributes) {
        self.moment += 1;
        self.nodes.insert(real.into(), Node { body, attributes, inode: self.moment, changed: self.moment });
    }

    pub(super) fn stage(&mut self, staged: &Path, content: &[u8], attributes: Attributes) -> Result<bool, Errno> {
        let real = self.place(staged)?;
        if self.is_directory(&real) {
            return Err(Errno::EISDIR);
        }
        self.put(real, Body::File(content.to_vec().into()), attributes);
        Ok(true)
    }

    pub(super) fn install(&mut self, staged: &Path, path: &Path) -> Result<bool, Errno> {
        let (from, to) = (self.place(staged)?, self.place(path)?);
        let node = self.at(&from).ok_or(Errno::ENOENT)?;
        if matches!(node.body, Body::Directory) {
            // Renaming a directory would have to move everything below it, and no caller renames one.
            return Err(Errno::EXDEV);
        }
        if self.is_directory(&to) {
            return Err(Errno::EISDIR);
        }
        if let Some(mut node) = self.nodes.remove(from.as_os_str()) {
            self.moment += 1;
            node.changed = self.moment;
            self.nodes.insert(to.into(), node);
        }
        Ok(true)
    }

    pub(super) fn create_directory(&mut self, path: &Path, mode: u32, (uid, gid): (u32, u32)) -> Result<bool, Errno> {
        let mut missing = Vec::new();
        for part in path.ancestors() {
            match self.resolve(part, true).map(|real| self.at(&real)) {
                Ok(Some(Node { body: Body::Directory, .. })) => break,
                Ok(Some(_)) => return Err(Errno::ENOTDIR),
                Ok(None) | Err(Errno::ENOENT) => missing.push(part),
                Err(other) => return Err(other),
            }
        }
        for part in missing.iter().rev() {
            let real = self.place(part)?;
            if self.at(&real).is_some() {
                // A dangling link.
                return Err(Errno::ENOENT);
            }
            self.put(real, Body::Directory, Attributes { mode, uid, gid });
        }
        Ok(!missing.is_empty())
    }

    pub(super) fn set_attributes(&mut self, path: &Path, attributes: Attributes) -> Result<bool, Errno> {
        let real = self.resolve(path, false)?;
        self.moment += 1;
        let node = self.nodes.get_mut(real.as_os_str()).ok_or(Errno::ENOENT)?;
        if matches!(node.body, Body::Symlink(_)) {
            return Err(Errno::ELOOP);
        }
        let differs = node.attributes != attributes;
        if differs {
            node.attributes = attributes;
            node.changed = self.moment;
        }
        Ok(differs)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<bool, Errno> {
        let real = match self.place(path) {
            Err(Errno::ENOENT) => return Ok(false),
            place => place?,
        };
        if self.is_directory(&real) {
            return Err(Errno::EISDIR);
        }
        Ok(self.nodes.remove(real.as_os_str()).is_some())
    }

    /// Removes `path` and everything below it. Returns whether there was anything.
    pub(super) fn remove_all(&mut self, path: &Path) -> Result<bool, Errno> {
        let real = match self.place(path) {
            Err(Errno::ENOENT) => return Ok(false),
            place => place?,
        };
        let before = self.nodes.len();
        self.nodes.retain(|path, _| !Path::new(path).starts_with(&real));
        Ok(self.nodes.len() < before)
    }

    /// Renames a directory, replacing what has that name.
    pub(super) fn put_directory(&mut self, from: &Path, to: &Path) -> Result<bool, Errno> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        if self.at(&from).is_none() {
            return Err(Errno::ENOENT);
        }
        self.nodes.retain(|path, _| !Path::new(path).starts_with(&to));
        let moved: Vec<PathBuf> = self.nodes.keys().map(PathBuf::from).filter(|path| path.starts_with(&from)).collect();
        for path in moved {
            let rest = path.strip_prefix(&from).unwrap_or(Path::new("")).to_owned();
            if let Some(node) = self.nodes.remove(path.as_os_str()) {
                let path: PathBuf = to.components().chain(rest.components()).collect();
                self.nodes.insert(path.into(), node);
            }
        }
        Ok(true)
    }

    pub(super) fn hand_over(&mut self, directory: &Path, attributes: Attributes) -> Result<bool, Errno> {
        let real = self.resolve(directory, true)?;
        if !self.is_directory(&real) {
            return Err(Errno::ENOENT);
        }
        for (path, node) in self.nodes.iter_mut().filter(|(path, _)| Path::new(path).starts_with(&real)) {
            let mode = if Path::new(path) == real { attributes.mode } else { node.attributes.mode };
            node.attributes = Attributes { mode, ..attributes };
        }
        Ok(true)
    }

    /// Makes a link point to `target`.
    pub(super) fn switch(&mut self, link: &Path, target: &Path) -> Result<bool, Errno> {
        let real = self.place(link)?;
        if self.is_directory(&real) {
            return Err(Errno::EISDIR);
        }
        self.put(real, Body::Symlink(target.to_owned()), rooted(0o777));
        Ok(true)
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

pub(super) fn rooted(mode: u32) -> Attributes {
    Attributes { mode, uid: 0, gid: 0 }
}

/// Shows the size, never the content.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(content) => write!(f, "File({} bytes)", content.len()),
            Self::Directory => f.write_str("Directory"),
            Self::Symlink(target) => write!(f, "Symlink({})", target.display()),
        }
    }
}

/// The error that the kernel returns for an operation on a path.
pub(super) fn failed(operation: &'static str, path: &Path, errno: Errno) -> HostError {
    crate::host::tree::failed(operation, path, errno.into())
}
