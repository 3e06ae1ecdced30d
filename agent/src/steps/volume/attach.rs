//! The work: what EC2 and the kernel are asked to do, and the waiting for it. Every wait has a bound and a reason.

use std::time::Duration;

use super::fields::Volume;
use super::find::{describe, tags};
use super::memory::Memory;
use super::names::bare;
use super::trouble::{Unsuitable, VolumeError};
use super::{Change, Found, Settlement};
use crate::aws::ec2::{NewVolume, VolumeQuery};
use crate::host::disks::{Device, Disk, DiskWatch, NewFilesystem, Wanted};
use crate::steps::Context;
use crate::steps::fields::rounded;

/// The pauses in which EC2 is asked for the state of a volume: each 1.8 times the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A volume that is `attaching` for longer never comes: it is detached, and attached by another name.
///
/// Source: aws-ebs-csi-driver, which found that such a name is not to be used again.
const ATTACHING: Duration = Duration::from_secs(90);

/// For so long a new volume may not be there for those who ask: EC2 agrees with itself in the end.
///
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
const UNSEEN: Duration = Duration::from_secs(60);

/// Pauses that grow.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 9 / 5).min(LONGEST_PAUSE);
        pause
    }
}

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
        watch.changed(left.min(LONGEST_PAUSE)).await;
    }
}

/// Makes a volume, and waits until it can be attached.
pub(super) async fn make(request: &NewVolume, failed: u32, cx: &Context<'_>) -> Result<(), VolumeError> {
    let mut memory = Memory { snapshot: request.snapshot.clone(), failed, ..Memory::default() };
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting("for EC2 to accept the volume");
    let made = match cx.world.aws.ec2.create_volume(request).await {
        Ok(made) => made,
        // Asked for before in other words, by a document that has changed since. What came of that is tagged and found by
        // that; if it is gone, the next client token is for another.
        Err(error) if error.code == "IdempotentParameterMismatch" => {
            memory.failed += 1;
            return memory.keep(cx).await.map_err(VolumeError::Host);
        }
        Err(error) => return Err(VolumeError::Ec2(error)),
    };
    cx.world.claims.volume(&made.id, cx.address.as_str());
    memory.volume = Some(made.id.clone());
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    available(&made.id, cx).await
}

/// Waits until a volume is `available`.
async fn available(volume: &str, cx: &Context<'_>) -> Result<(), VolumeError> {
    let begun = cx.host().clock.elapsed();
    let mut pauses = Pauses::new();
    loop {
        let known = describe(volume, cx).await?;
        let seen = known.is_some() || cx.host().clock.elapsed().saturating_sub(begun) < UNSEEN;
        let encrypted = known.as_ref().is_none_or(|known| known.encrypted);
        let detaching = known.iter().flat_map(|known| &known.attachments).any(|attachment| attachment.state == "detaching");
        let state = known.map_or_else(|| "not seen yet".to_owned(), |known| known.state);
        match state.as_str() {
            "error" => return not_made(volume, encrypted, cx).await,
            "not seen yet" if !seen => return not_made(volume, encrypted, cx).await,
            "creating" | "not seen yet" => {}
            "in-use" if detaching => {}
            // Also where somebody was faster, or it is attached already: that is looked at again.
            _ => return Ok(()),
        }
        let what = format!("{volume} to be available ({state})");
        let left = still(&what, begun, "look at the volume with `aws ec2 describe-volumes`, or give it a longer `timeout:`", cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Nothing came of a volume: the next boot asks for another, by another client token.
async fn not_made(volume: &str, encrypted: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let memory = Memory::of(cx);
    Memory { volume: None, failed: memory.failed + 1, ..memory }.keep(cx).await.map_err(VolumeError::Host)?;
    Err(Unsuitable::NotMade { volume: volume.to_owned(), encrypted }.into())
}

/// Attaches a volume and waits for its disk. What another instance took meanwhile, or never came, is noted, so that the
/// next look at the world finds another way.
pub(super) async fn attach(volume: &str, reused: bool, soon: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let mut memory = remember(volume, reused, cx).await?;
    if soon {
        available(volume, cx).await?;
    }
    let ec2 = &cx.world.aws.ec2;
    let here = ec2.here().await.map_err(VolumeError::Ec2)?;
    let attached = VolumeQuery { attached_to: Some(here.instance.clone()), ..VolumeQuery::default() };
    let attached = ec2.volumes(&attached).await.map_err(VolumeError::Ec2)?;
    let of_ec2 = attached.iter().flat_map(|volume| &volume.attachments).filter(|attachment| attachment.instance == here.instance);
    let of_kernel = cx.host().disks.all().await.map_err(VolumeError::Host)?;
    let used = of_ec2.map(|attachment| &attachment.device).chain(of_kernel.iter().filter_map(|disk| disk.attached_as.as_ref()));
    let used = used.chain(&memory.burnt).map(|name| bare(name)).collect();
    let name = cx.world.claims.device_name(&used).ok_or(Unsuitable::NoNameLeft)?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    cx.waiting(format!("for EC2 to attach {volume} as {name}"));
    if let Err(error) = ec2.attach_volume(volume, &here.instance, &name).await {
        match error.code.as_str() {
            // Ten instances may want the same one, and EC2 gives it to the first.
            "VolumeInUse" | "IncorrectState" | "InvalidVolume.NotFound" if reused => {
                cx.world.claims.lost(volume);
                return Memory::default().keep(cx).await.map_err(VolumeError::Host);
            }
            "InvalidParameterValue" | "InvalidDeviceName.InUse" | "InvalidDevice.InUse" if error.what.contains(&name) => {
                memory.burnt.insert(name);
                return memory.keep(cx).await.map_err(VolumeError::Host);
            }
            _ => return Err(VolumeError::Ec2(error)),
        }
    }
    if appeared(volume, &mut *watch, cx).await? {
        return Ok(());
    }
    memory.burnt.insert(name);
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for EC2 to detach {volume}, which was attaching for too long"));
    ec2.detach_volume(volume, &here.instance).await.map_err(VolumeError::Ec2)?;
    available(volume, cx).await
}

/// Waits for the disk of a volume that EC2 says is attached, or being attached, to this instance.
pub(super) async fn adopt(volume: &str, reused: bool, cx: &Context<'_>) -> Result<(), VolumeError> {
    let mut memory = remember(volume, reused, cx).await?;
    let mut watch = cx.host().disks.watch().map_err(VolumeError::Host)?;
    if appeared(volume, &mut *watch, cx).await? {
        return Ok(());
    }
    let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
    if let Some(known) = describe(volume, cx).await? {
        memory.burnt.extend(known.attachments.into_iter().map(|attachment| attachment.device));
        memory.keep(cx).await.map_err(VolumeError::Host)?;
    }
    cx.world.aws.ec2.detach_volume(volume, &here.instance).await.map_err(VolumeError::Ec2)?;
    available(volume, cx).await
}

async fn remember(volume: &str, reused: bool, cx: &Context<'_>) -> Result<Memory, VolumeError> {
    let before = Memory::of(cx);
    if before.volume.as_deref() == Some(volume) {
        return Ok(before);
    }
    let memory = Memory { volume: Some(volume.to_owned()), reused, failed: before.failed, snapshot: before.snapshot, ..Memory::default() };
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    Ok(memory)
}

/// Whether the disk of a volume came, by what the kernel says; EC2 is asked whether it still tries. `false` if it has tried
/// for too long.
async fn appeared(volume: &str, watch: &mut dyn DiskWatch, cx: &Context<'_>) -> Result<bool, VolumeError> {
    let wanted = Wanted::Volume(volume.to_owned());
    let begun = cx.host().clock.elapsed();
    let mut pauses = Pauses::new();
    let mut ask_at = begun + pauses.next();
    let mut state = "attaching".to_owned();
    loop {
        if cx.host().disks.find(&wanted).await.map_err(VolumeError::Host)?.is_some() {
            return Ok(true);
        }
        let now = cx.host().clock.elapsed();
        if now >= ask_at {
            let known = describe(volume, cx).await?;
            let attachments = known.map_or_else(Vec::new, |known| known.attachments);
            state = attachments.first().map_or_else(|| "detached".to_owned(), |attachment| attachment.state.clone());
            if state == "detached" || (state == "attaching" && now.saturating_sub(begun) >= ATTACHING) {
                return Ok(state == "detached");
            }
            ask_at = now + pauses.next();
        }
        let what = format!("the disk of {volume} ({state}, says EC2)");
        let left = still(&what, begun, "see what the kernel says of NVMe with `dmesg`, and EC2 with `aws ec2 describe-volumes`", cx)?;
        watch.changed(ask_at.saturating_sub(cx.host().clock.elapsed()).min(left)).await;
    }
}

pub(super) async fn settle(settlement: &Settlement, cx: &Context<'_>) -> Result<(), VolumeError> {
    let ec2 = &cx.world.aws.ec2;
    if !settlement.tags.is_empty() {
        ec2.create_tags(&settlement.volume, &settlement.tags).await.map_err(VolumeError::Ec2)?;
    }
    if let Some((device, delete)) = &settlement.delete {
        let here = ec2.here().await.map_err(VolumeError::Ec2)?;
        ec2.set_delete_on_termination(&here.instance, device, *delete).await.map_err(VolumeError::Ec2)?;
    }
    Ok(())
}

/// Makes a filesystem. That it was begun is remembered first: what a boot that was cut off leaves behind is not blank, and
/// nobody else's either.
pub(super) async fn make_filesystem(device: &Device, new: &NewFilesystem, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let begun = Memory { formatting: Some(identity(device, cx)), ..before.clone() };
    begun.keep(cx).await.map_err(VolumeError::Host)?;
    cx.waiting(format!("for mkfs to make {} on {}", new.kind, device.node.display()));
    cx.host().disks.make_filesystem(device, new, cx.time_left()).await.map_err(VolumeError::Host)?;
    Memory { formatting: None, ..before }.keep(cx).await.map_err(VolumeError::Host)
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
        let delete = self.delete_on_termination.zip(own).filter(|(wanted, own)| own.delete_on_termination != *wanted);
        let delete = delete.map(|(wanted, own)| (own.device.clone(), wanted));
        if wanted.is_empty() && delete.is_none() {
            return Ok(Found::Disk(disk));
        }
        Ok(Found::Next(Change::Settle(Settlement { volume: volume.to_owned(), tags: wanted, delete })))
    }
}
