//! Whole directories: unpacking them from an archive while it is downloaded, renaming, changing the owner, removing;
//! and the symbolic links that point to the current one.
//!
//! Formats are detected by content: tar, plain or compressed with gzip or zstd, and zip. Nothing in an archive can
//! reach outside the directory that is being created: [`entry`] checks names, links and modes, and [`mod@write`] works
//! relative to a descriptor out of which the kernel allows no path. Links may point outside only if the document names
//! them: see [`links`].
//!
//! `bundles:` decides which archive is unpacked, and when its directory becomes current.

// Only openat2(2) of Linux keeps an archive in its directory. Archives are judged on every system.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/directories.rs")]
pub(crate) mod disk;
mod entry;
mod error;
mod feed;
mod format;
pub(crate) mod judge;
mod limit;
mod links;
mod members;
mod read;
mod sink;
mod tar;
#[cfg(target_os = "linux")]
mod write;
mod zip;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

pub(crate) use self::error::UnpackError;
pub(crate) use self::format::{Foreign, Format, of as format_of};
pub(crate) use self::links::Links;
use super::attributes::Attributes;
use super::error::HostError;
use crate::digest::Sha256;

/// Operations on directories and on links to them. Paths are as in [`Files`](super::Files).
#[async_trait(?Send)]
pub(crate) trait Directories {
    /// Starts to unpack an archive into a new directory; an existing one is removed first.
    async fn unpack(&self, wanted: Unpacking) -> Result<Box<dyn Unpack>, UnpackError>;

    /// Renames a directory. A directory that has the new name already is removed after the rename.
    async fn put(&self, from: &Path, to: &Path) -> Result<(), HostError>;

    /// Changes the owner of a directory and everything in it; `mode` is that of the directory itself.
    async fn hand_over(&self, directory: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Removes a directory with everything in it. Does nothing if it does not exist.
    async fn remove(&self, directory: &Path) -> Result<(), HostError>;

    /// The target of a symbolic link. `None` if `at` does not exist or is not a link.
    async fn link(&self, at: &Path) -> Result<Option<PathBuf>, HostError>;

    /// Makes a symbolic link point to `target`, atomically.
    async fn switch(&self, link: &Path, target: &Path) -> Result<(), HostError>;

    /// The number of bytes that can be written to the filesystem of a directory, or of its nearest existing parent.
    async fn free(&self, directory: &Path) -> Result<u64, HostError>;
}

/// An archive that is being unpacked. Dropping it stops the work soon and leaves the directory incomplete.
#[async_trait(?Send)]
pub(crate) trait Unpack {
    /// Accepts the next bytes of the archive; waits while too many are pending.
    async fn push(&mut self, bytes: Bytes) -> Result<(), UnpackError>;

    /// Marks the end of the archive, and waits until everything is on disk.
    async fn finish(self: Box<Self>) -> Result<Unpacked, UnpackError>;
}

/// What to unpack, and how.
#[derive(Debug, Clone)]
pub(crate) struct Unpacking {
    /// The directory to create.
    pub(crate) into: PathBuf,
    /// The owner of everything in it; `mode` is that of the directory itself.
    pub(crate) attributes: Attributes,
    pub(crate) form: Form,
    /// The expected digest of the archive.
    pub(crate) sha256: Option<Sha256>,
    /// The length of the archive in bytes, if known.
    pub(crate) length: Option<u64>,
    /// The limit on the unpacked size in bytes; `None` for the default, which depends on the archive's length.
    pub(crate) limit: Option<u64>,
}

/// What the directory is made from.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Archive {
        /// How many leading directories are removed from each name.
        strip_components: usize,
        links: Links,
    },
    /// A single file, which is not unpacked.
    File {
        /// Its name in the directory, without slashes.
        name: String,
        mode: u32,
        /// How it is compressed, if it is to be decompressed.
        compression: Option<Compression>,
    },
}

/// How a single file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

/// The result of unpacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) sha256: Sha256,
    /// Length of the archive, in bytes.
    pub(crate) bytes: u64,
    /// Size of the unpacked content, in bytes.
    pub(crate) unpacked: u64,
    /// Problems that an operator should know about but that do not prevent unpacking.
    pub(crate) warnings: Vec<String>,
}
