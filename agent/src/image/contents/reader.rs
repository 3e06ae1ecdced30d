//! Who takes what is read of an image.

use std::io;
use std::path::Path;

use super::parts::Part;

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

    /// Is told that not all of a file could be searched, and why.
    fn skipped(&self, path: &Path, why: String);

    /// Is told that a file or a directory cannot be read.
    fn failed(&self, path: &Path, error: &io::Error);
}

/// A file, or what is packed in one.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// As the image names it.
    pub(crate) path: &'a Path,
    /// When its content was last changed, in seconds.
    pub(crate) modified: i64,
    /// What it is called in the archive at `path`. Nothing, where it has no name there.
    pub(crate) member: Option<&'a str>,
}

/// How much was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}
