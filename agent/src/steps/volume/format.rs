//! The making of a filesystem on a blank device.

use super::memory::Memory;
use super::trouble::VolumeError;
use crate::host::disks::{Device, NewFilesystem};
use crate::step::Context;

/// Makes a filesystem. That it was begun is remembered first: what a boot that was cut off leaves behind is not blank, and
/// no one else's either.
pub(super) async fn make_filesystem(device: &Device, new: &NewFilesystem, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let begun = Memory { formatting: Some(identity(device, cx)), ..before.clone() };
    begun.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for mkfs to make {} on {}", new.kind, device.node.display()));
    let made = cx.host().disks.make_filesystem(device, new, cx.time_left()).await;
    // Only a process that died in the middle leaves the mark: what is there after a failure may be someone else's.
    Memory { formatting: None, ..before }.keep(cx).await.map_err(VolumeError::Host)?;
    made.map_err(VolumeError::Host)
}

/// What a device is, so that it is known again: an EBS volume for ever, anything else until the next start of the machine.
pub(super) fn identity(device: &Device, cx: &Context<'_>) -> String {
    match &device.volume {
        Some(volume) => format!("{volume} {:?}", device.partition),
        None => format!("{} {} {}", cx.world.boot_id, device.node.display(), device.number),
    }
}
