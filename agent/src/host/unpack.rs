//! Whole directories: unpacked from an archive while it comes, put in place, handed over, removed; and the links by which
//! others find the one that counts.
//!
//! Formats are known by their content: tar, alone or in gzip or zstd, and zip. Nothing an archive says can reach outside
//! the directory that is being made: [`entry`] judges names, links and modes, and [`mod@write`] works below a descriptor that
//! the kernel lets nothing out of. Links may leave it only where the document names them: see [`links`].
//!
//! Which archive, and when its directory counts, is the business of `bundles:`.

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

/// Makes directories and links to them. Paths are as in [`Files`](super::Files).
#[async_trait(?Send)]
pub(crate) trait Directories {
    /// Begins to unpack an archive into a directory of its own, which is made again.
    async fn unpack(&self, wanted: Unpacking) -> Result<Box<dyn Unpack>, UnpackError>;

    /// Gives a directory another name. What has that name already is removed, once the new one has it.
    async fn put(&self, from: &Path, to: &Path) -> Result<(), HostError>;

    /// Gives a directory, and all that is in it, to a user and a group; `mode` is that of the directory itself.
    async fn hand_over(&self, directory: &Path, attributes: Attributes) -> Result<(), HostError>;

    /// Removes a directory with all that is in it. Does nothing if there is none.
    async fn remove(&self, directory: &Path) -> Result<(), HostError>;

    /// Where a symbolic link leads. `None` if there is none, or something else.
    async fn link(&self, at: &Path) -> Result<Option<PathBuf>, HostError>;

    /// Has a symbolic link lead to `target`, from one moment to the next.
    async fn switch(&self, link: &Path, target: &Path) -> Result<(), HostError>;

    /// How many bytes may be written to the filesystem of a directory, or of the nearest one above it that is there.
    async fn free(&self, directory: &Path) -> Result<u64, HostError>;
}

/// An archive that is being unpacked. Dropping it ends that soon, and leaves the directory as it is by then.
#[async_trait(?Send)]
pub(crate) trait Unpack {
    /// Takes in the next bytes of the archive; waits while there are too many already.
    async fn push(&mut self, bytes: Bytes) -> Result<(), UnpackError>;

    /// Says that this was all, and waits until everything is on disk.
    async fn finish(self: Box<Self>) -> Result<Unpacked, UnpackError>;
}

/// What is to be unpacked, and how.
#[derive(Debug, Clone)]
pub(crate) struct Unpacking {
    /// The directory to make.
    pub(crate) into: PathBuf,
    /// Who gets all of it; `mode` is that of the directory itself.
    pub(crate) attributes: Attributes,
    pub(crate) form: Form,
    /// The digest of the archive.
    pub(crate) sha256: Option<Sha256>,
    /// The length of the archive in bytes, where it is known.
    pub(crate) length: Option<u64>,
    /// How many bytes may come of it; `None` for what is usual for an archive of its length.
    pub(crate) limit: Option<u64>,
}

/// What the directory is made of.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    Archive {
        /// How many directories are taken off the beginning of each name.
        strip_components: usize,
        links: Links,
    },
    /// The only file of the directory, which is not unpacked.
    File {
        /// Its name in the directory, without a slash.
        name: String,
        mode: u32,
        /// What it is decompressed from.
        compression: Option<Compression>,
    },
}

/// How a single file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) sha256: Sha256,
    /// Length of the archive.
    pub(crate) bytes: u64,
    /// What came of it, in bytes.
    pub(crate) unpacked: u64,
    /// What an operator should know, though it stops nothing.
    pub(crate) warnings: Vec<String>,
}
