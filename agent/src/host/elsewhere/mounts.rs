//! Mounts and swap areas on a system other than Linux: ingot neither lists nor changes them.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::host::calls::refused;
use crate::host::commands::Commands;
use crate::host::device_number::DeviceNumber;
use crate::host::disks::Device;
use crate::host::error::HostError;
use crate::host::mountinfo::Mounted;
use crate::host::mounts::{MountCall, Mounts};

pub(crate) struct KernelMounts;

impl KernelMounts {
    pub(crate) fn new(_root: Option<PathBuf>, _commands: Rc<dyn Commands>) -> Self {
        Self
    }
}

#[async_trait(?Send)]
impl Mounts for KernelMounts {
    async fn table(&self) -> Result<Vec<Mounted>, HostError> {
        Err(refused("list the mounts below", Path::new("/")))
    }

    async fn mount(&self, call: &MountCall) -> Result<(), HostError> {
        Err(refused("mount at", &call.at))
    }

    async fn mount_by(&self, _program: &str, call: &MountCall, _timeout: Duration) -> Result<(), HostError> {
        Err(refused("mount at", &call.at))
    }

    async fn unmount(&self, at: &Path) -> Result<(), HostError> {
        Err(refused("unmount", at))
    }

    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError> {
        Err(refused("list what swaps below", Path::new("/dev")))
    }

    async fn swap_on(&self, device: &Device, _priority: Option<u16>) -> Result<(), HostError> {
        Err(refused("swap on", &device.node))
    }
}
