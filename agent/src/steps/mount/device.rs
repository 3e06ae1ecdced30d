//! The disk behind a mount.

use std::path::PathBuf;

use super::fields::{Mount, render};
use super::trouble::MountError;
use crate::address::Address;
use crate::host::HostError;
use crate::host::disks::{Device, Disk};
use crate::step::Context;

impl Mount {
    /// The disk and the device that `device:` names. The disk must be the volume that the step refers to.
    pub(super) async fn block(&self, cx: &Context<'_>) -> Result<(Disk, Device), MountError> {
        let node = PathBuf::from(self.device.as_ref().map(|device| render(device, cx)).transpose()?.unwrap_or_default());
        let behind = cx.host().disks.behind(&node).await.map_err(MountError::Host)?;
        let (disk, partition) = behind.ok_or_else(|| MountError::NoDevice { node: node.clone() })?;
        let device = Device::of(&disk, partition);
        if let Some(wanted) = self.volumes(cx).into_iter().find_map(|address| cx.world.known.text(&address, "id"))
            && device.volume.as_ref() != Some(&wanted)
        {
            let found = device.volume.unwrap_or_else(|| "something else".into());
            return Err(MountError::Host(HostError::Replaced { node, wanted, found }));
        }
        Ok((disk, device))
    }

    /// The steps of `volumes:` to which `device:` refers.
    pub(super) fn volumes(&self, cx: &Context<'_>) -> Vec<Address> {
        cx.references.iter().filter(|reference| reference.root() == "volumes").filter_map(|reference| reference.address()).collect()
    }
}
