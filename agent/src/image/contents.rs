//! Reads the files of an image, many at a time, each in parts of a bounded size.
//!
//! What is below a root and belongs to the image: no filesystem of the kernel's own, of another machine or of a package
//! (`mounted`), no symbolic link is followed, nothing but a file is opened, and a file of several names is read by one of
//! them. Which files are worth reading, and what is made of them, is the business of a [`Reader`].

mod mounted;
mod packages;
mod parts;
mod walk;

use std::io;
use std::path::Path;

pub(crate) use packages::{Owned, SYSTEM, owned};
pub(crate) use parts::Part;
pub(crate) use walk::read;

/// Takes what is read.
pub(crate) trait Reader: Sync {
    /// What is kept of a file from part to part.
    type Notes: Default;

    /// Whether a file is to be read.
    fn wants(&self, file: &Seen<'_>, notes: &mut Self::Notes) -> bool;

    /// Takes the next part of a file.
    fn take(&self, file: &Seen<'_>, part: &Part<'_>, notes: &mut Self::Notes);

    /// Is told that there is nothing more of a file, wanted or not.
    fn end(&self, file: &Seen<'_>, notes: Self::Notes);

    /// Is told that a file or a directory cannot be read.
    fn failed(&self, path: &Path, error: &io::Error);
}

/// A file.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// As the image names it.
    pub(crate) path: &'a Path,
    /// When its content was last changed, in seconds.
    pub(crate) modified: i64,
}

/// How much was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}
