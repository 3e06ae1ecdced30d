//! The interface for code that processes the files of an image.

use std::io;
use std::path::Path;

use super::parts::Part;

/// Receives the files of an image.
pub(crate) trait Reader: Sync {
    /// State of one file, passed from part to part.
    type Notes: Default;

    /// Whether a file is to be read.
    fn wants(&self, file: &Seen<'_>, notes: &mut Self::Notes) -> bool;

    /// Receives the next part of a file.
    fn take(&self, file: &Seen<'_>, part: &Part<'_>, notes: &mut Self::Notes);

    /// Called after the last part of a file, whether the file was wanted or not.
    fn end(&self, file: &Seen<'_>, notes: Self::Notes);

    /// Called if part of a file could not be searched, with the reason.
    fn skipped(&self, path: &Path, why: String);

    /// Called if a file or a directory cannot be read.
    fn failed(&self, path: &Path, error: &io::Error);
}

/// A file, or a member of an archive.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// The path in the image.
    pub(crate) path: &'a Path,
    /// When its content was last changed, in seconds since 1970.
    pub(crate) modified: i64,
    /// The member's name in the archive at `path`. Empty if members have no names there.
    pub(crate) member: Option<&'a str>,
}

/// How much was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}
