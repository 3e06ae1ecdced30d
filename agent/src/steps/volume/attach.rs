//! Attaches a volume: requests to EC2 and the kernel, and the wait for its disk.
//!
//! Every wait has a limit and a displayed reason.

use super::known::describe;
use super::look::{Action, Attaching, Holder, Look};
use super::make::available;
use super::memory::Memory;
use super::trouble::{Unsuitable, VolumeError};
use super::waiting::still;
use crate::aws::AwsError;
use crate::aws::ec2::{Here, VolumeQuery};
use crate::backoff::Backoff;
use crate::gather::Gather as _;
use crate::host::disks::{Disk, DiskWatch, Wanted};
use crate::step::Context;
use crate::step::device_name::bare;

/// A volume that could not be attached under this many device names will not be under another one.
const ATTEMPTS: usize = 3;

/// Waits for a disk that ingot itself does not attach.
pub(super) async fn wait(wanted: &Wanted, cx: &Context<'_>) -> Result<Disk, VolumeError> {
    let (what, hint) = match wanted {
        Wanted::Volume(volume) => {
            (format!("a disk that identifies itself as {volume}"), "attach the volume to this instance, or correct its ID")
        }
        Wanted::AttachedAs(name) => (format!("a disk attached as {name}"), "attach one by this name in the launch template"),
        Wanted::InstanceStore(number) => (format!("instance store {number}"), "use an instance type that has that many instance stores"),
    };
    let begun = cx.host().clock.elapsed();
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    loop {
        if let Some(disk) = cx.host().disks.find(wanted).await.map_err(VolumeError::Host)? {
            return Ok(disk);
        }
        let left = still(&what, begun, hint, cx)?;
        watch.changed(left.min(Backoff::VOLUME.longest)).await;
    }
}

/// Attaches a volume, after waiting until it is available unless it was just found `ready`, and waits for its disk. If
/// another instance took it or it never appeared, that is recorded, so that the next inspection finds another way.
pub(super) async fn attach(volume: &str, reused: bool, ready: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let mut memory = remember(volume, reused, cx).await?;
    cx.world.claims.not_ready(volume);
    if !ready {
        available(volume, reused, cx).await?;
    }
    let ec2 = &cx.world.aws.ec2;
    cx.asking(format!("for EC2 to attach {volume}"));
    let here = ec2.here().await.map_err(VolumeError::Ec2)?;
    let attached = VolumeQuery { attached_to: Some(here.instance.clone()), ..VolumeQuery::default() };
    let attached = cx.unthrottled(|| ec2.volumes(&attached)).await.map_err(VolumeError::Ec2)?;
    let of_ec2 = attached.iter().flat_map(|volume| &volume.attachments).filter(|attachment| attachment.instance == here.instance);
    let of_kernel = cx.host().disks.all().await.map_err(VolumeError::Host)?;
    let used = of_ec2.map(|attachment| &attachment.device).chain(of_kernel.iter().filter_map(|disk| disk.attached_as.as_ref()));
    let used = used.chain(&memory.burnt).map(|name| bare(name)).gather();
    let name = cx.world.claims.device_name(&used, cx.address.as_str()).ok_or(Unsuitable::NoNameLeft)?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    cx.asking(format!("for EC2 to attach {volume} as {name}"));
    if let Err(error) = cx.unthrottled(|| ec2.attach_volume(volume, &here.instance, &name)).await {
        return match error.code.as_str() {
            _ if error.what.contains("not 'running'") => Err(Unsuitable::NotRunning { instance: here.instance }.into()),
            "VolumeInUse" | "IncorrectState" | "InvalidVolume.NotFound" => refused(volume, memory, &here, error, cx).await,
            "InvalidParameterValue" | "InvalidDeviceName.InUse" | "InvalidDevice.InUse" if error.what.contains(&name) => {
                memory.burnt.insert(name);
                memory.keep(cx).await.map_err(VolumeError::Host)
            }
            _ => Err(VolumeError::Ec2(error)),
        };
    }
    match appeared(volume, &here, &mut *watch, cx).await? {
        Appeared::Came | Appeared::Taken => Ok(()),
        Appeared::Stuck(look) => detach(volume, name, &look, memory, &here, cx).await,
    }
}

/// Handles a refusal by EC2 to attach a volume. Ten instances may want the same one, and EC2 gives it to the first; but
/// a lost response or a stale description must not be mistaken for that.
async fn refused(volume: &str, memory: Memory, here: &Here, error: AwsError, cx: &Context<'_>) -> Result<(), VolumeError> {
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let look = Look::of(describe(volume, cx).await?);
        match look.holder(&here.instance, memory.reused, cx.host().clock.elapsed().saturating_sub(begun)) {
            Holder::Us => return Ok(()),
            Holder::Others(by) => return lost(volume, by, memory, cx).await,
            Holder::Nobody => return Err(VolumeError::Ec2(error)),
            Holder::Wait => {}
        }
        let hint = format!("run `aws ec2 describe-volumes --volume-ids {volume}` to see its state");
        let left = still(&format!("EC2 to report where {volume} is attached"), begun, hint, cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Records that another instance has a volume. An error if no other volume can be used.
async fn lost(volume: &str, by: String, memory: Memory, cx: &Context<'_>) -> Result<(), VolumeError> {
    if !memory.reused && (memory.settled() || memory.source.is_empty()) {
        return Err(Unsuitable::InUse { volume: volume.to_owned(), by }.into());
    }
    cx.world.claims.lost(volume);
    let failed = memory.failed + u32::from(!memory.reused);
    let anew = Memory { failed, burnt: memory.burnt, ..Memory::default() };
    anew.keep(cx).await.map_err(VolumeError::Host)
}

/// Waits for the disk of a volume that, according to EC2, is attached or being attached to this instance.
pub(super) async fn adopt(volume: &str, reused: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let memory = remember(volume, reused, cx).await?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
    match appeared(volume, &here, &mut *watch, cx).await? {
        Appeared::Came | Appeared::Taken => Ok(()),
        Appeared::Stuck(look) => {
            let name = look.by(&here.instance).map_or_else(String::new, |held| held.device.clone());
            detach(volume, name, &look, memory, &here, cx).await
        }
    }
}

/// Detaches a volume whose attachment did not succeed; the next attempt uses another device name.
async fn detach(volume: &str, name: String, look: &Look, mut memory: Memory, here: &Here, cx: &Context<'_>) -> Result<(), VolumeError> {
    memory.burnt.insert(name);
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.asking(format!("for EC2 to detach {volume}, which was attaching for too long"));
    match cx.unthrottled(|| cx.world.aws.ec2.detach_volume(volume, &here.instance)).await {
        Ok(()) => {}
        // It has been detached in the meantime.
        Err(error) if matches!(error.code.as_str(), "IncorrectState" | "InvalidAttachment.NotFound") => {}
        Err(error) => return Err(VolumeError::Ec2(error)),
    }
    if memory.burnt.len() >= ATTEMPTS {
        return Err(Unsuitable::NotAttached { volume: volume.to_owned(), encrypted: look.encrypted }.into());
    }
    available(volume, memory.reused, cx).await.map(drop)
}

async fn remember(volume: &str, reused: bool, cx: &Context<'_>) -> Result<Memory, VolumeError> {
    let before = Memory::of(cx);
    if before.volume.as_deref() == Some(volume) {
        return Ok(before);
    }
    let Memory { failed, burnt, source, .. } = before;
    let memory = Memory { volume: Some(volume.to_owned()), reused, failed, burnt, source, ..Memory::default() };
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    Ok(memory)
}

enum Appeared {
    Came,
    /// Another instance has the volume.
    Taken,
    /// The attachment has to be undone; this is the last description by EC2.
    Stuck(Look),
}

/// Whether the disk of a volume appeared in the kernel; EC2 is asked whether it is still attaching it.
async fn appeared(volume: &str, here: &Here, watch: &mut dyn DiskWatch, cx: &Context<'_>) -> Result<Appeared, VolumeError> {
    let wanted = Wanted::Volume(volume.to_owned());
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    let mut ask_at = begun + pauses.next();
    let mut attaching = Attaching::begun();
    loop {
        if cx.host().disks.find(&wanted).await.map_err(VolumeError::Host)?.is_some() {
            return Ok(Appeared::Came);
        }
        let now = cx.host().clock.elapsed();
        if now >= ask_at {
            let look = Look::of(describe(volume, cx).await?);
            attaching = match attaching.next(&look, &here.instance, now.saturating_sub(begun)) {
                Action::Wait(attaching) => attaching,
                Action::Leave => return Ok(Appeared::Taken),
                Action::Detach => return Ok(Appeared::Stuck(look)),
            };
            ask_at = now + pauses.next();
        }
        let what = format!("the disk of {volume} (EC2 reports it as {attaching})");
        let hint = format!(
            "run `dmesg` for the kernel's NVMe messages, and `aws ec2 describe-volumes --volume-ids {volume}` for the state in EC2"
        );
        let left = still(&what, begun, hint, cx)?;
        watch.changed(ask_at.saturating_sub(cx.host().clock.elapsed()).min(left)).await;
    }
}
