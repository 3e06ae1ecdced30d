//! What is mounted where, and swap.

mod call;
mod kernel;
mod kernel_log;
mod mountinfo;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::mount::MsFlags;

use super::disks::{Device, DeviceNumber};
use super::{Files, HostError};

pub(crate) use kernel::KernelMounts;

/// The mounts and swap areas of this machine.
#[async_trait(?Send)]
pub(crate) trait Mounts {
    /// Everything that is mounted, in the order in which it was; of two on one path the later one is seen.
    /// With `--root`, what `/` lies on there, and what lies below it, with paths as the document says them.
    async fn table(&self) -> Result<Vec<Mounted>, HostError>;

    /// mount(2). A device is compared with what is there while it is held open, and once more afterwards: if another one
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

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
    /// The part of the filesystem that is seen there: `/`, or the directory that a bind mount shows, by its path in that
    /// filesystem: of a bind mount of /srv/a/b, where /srv is a mount itself, `/a/b`.
    pub(crate) root: PathBuf,
    /// The block device; of btrfs the one that `source` names; a number of the kernel's own (major 0) where there is none.
    pub(crate) device: DeviceNumber,
    pub(crate) filesystem: String,
    /// What was given to mount(2), such as `/dev/nvme1n1`.
    pub(crate) source: String,
    /// Of this mount, as the kernel prints them: `rw`, `noatime` …; `ro` too where the whole filesystem is read-only.
    pub(crate) options: Vec<String>,
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

/// The mount that is at `path`, where symbolic links may lead there.
pub(crate) async fn seen<'t>(table: &'t [Mounted], path: &Path, files: &dyn Files) -> Result<Option<&'t Mounted>, HostError> {
    match at(table, path) {
        None => Ok(at(table, &files.resolved(path).await?)),
        found => Ok(found),
    }
}

/// The mount that is at `path` itself, which has no symbolic links in it. See [`Mounts::table`] for which of two.
///
/// One that lies below what was mounted later is hidden: nobody sees it.
pub(crate) fn at<'t>(table: &'t [Mounted], path: &Path) -> Option<&'t Mounted> {
    table.iter().rev().find(|mounted| path.starts_with(&mounted.at)).filter(|mounted| mounted.at == path)
}

/// Where a device is mounted as a whole.
pub(super) fn places_of(device: DeviceNumber) -> Result<Vec<PathBuf>, HostError> {
    let mounted = kernel::lines()?.into_iter().map(|line| line.mounted);
    Ok(mounted.filter(|mounted| mounted.device == device && mounted.root == Path::new("/")).map(|mounted| mounted.at).collect())
}
