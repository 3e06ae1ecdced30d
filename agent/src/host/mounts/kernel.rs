//! The mounts of the running kernel.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{MountCall, Mounted, Mounts};
use crate::host::HostError;
use crate::host::disks::{Device, DeviceNumber};

pub(crate) struct KernelMounts {
    root: Option<PathBuf>,
}

impl KernelMounts {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }
}

fn unsupported(path: &Path) -> HostError {
    HostError::Path { operation: "use", path: path.to_owned(), source: std::io::ErrorKind::Unsupported.into() }
}

#[async_trait(?Send)]
impl Mounts for KernelMounts {
    async fn table(&self) -> Result<Vec<Mounted>, HostError> {
        let _ = &self.root;
        Err(unsupported(Path::new("/proc/self/mountinfo")))
    }
    async fn mount(&self, call: &MountCall) -> Result<(), HostError> {
        Err(unsupported(&call.at))
    }
    async fn mount_by(&self, _program: &str, call: &MountCall, _timeout: std::time::Duration) -> Result<(), HostError> {
        Err(unsupported(&call.at))
    }
    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError> {
        Err(unsupported(Path::new("/proc/swaps")))
    }
    async fn swap_on(&self, device: &Device, _priority: Option<u16>) -> Result<(), HostError> {
        Err(unsupported(&device.node))
    }
}
