//! Reads files and devices only in order to load them: a volume restored from a snapshot fetches each block when it is
//! first read, and later reads of that block are fast.
//!
//! [`selection`] determines the files. The content is discarded.

mod extents;
mod fiemap;
mod pace;
pub(crate) mod selection;
mod tally;
// Reading bypasses the cache with calls of Linux.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/reading.rs")]
pub(super) mod threads;
#[cfg(target_os = "linux")]
mod walk;
#[cfg(target_os = "linux")]
mod workers;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use self::selection::Selection;
use super::disks::Device;
use super::error::HostError;
use super::lock::Holder;

/// Reads mounted files and devices of this machine.
#[async_trait(?Send)]
pub(crate) trait Reading {
    /// Reads files. Dropping the future stops the reading soon.
    ///
    /// # Errors
    ///
    /// If the mount itself cannot be read. A file that cannot be read is counted in [`WasRead::failed`].
    async fn files(&self, wanted: &FilesToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError>;

    /// Reads a device from beginning to end at the lowest priority, except the parts that [`files`](Reading::files) has
    /// read in this process. Dropping the future stops the reading soon.
    async fn device(&self, wanted: &DeviceToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError>;

    /// The process that holds the claim `name`; `None` if none does.
    async fn claimed(&self, name: &str) -> Result<Option<Holder>, HostError>;

    /// Claims `name` for this process, until the returned value is dropped. `None` if another process holds it.
    async fn claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, HostError>;
}

/// A claim, which lasts until it is dropped.
pub(crate) trait Claim: fmt::Debug {}

/// Receives the number of bytes read and the number to read, as far as known. A named type, because `async_trait` would
/// name the lifetimes of the function type.
pub(crate) type OnAdvance<'a> = &'a dyn Fn(u64, u64);

/// Files to read on one mount.
#[derive(Debug, Clone)]
pub(crate) struct FilesToRead {
    /// The mount point.
    pub(crate) at: PathBuf,
    pub(crate) selection: Selection,
    /// The device that holds the extents of the files, as numbered by the filesystem; it is read instead of the files.
    /// `None` if there is none: then the files are read.
    pub(crate) device: Option<Device>,
    /// Whether the content should stay in the page cache. In that case, too, the files are read.
    pub(crate) into_cache: bool,
    /// The number of concurrent reads.
    pub(crate) in_flight: usize,
}

/// A whole device to read.
#[derive(Debug, Clone)]
pub(crate) struct DeviceToRead {
    pub(crate) device: Device,
    pub(crate) in_flight: usize,
    /// Maximum rate, in MiB per second.
    pub(crate) mib_s: u64,
}

/// The result of a reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WasRead {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// The number of failed reads or files.
    pub(crate) failed: u64,
    /// The message of the first failure.
    pub(crate) first_failure: Option<String>,
    /// Indices of the patterns in the selection that matched nothing.
    pub(crate) unmatched: Vec<usize>,
}
