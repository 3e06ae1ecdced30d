//! A path in an image, and what is there, on every system.

use std::path::{Path, PathBuf};

use crate::host::FileKind;

/// A path in an image, in two parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    /// A directory, or `/`. Symbolic links in it are followed, as they would be in the running image.
    pub(super) base: PathBuf,
    /// The path below it. The owner of a directory in it could have placed a link there, so links are not followed.
    pub(super) rest: PathBuf,
}

impl Spot {
    /// `rest` below the directory `base`; together they form one absolute path.
    pub(crate) fn below(base: &Path, rest: impl Into<PathBuf>) -> Self {
        Self { base: base.to_owned(), rest: rest.into() }
    }

    /// A fixed absolute path.
    pub(crate) fn of(path: &Path) -> Self {
        Self::below(path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default())
    }

    /// The path in the image.
    pub(crate) fn path(&self) -> PathBuf {
        if self.rest.as_os_str().is_empty() { self.base.clone() } else { self.base.join(&self.rest) }
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> Self {
        Self { base: self.base.clone(), rest: self.rest.join(name) }
    }
}

/// What is at a path, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: FileKind,
    pub(crate) size: u64,
}
