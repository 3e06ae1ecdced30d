//! Creates a filesystem on a blank device.

use super::memory::Memory;
use super::trouble::VolumeError;
use crate::host::disks::{Device, NewFilesystem};
use crate::step::Context;

/// Creates a filesystem. The start is recorded first, because the device is not blank after an interruption, and its
/// content belongs to nobody else.
pub(super) async fn make_filesystem(device: &Device, new: &NewFilesystem, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let begun = Memory { formatting: Some(identity(device, cx)), ..before.clone() };
    begun.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for mkfs to make {} on {}", new.kind, device.node.display()));
    let made = cx.host().disks.make_filesystem(device, new, cx.time_left()).await;
    // Only an interrupted process leaves the mark behind: after a failure, the content may belong to someone else.
    Memory { formatting: None, ..before }.keep(cx).await.map_err(VolumeError::Host)?;
    made.map_err(VolumeError::Host)
}

/// Identifies a device: an EBS volume permanently, any other device until the next start of the machine.
pub(super) fn identity(device: &Device, cx: &Context<'_>) -> String {
    match &device.volume {
        Some(volume) => format!("{volume} {:?}", device.partition),
        None => format!("{} {} {}", cx.world.boot_id, device.node.display(), device.number),
    }
}
