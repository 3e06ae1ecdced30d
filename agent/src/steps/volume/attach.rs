//! The work: what EC2 and the kernel are asked to do, and the waiting for it. Every wait has a bound and a reason.

use std::time::Duration;

use super::fields::Volume;
use super::find::{ADDRESS, INSTANCE, describe, tags};
use super::memory::Memory;
use super::trouble::{Unsuitable, VolumeError};
use super::{Change, Found, Settlement};
use crate::aws::AwsError;
use crate::aws::ec2::{Here, NewVolume, VolumeQuery};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::host::disks::{Device, Disk, DiskWatch, NewFilesystem, Wanted};
use crate::step::Context;
use crate::step::device_name::bare;
use crate::step::fields::rounded;

/// A volume that is `attaching` for longer never comes: it is detached, and attached by another name.
///
/// Source: aws-ebs-csi-driver, which found that such a name is not to be used again.
const ATTACHING: Duration = Duration::from_secs(90);

/// So many looks in a row that show no attachment are believed: one may be stale.
const LOOKS: u32 = 4;

/// A volume that came to nothing under so many names will not come under another.
const ATTEMPTS: usize = 3;

/// For so long a new volume may not be there for those who ask: EC2 agrees with itself in the end.
///
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
const UNSEEN: Duration = Duration::from_secs(60);

/// Says what is waited for, and for how long still. An error once that is no time at all.
fn still(what: &str, begun: Duration, hint: &'static str, cx: &Context<'_>) -> Result<Duration, VolumeError> {
    let left = cx.time_left();
    if left.is_zero() {
        let waited = cx.host().clock.elapsed().saturating_sub(begun);
        return Err(VolumeError::Late { what: what.to_owned(), waited, hint });
    }
    cx.waiting(format!("for {what}, {:?} more at most", rounded(left)));
    Ok(left)
}

/// Waits for a disk that somebody else attaches.
pub(super) async fn wait(wanted: &Wanted, cx: &Context<'_>) -> Result<Disk, VolumeError> {
    let (what, hint) = match wanted {
        Wanted::Volume(volume) => (format!("a disk that says it is {volume}"), "attach the volume to this instance, or correct its id"),
        Wanted::AttachedAs(name) => (format!("a disk attached as {name}"), "attach one by this name in the launch template"),
        Wanted::InstanceStore(number) => (format!("instance store {number}"), "take an instance type that has so many instance stores"),
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

/// Makes a volume, and waits until it can be attached.
pub(super) async fn make(request: &NewVolume, failed: u32, source: &str, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let snapshot = request.snapshot.clone();
    let mut memory = Memory { snapshot, failed, making: true, source: source.to_owned(), burnt: before.burnt, ..Memory::default() };
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting("for EC2 to accept the volume");
    let made = match cx.unthrottled(|| cx.world.aws.ec2.create_volume(request)).await {
        Ok(made) => made.id,
        // Asked for before in other words, by a document that has changed since. What came of that is tagged, and found by
        // that in the end; if it is gone, the next client token is for another.
        Err(error) if error.code == "IdempotentParameterMismatch" => match earlier(request, cx).await? {
            Some(earlier) => earlier,
            None => {
                (memory.failed, memory.making) = (memory.failed + 1, false);
                return memory.keep(cx).await.map_err(VolumeError::Host);
            }
        },
        Err(error) => {
            // Refused for good: the next boot chooses anew.
            if !error.is_transient() {
                Memory { snapshot: None, making: false, ..memory }.keep(cx).await.map_err(VolumeError::Host)?;
            }
            return Err(VolumeError::Ec2(error));
        }
    };
    cx.world.claims.volume(&made, cx.address.as_str());
    (memory.volume, memory.making) = (Some(made.clone()), false);
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    if available(&made, false, cx).await? {
        cx.world.claims.ready(&made);
    }
    Ok(())
}

/// What came of an earlier request for this step, once EC2 shows it.
async fn earlier(request: &NewVolume, cx: &Context<'_>) -> Result<Option<String>, VolumeError> {
    let own = [INSTANCE, ADDRESS].into_iter().filter_map(|tag| Some((tag.to_owned(), request.tags.get(tag)?.clone())));
    let query = VolumeQuery { tags: own.collect(), ..VolumeQuery::default() };
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let found = cx.unthrottled(|| cx.world.aws.ec2.volumes(&query)).await.map_err(VolumeError::Ec2)?;
        if let Some(volume) = found.into_iter().find(|volume| matches!(volume.state.as_str(), "creating" | "available" | "in-use")) {
            return Ok(Some(volume.id));
        }
        if cx.host().clock.elapsed().saturating_sub(begun) >= UNSEEN {
            return Ok(None);
        }
        let left = still("EC2 to show the volume of an earlier request", begun, "look at `aws ec2 describe-volumes`", cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Waits until a volume is `available`. Whether it is: otherwise somebody was faster, or it is attached already, and that
/// is looked at again.
///
/// One to be reused that is not there any more is no failure: it is looked at again.
async fn available(volume: &str, reused: bool, cx: &Context<'_>) -> Result<bool, VolumeError> {
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let known = describe(volume, cx).await?;
        let seen = known.is_some() || cx.host().clock.elapsed().saturating_sub(begun) < UNSEEN;
        let encrypted = known.as_ref().is_none_or(|known| known.encrypted);
        let detaching = known.iter().flat_map(|known| &known.attachments).any(|attachment| attachment.state == "detaching");
        let state = known.map_or_else(|| "not seen yet".to_owned(), |known| known.state);
        match state.as_str() {
            "not seen yet" if reused => return Ok(false),
            "error" => return Err(not_made(volume, encrypted, cx).await),
            "not seen yet" if !seen => return Err(not_made(volume, encrypted, cx).await),
            "creating" | "not seen yet" => {}
            "in-use" if detaching => {}
            state => return Ok(state == "available"),
        }
        let what = format!("{volume} to be available ({state})");
        let left = still(&what, begun, "look at the volume with `aws ec2 describe-volumes`, or give it a longer `timeout:`", cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Nothing came of a volume: the next boot asks for another, by another client token.
async fn not_made(volume: &str, encrypted: bool, cx: &Context<'_>) -> VolumeError {
    let memory = Memory::of(cx);
    match (Memory { volume: None, failed: memory.failed + 1, ..memory }).keep(cx).await {
        Ok(()) => Unsuitable::NotMade { volume: volume.to_owned(), encrypted }.into(),
        Err(error) => VolumeError::Host(error),
    }
}

/// Attaches a volume, once it is available if it was not `ready` a moment ago, and waits for its disk. What another instance took meanwhile, or never came, is noted, so that the
/// next look at the world finds another way.
pub(super) async fn attach(volume: &str, reused: bool, ready: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let mut memory = remember(volume, reused, cx).await?;
    cx.world.claims.not_ready(volume);
    if !ready {
        available(volume, reused, cx).await?;
    }
    let ec2 = &cx.world.aws.ec2;
    let here = ec2.here().await.map_err(VolumeError::Ec2)?;
    let attached = VolumeQuery { attached_to: Some(here.instance.clone()), ..VolumeQuery::default() };
    let attached = cx.unthrottled(|| ec2.volumes(&attached)).await.map_err(VolumeError::Ec2)?;
    let of_ec2 = attached.iter().flat_map(|volume| &volume.attachments).filter(|attachment| attachment.instance == here.instance);
    let of_kernel = cx.host().disks.all().await.map_err(VolumeError::Host)?;
    let used = of_ec2.map(|attachment| &attachment.device).chain(of_kernel.iter().filter_map(|disk| disk.attached_as.as_ref()));
    let used = used.chain(&memory.burnt).map(|name| bare(name)).collect();
    let name = cx.world.claims.device_name(&used, cx.address.as_str()).ok_or(Unsuitable::NoNameLeft)?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    cx.waiting(format!("for EC2 to attach {volume} as {name}"));
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
        Appeared::Came | Appeared::Gone => Ok(()),
        Appeared::Stuck => detach(volume, name, memory, &here, cx).await,
    }
}

/// EC2 did not attach a volume. Ten instances may want the same one, and EC2 gives it to the first; but an answer that was
/// lost, or a look that was stale, must not be taken for that.
async fn refused(volume: &str, memory: Memory, here: &Here, error: AwsError, cx: &Context<'_>) -> Result<(), VolumeError> {
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let known = describe(volume, cx).await?;
        let gone = known.as_ref().is_none_or(|known| matches!(known.state.as_str(), "deleting" | "deleted" | "error"));
        let held: Vec<String> = known.into_iter().flat_map(|known| known.attachments).map(|attachment| attachment.instance).collect();
        if held.contains(&here.instance) {
            return Ok(());
        }
        if !held.is_empty() || (gone && memory.reused) {
            if !memory.reused && (memory.settled() || memory.source.is_empty()) {
                return Err(Unsuitable::InUse { volume: volume.to_owned(), by: held.join(", ") }.into());
            }
            cx.world.claims.lost(volume);
            let failed = memory.failed + u32::from(!memory.reused);
            let anew = Memory { failed, burnt: memory.burnt, ..Memory::default() };
            return anew.keep(cx).await.map_err(VolumeError::Host);
        }
        // EC2 says that it is not to be had, and does not yet show why.
        if cx.host().clock.elapsed().saturating_sub(begun) >= UNSEEN {
            return Err(VolumeError::Ec2(error));
        }
        let left = still(&format!("EC2 to say who has {volume}"), begun, "look at `aws ec2 describe-volumes`", cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Waits for the disk of a volume that EC2 says is attached, or being attached, to this instance.
pub(super) async fn adopt(volume: &str, reused: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let memory = remember(volume, reused, cx).await?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
    match appeared(volume, &here, &mut *watch, cx).await? {
        Appeared::Came | Appeared::Gone => Ok(()),
        Appeared::Stuck => {
            let known = describe(volume, cx).await?;
            let own = known.into_iter().flat_map(|known| known.attachments).find(|attachment| attachment.instance == here.instance);
            detach(volume, own.map_or_else(String::new, |own| own.device), memory, &here, cx).await
        }
    }
}

/// Takes back an attachment that came to nothing: the next one is by another name.
async fn detach(volume: &str, name: String, mut memory: Memory, here: &Here, cx: &Context<'_>) -> Result<(), VolumeError> {
    memory.burnt.insert(name);
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for EC2 to detach {volume}, which was attaching for too long"));
    match cx.unthrottled(|| cx.world.aws.ec2.detach_volume(volume, &here.instance)).await {
        Ok(()) => {}
        // It is, by now.
        Err(error) if matches!(error.code.as_str(), "IncorrectState" | "InvalidAttachment.NotFound") => {}
        Err(error) => return Err(VolumeError::Ec2(error)),
    }
    if memory.burnt.len() >= ATTEMPTS {
        let encrypted = describe(volume, cx).await?.is_some_and(|known| known.encrypted);
        return Err(Unsuitable::NotAttached { volume: volume.to_owned(), encrypted }.into());
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
    /// EC2 says, again and again, that it is not attached.
    Gone,
    /// It is attaching for too long, or refused by a key that may not be used.
    Stuck,
}

/// Whether the disk of a volume came, by what the kernel says; EC2 is asked whether it still tries.
async fn appeared(volume: &str, here: &Here, watch: &mut dyn DiskWatch, cx: &Context<'_>) -> Result<Appeared, VolumeError> {
    let wanted = Wanted::Volume(volume.to_owned());
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    let mut ask_at = begun + pauses.next();
    let mut state = "attaching".to_owned();
    let mut gone = 0;
    loop {
        if cx.host().disks.find(&wanted).await.map_err(VolumeError::Host)?.is_some() {
            return Ok(Appeared::Came);
        }
        let now = cx.host().clock.elapsed();
        if now >= ask_at {
            let known = describe(volume, cx).await?;
            let taken = known.iter().flat_map(|known| &known.attachments).any(|attachment| attachment.instance != here.instance);
            let own = known.into_iter().flat_map(|known| known.attachments).find(|attachment| attachment.instance == here.instance);
            // One look may be older than the attachment.
            gone = if own.is_none() { gone + 1 } else { 0 };
            state = own.map_or_else(|| "detached".to_owned(), |own| own.state);
            if taken || gone >= LOOKS {
                return Ok(if taken { Appeared::Gone } else { Appeared::Stuck });
            }
            if state == "attaching" && now.saturating_sub(begun) >= ATTACHING {
                return Ok(Appeared::Stuck);
            }
            ask_at = now + pauses.next();
        }
        let what = format!("the disk of {volume} ({state}, says EC2)");
        let left = still(&what, begun, "see what the kernel says of NVMe with `dmesg`, and EC2 with `aws ec2 describe-volumes`", cx)?;
        watch.changed(ask_at.saturating_sub(cx.host().clock.elapsed()).min(left)).await;
    }
}

/// Tells EC2 what it is to know, and remembers that it does: it is not asked whether it took what it agreed to.
pub(super) async fn settle(settlement: &Settlement, settings: String, cx: &Context<'_>) -> Result<(), VolumeError> {
    let ec2 = &cx.world.aws.ec2;
    cx.waiting(format!("for EC2 to note what is said of {}", settlement.volume));
    if !settlement.tags.is_empty() {
        cx.unthrottled(|| ec2.create_tags(&settlement.volume, &settlement.tags)).await.map_err(VolumeError::Ec2)?;
    }
    if let Some((device, delete)) = &settlement.delete {
        let here = ec2.here().await.map_err(VolumeError::Ec2)?;
        cx.unthrottled(|| ec2.set_delete_on_termination(&here.instance, device, *delete)).await.map_err(VolumeError::Ec2)?;
    }
    Memory { settled: Some(settings), ..Memory::of(cx) }.keep(cx).await.map_err(VolumeError::Host)
}

/// Makes a filesystem. That it was begun is remembered first: what a boot that was cut off leaves behind is not blank, and
/// nobody else's either.
pub(super) async fn make_filesystem(device: &Device, new: &NewFilesystem, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let begun = Memory { formatting: Some(identity(device, cx)), ..before.clone() };
    begun.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for mkfs to make {} on {}", new.kind, device.node.display()));
    let made = cx.host().disks.make_filesystem(device, new, cx.time_left()).await;
    // Only a process that died in the middle leaves the mark: what is there after a failure may be somebody else's.
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

impl Volume {
    /// What EC2 is to know, as text: for as long as it stays the same, EC2 is not asked again.
    pub(super) fn settings(&self, cx: &Context<'_>) -> Result<String, VolumeError> {
        let tags = tags(&self.tags, cx)?;
        Ok(serde_json::json!({ "tags": tags, "delete_on_termination": self.delete_on_termination }).to_string())
    }

    pub(super) fn is_settled(&self, memory: &Memory, cx: &Context<'_>) -> Result<bool, VolumeError> {
        Ok(memory.settled.as_ref() == Some(&self.settings(cx)?))
    }

    /// What EC2 has yet to be told of a volume whose disk is there.
    pub(super) async fn settle(&self, volume: &str, disk: Disk, cx: &Context<'_>) -> Result<Found, VolumeError> {
        let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
        let known = describe(volume, cx).await?;
        let known =
            known.ok_or(Unsuitable::Gone { volume: volume.to_owned(), state: "not known to EC2, though its disk is here".into() })?;
        let ours = self.is_made();
        let mut wanted = if ours { self.tags_for(&here, cx, known.snapshot.as_deref().unwrap_or("blank"))? } else { tags(&self.tags, cx)? };
        wanted.retain(|key, value| known.tags.get(key) != Some(value));
        let own = known.attachments.iter().find(|attachment| attachment.instance == here.instance);
        if own.is_none() && self.delete_on_termination.is_some() {
            return Err(Unsuitable::Unseen { volume: volume.to_owned() }.into());
        }
        let delete = self.delete_on_termination.zip(own).filter(|(wanted, own)| own.delete_on_termination != *wanted);
        let delete = delete.map(|(wanted, own)| (own.device.clone(), wanted));
        if wanted.is_empty() && delete.is_none() {
            return Ok(Found::Disk(disk));
        }
        Ok(Found::Next(Change::Settle(Settlement { volume: volume.to_owned(), tags: wanted, delete })))
    }
}
