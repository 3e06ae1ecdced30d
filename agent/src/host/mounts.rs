//! What is mounted where, and swap.

mod call;
pub(super) mod kernel;
mod kernel_log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::mount::MsFlags;

use super::device_number::DeviceNumber;
use super::disks::Device;
use super::error::HostError;
use super::files::Files;
pub(crate) use super::mountinfo::Mounted;

/// The mounts and swap areas of this machine.
#[async_trait(?Send)]
pub(crate) trait Mounts {
    /// Everything that is mounted, in the order in which it was; of two on one path the later one is seen.
    /// With `--root`, what `/` lies on there, and what lies below it, with paths as the document says them.
    async fn table(&self) -> Result<Vec<Mounted>, HostError>;

    /// mount(2). A device is compared with what is there while it is held open, and again afterwards: if another one
    /// was mounted all the same, it is unmounted, and this fails.
    async fn mount(&self, call: &MountCall) -> Result<(), HostError>;

    /// Mounts by a program of the system, such as mount.nfs4, which gets `data` as its options.
    async fn mount_by(&self, program: &str, call: &MountCall, timeout: Duration) -> Result<(), HostError>;

    /// umount(2), without force: one that is in use stays.
    async fn unmount(&self, at: &Path) -> Result<(), HostError>;

    /// The block devices that are swapped on.
    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError>;

    /// swapon(2), with the priority of a number, or the kernel's own.
    async fn swap_on(&self, device: &Device, priority: Option<u16>) -> Result<(), HostError>;
}

/// One call of mount(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountCall {
    pub(crate) source: String,
    /// The device that `source` names, where it is one.
    pub(crate) device: Option<Device>,
    pub(crate) at: PathBuf,
    /// Empty for a bind mount and a remount.
    pub(crate) filesystem: String,
    pub(crate) flags: MsFlags,
    /// What the filesystem itself is told, separated by commas.
    pub(crate) data: String,
}

/// The mount that is at `path`, where symbolic links may lead there that no other user can have laid.
pub(crate) async fn seen<'t>(table: &'t [Mounted], path: &Path, files: &dyn Files) -> Result<Option<&'t Mounted>, HostError> {
    match at(table, path) {
        None => Ok(at(table, &files.mount_point(path).await?)),
        found => Ok(found),
    }
}

/// The mount that is at `path` itself, which has no symbolic links in it. See [`Mounts::table`] for which of two.
///
/// One that lies below what was mounted later is hidden: no one sees it.
pub(crate) fn at<'t>(table: &'t [Mounted], path: &Path) -> Option<&'t Mounted> {
    table.iter().rev().find(|mounted| path.starts_with(&mounted.at)).filter(|mounted| mounted.at == path)
}
