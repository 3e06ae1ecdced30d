//! The disks that are really there.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Content, Device, Disk, DiskWatch, Disks, Filesystem, NewFilesystem, Wanted};
use crate::host::{Commands, HostError};

pub(crate) struct AttachedDisks {
    commands: Rc<dyn Commands>,
}

impl AttachedDisks {
    pub(crate) fn new(commands: Rc<dyn Commands>) -> Self {
        Self { commands }
    }
}

fn unsupported(path: &Path) -> HostError {
    HostError::Path { operation: "use", path: path.to_owned(), source: std::io::ErrorKind::Unsupported.into() }
}

#[async_trait(?Send)]
impl Disks for AttachedDisks {
    async fn all(&self) -> Result<Vec<Disk>, HostError> {
        let _ = &self.commands;
        Err(unsupported(Path::new("/sys/block")))
    }
    async fn find(&self, _wanted: &Wanted) -> Result<Option<Disk>, HostError> {
        Err(unsupported(Path::new("/sys/block")))
    }
    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError> {
        Err(unsupported(node))
    }
    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError> {
        Err(unsupported(Path::new("/sys/block")))
    }
    async fn content(&self, node: &Path) -> Result<Content, HostError> {
        Err(unsupported(node))
    }
    async fn make_filesystem(&self, device: &Device, _new: &NewFilesystem, _timeout: Duration) -> Result<(), HostError> {
        Err(unsupported(&device.node))
    }
    async fn check(&self, device: &Device, _filesystem: Filesystem, _timeout: Duration) -> Result<(), HostError> {
        Err(unsupported(&device.node))
    }
    async fn mounted_size(&self, device: &Device, _filesystem: Filesystem, _at: &Path) -> Result<u64, HostError> {
        Err(unsupported(&device.node))
    }
    async fn grow(&self, device: &Device, _filesystem: Filesystem, _at: &Path, _timeout: Duration) -> Result<(), HostError> {
        Err(unsupported(&device.node))
    }
}
