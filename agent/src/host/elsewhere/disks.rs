//! Disks on a system other than Linux: ingot neither finds nor changes them.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::host::calls::refused;
use crate::host::commands::Commands;
use crate::host::disks::{Content, Device, Disk, DiskWatch, Disks, Filesystem, NewFilesystem, Wanted};
use crate::host::error::HostError;

/// The directory of the devices, for messages.
const DEVICES: &str = "/dev";

pub(crate) struct AttachedDisks;

impl AttachedDisks {
    pub(crate) fn new(_commands: Rc<dyn Commands>) -> Self {
        Self
    }
}

#[async_trait(?Send)]
impl Disks for AttachedDisks {
    async fn all(&self) -> Result<Vec<Disk>, HostError> {
        Err(refused("list the disks of", Path::new(DEVICES)))
    }

    async fn find(&self, _wanted: &Wanted) -> Result<Option<Disk>, HostError> {
        Err(refused("list the disks of", Path::new(DEVICES)))
    }

    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError> {
        Err(refused("inspect", node))
    }

    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError> {
        Err(refused("watch", Path::new(DEVICES)))
    }

    async fn content(&self, node: &Path) -> Result<Content, HostError> {
        Err(refused("read", node))
    }

    async fn make_filesystem(&self, device: &Device, _new: &NewFilesystem, _timeout: Duration) -> Result<(), HostError> {
        Err(refused("make a filesystem on", &device.node))
    }

    async fn check(&self, device: &Device, _filesystem: Filesystem, _timeout: Duration) -> Result<(), HostError> {
        Err(refused("check", &device.node))
    }

    async fn grow(&self, device: &Device, _filesystem: Filesystem, _at: &Path, _timeout: Duration) -> Result<(), HostError> {
        Err(refused("grow the filesystem on", &device.node))
    }
}
