//! Reads files and devices for the sake of having read them: a volume that is restored from a snapshot fetches each of
//! its blocks when that is first read, and later reads of it are fast.
//!
//! [`selection`] says which files are meant. Nothing that is read is kept.

mod extents;
mod fiemap;
mod pace;
pub(crate) mod selection;
mod tally;
pub(super) mod threads;
mod walk;
mod workers;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use self::selection::Selection;
use super::disks::Device;
use super::error::HostError;
use super::lock::Holder;

/// Reads what is mounted on this machine.
#[async_trait(?Send)]
pub(crate) trait Reading {
    /// Reads files. Dropping the future ends the reading soon.
    ///
    /// # Errors
    ///
    /// If the mount itself cannot be read. A file that cannot is counted in [`WasRead::failed`].
    async fn files(&self, wanted: &FilesToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError>;

    /// Reads a device from its beginning to its end, at the lowest priority there is, but for what
    /// [`files`](Reading::files) of this process has read of it. Dropping the future ends the reading soon.
    async fn device(&self, wanted: &DeviceToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError>;

    /// Which process has claimed `name`; `None` if no one has.
    async fn claimed(&self, name: &str) -> Result<Option<Holder>, HostError>;

    /// Claims `name` for this process, until what is returned is dropped. `None` if another process has it.
    async fn claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, HostError>;
}

/// A claim, which lasts until it is dropped.
pub(crate) trait Claim: fmt::Debug {}

/// Is told how many bytes have been read, and how many there are to read, as far as is known. Has a name of its own
/// because `async_trait` would give the lifetimes of a function's type names of their own.
pub(crate) type OnAdvance<'a> = &'a dyn Fn(u64, u64);

/// Files of one mount.
#[derive(Debug, Clone)]
pub(crate) struct FilesToRead {
    /// Where it is mounted.
    pub(crate) at: PathBuf,
    pub(crate) selection: Selection,
    /// The device on which the extents of files lie, as the filesystem numbers them; it is read in place of the files.
    /// `None` where there is none: the files are read.
    pub(crate) device: Option<Device>,
    /// Whether what is read is to stay in memory. The files are read then, too.
    pub(crate) into_cache: bool,
    /// How many reads are made at the same time.
    pub(crate) in_flight: usize,
}

/// All of a device.
#[derive(Debug, Clone)]
pub(crate) struct DeviceToRead {
    pub(crate) device: Device,
    pub(crate) in_flight: usize,
    /// MiB a second, at most.
    pub(crate) mib_s: u64,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WasRead {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// How many reads, or files, failed.
    pub(crate) failed: u64,
    /// The first failure, in words.
    pub(crate) first_failure: Option<String>,
    /// The patterns that nothing was found for, by their place in the selection.
    pub(crate) unmatched: Vec<usize>,
}
