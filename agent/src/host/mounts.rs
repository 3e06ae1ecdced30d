//! Mounts and swap areas.

// mount(2) is Linux's own.
#[cfg(target_os = "linux")]
mod call;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/mounts.rs")]
pub(super) mod kernel;
mod kernel_log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

pub(crate) use super::calls::MsFlags;
use super::device_number::DeviceNumber;
use super::disks::Device;
use super::error::HostError;
use super::files::Files;
pub(crate) use super::mountinfo::Mounted;

/// The mounts and swap areas of this machine.
#[async_trait(?Send)]
pub(crate) trait Mounts {
    /// All mounts, in the order in which they were mounted; of two at the same path, the later one is visible. With
    /// `--root`, the mount that contains its `/`, and the mounts below it, with paths as in the document.
    async fn table(&self) -> Result<Vec<Mounted>, HostError>;

    /// Calls mount(2). The device's identity is checked while it is held open, and again afterwards: if another device
    /// was mounted nevertheless, it is unmounted and this fails.
    async fn mount(&self, call: &MountCall) -> Result<(), HostError>;

    /// Mounts with a system program, such as mount.nfs4, which receives `data` as its options.
    async fn mount_by(&self, program: &str, call: &MountCall, timeout: Duration) -> Result<(), HostError>;

    /// Calls umount(2), without force: a mount that is in use stays.
    async fn unmount(&self, at: &Path) -> Result<(), HostError>;

    /// The block devices that are used as swap.
    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError>;

    /// Calls swapon(2), with the given priority or the kernel's default.
    async fn swap_on(&self, device: &Device, priority: Option<u16>) -> Result<(), HostError>;
}

/// One call of mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountCall {
    pub(crate) source: String,
    /// The device that `source` names, if it names one.
    pub(crate) device: Option<Device>,
    pub(crate) at: PathBuf,
    /// Empty for a bind mount and a remount.
    pub(crate) filesystem: String,
    pub(crate) flags: MsFlags,
    /// Options for the filesystem itself, separated by commas.
    pub(crate) data: String,
}

/// The mount at `path`, which may contain symbolic links unless another user could have created them.
pub(crate) async fn seen<'t>(table: &'t [Mounted], path: &Path, files: &dyn Files) -> Result<Option<&'t Mounted>, HostError> {
    match at(table, path) {
        None => Ok(at(table, &files.mount_point(path).await?)),
        found => Ok(found),
    }
}

/// The mount at `path` itself, which contains no symbolic links. If there are two, see [`Mounts::table`].
///
/// A mount below a later mount is hidden and does not count.
pub(crate) fn at<'t>(table: &'t [Mounted], path: &Path) -> Option<&'t Mounted> {
    table.iter().rev().find(|mounted| path.starts_with(&mounted.at)).filter(|mounted| mounted.at == path)
}
