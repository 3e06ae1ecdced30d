//! Restores mounts after a reboot, before IMDS or EC2 is used.
//!
//! Mounts are kept in the record of this instance. A volume is identified by the ID that the disk itself reports, so a
//! record copied to another machine mounts nothing there. The step later inspects the mount again, as usual.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields::{Mount, What, render};
use super::trouble::MountError;
use crate::failure::Explanation;
use crate::host::disks::{Content, Device, State, Wanted};
use crate::host::mounts::{self, MountCall, Mounted, MsFlags};
use crate::host::state::{Entry, EntryState, Record};
use crate::host::{Host, HostError};
use crate::step::Context;

/// One mount, or one swap area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The EBS volume; `None` for a bind mount or a virtual filesystem of the kernel.
    volume: Option<String>,
    partition: Option<u32>,
    source: String,
    /// Empty for a bind mount, `swap` for a swap area.
    filesystem: String,
    flags: u64,
    data: String,
    priority: Option<u16>,
}

impl Mount {
    /// The volume that is mounted there, if this step mounted it for an earlier document.
    pub(super) async fn was_ours(&self, mounted: &Mounted, cx: &Context<'_>) -> Result<Option<String>, MountError> {
        let entry = cx.world.record.get(cx.address.as_str());
        let remembered = entry.and_then(|entry| serde_json::from_str::<Remembered>(&entry.detail?).ok());
        let Some((volume, partition)) = remembered.and_then(|remembered| Some((remembered.volume?, remembered.partition))) else {
            return Ok(None);
        };
        let disk = cx.host().disks.find(&Wanted::Volume(volume.clone())).await.map_err(MountError::Host)?;
        Ok(disk.filter(|disk| Device::of(disk, partition).number == mounted.device).map(|_| volume))
    }

    /// Whether it is read-only because an earlier document asked for that.
    pub(super) fn was_read_only(&self, cx: &Context<'_>) -> bool {
        let entry = cx.world.record.get(cx.address.as_str());
        let remembered = entry.and_then(|entry| serde_json::from_str::<Remembered>(&entry.detail?).ok());
        remembered.is_some_and(|remembered| MsFlags::from_bits_truncate(remembered.flags).contains(MsFlags::MS_RDONLY))
    }

    /// Records the current mount.
    pub(super) async fn remember(&self, cx: &Context<'_>) -> Result<(), MountError> {
        let options = self.parsed(cx)?;
        let kind = self.kind.clone().unwrap_or_default();
        let what = self.what();
        let device = match what {
            What::Block | What::Swap => Some(self.block(cx).await?.1),
            What::Bind | What::Network | What::Virtual => None,
        };
        let volume = device.as_ref().and_then(|device| device.volume.clone());
        // The network is not up yet when mounts are restored, and any disk other than an EBS volume may be a different
        // one by then.
        if what == What::Network || (device.is_some() && volume.is_none()) {
            return Ok(());
        }
        let table = cx.host().mounts.table().await.map_err(MountError::Host)?;
        let mounted = mounts::seen(&table, Path::new(cx.key()), &*cx.host().files).await.map_err(MountError::Host)?;
        let mounted = mounted.map(|mounted| mounted.filesystem.clone());
        let source = self.device.as_ref().map(|device| render(device, cx)).transpose()?.unwrap_or_else(|| kind.clone());
        let remembered = Remembered {
            partition: device.and_then(|device| device.partition),
            // The kernel's name of a volume may change with a reboot.
            source: if volume.is_some() { String::new() } else { source },
            volume,
            filesystem: match what {
                What::Bind => String::new(),
                What::Swap => "swap".into(),
                _ => mounted.unwrap_or(kind),
            },
            flags: options.flags.bits(),
            data: options.data.join(","),
            priority: options.priority,
        };
        let detail = Some(serde_json::to_string(&remembered).expect("it is plain data"));
        if cx.world.record.get(cx.address.as_str()).is_some_and(|entry| entry.detail == detail) {
            return Ok(());
        }
        let entry = Entry { state: EntryState::Done, boot_id: cx.world.boot_id.clone(), at: cx.host().clock.now().to_string(), detail };
        cx.world.record.put(cx.address.as_str(), entry).await.map_err(MountError::Host)
    }
}

/// Restores every recorded mount, waiting at most `patience` for disks that have not appeared yet. Returns a sentence
/// for each mount that could not be restored; its step handles it later.
pub(crate) async fn bring_back(record: &Record, host: &Host, patience: Duration) -> Vec<String> {
    let known = record.below("mounts.").into_iter().filter_map(|(address, entry)| {
        let remembered = serde_json::from_str::<Remembered>(&entry.detail?).ok()?;
        Some((PathBuf::from(address.trim_start_matches("mounts.")), remembered))
    });
    let mut left: Vec<(PathBuf, Remembered)> = known.collect();
    let mut troubles = Vec::new();
    wait_for_disks(&left, host, patience).await;
    let mut failed: Vec<PathBuf> = Vec::new();
    // A mount comes after the mounts that contain its directory and, for a bind mount, its source. If one of these
    // cannot be restored, neither is this one: it would be mounted in the wrong place, and be hidden later.
    while !left.is_empty() {
        let holds = |holder: &Path, (at, remembered): &(PathBuf, Remembered)| {
            let shows = remembered.filesystem.is_empty() && Path::new(&remembered.source).starts_with(holder);
            holder != at && (at.starts_with(holder) || shows)
        };
        let free = left.iter().position(|mount| !left.iter().any(|(holder, _)| holds(holder, mount)));
        let (at, remembered) = left.remove(free.unwrap_or(0));
        let hidden = failed.iter().any(|holder| holds(holder, &(at.clone(), remembered.clone())));
        let done = if hidden { Err(Away::Behind) } else { remembered.bring_back(&at, host).await };
        if let Err(why) = done {
            troubles.push(format!("mounts.{} is not restored yet: {}", at.display(), why.said()));
            failed.push(at);
        }
    }
    troubles
}

/// Early in a boot the kernel may still be detecting disks.
async fn wait_for_disks(mounts: &[(PathBuf, Remembered)], host: &Host, patience: Duration) {
    let Ok(mut watch) = host.disks.watch() else { return };
    let deadline = host.clock.elapsed() + patience;
    for volume in mounts.iter().filter_map(|(_, remembered)| remembered.volume.clone()) {
        let wanted = Wanted::Volume(volume);
        while matches!(host.disks.find(&wanted).await, Ok(None)) && host.clock.elapsed() < deadline {
            watch.changed(deadline.saturating_sub(host.clock.elapsed())).await;
        }
    }
}

/// Why a mount was not restored.
enum Away {
    /// The mount that contains its directory or source was not restored either.
    Behind,
    NoDisk(String),
    NoPartition(u32),
    /// The disk now contains something else, or has to be checked first.
    Content(String),
    Host(HostError),
}

impl Away {
    fn said(&self) -> String {
        match self {
            Self::Behind => "the mount that contains it is missing".into(),
            Self::NoDisk(volume) => format!("no disk reports that it is {volume}"),
            Self::NoPartition(number) => format!("its disk no longer has partition {number}"),
            Self::Content(found) => format!("its disk holds {found}, which must be checked first"),
            Self::Host(error) => {
                let why = Explanation::of(error);
                [vec![why.message], why.causes].concat().join(": ")
            }
        }
    }
}

impl From<HostError> for Away {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

/// Removes the record of every mount that the document no longer has.
pub(crate) async fn forget_others(record: &Record, kept: &BTreeSet<&str>) -> Result<(), HostError> {
    for (address, _) in record.below("mounts.") {
        if !kept.contains(address.as_str()) {
            record.remove(&address).await?;
        }
    }
    Ok(())
}

impl Remembered {
    async fn bring_back(&self, at: &Path, host: &Host) -> Result<(), Away> {
        let table = host.mounts.table().await?;
        if self.filesystem != "swap" && mounts::seen(&table, at, &*host.files).await?.is_some() {
            return Ok(());
        }
        let device = match &self.volume {
            None => None,
            Some(volume) => {
                let disk = host.disks.find(&Wanted::Volume(volume.clone())).await?;
                let disk = disk.ok_or_else(|| Away::NoDisk(volume.clone()))?;
                if let Some(number) = self.partition.filter(|number| !disk.partitions.iter().any(|part| part.number == *number)) {
                    return Err(Away::NoPartition(number));
                }
                Some(Device::of(&disk, self.partition))
            }
        };
        if self.filesystem == "swap" {
            let Some(device) = device else { return Ok(()) };
            let on = host.mounts.swaps().await?.contains(&device.number);
            return if on { Ok(()) } else { host.mounts.swap_on(&device, self.priority).await.map_err(Away::Host) };
        }
        let mut data = self.data.clone();
        if let Some(device) = &device {
            // A filesystem that has to be checked first, or has been replaced, is left to its step.
            match host.disks.content(&device.node).await? {
                Content::Unspecified => {}
                Content::Holds(signatures) if matches!(signatures.as_slice(), [one] if one.kind == self.filesystem && matches!(one.state, State::Clean | State::Unreplayed)) => {
                    if self.filesystem == "xfs" && table.iter().any(|mounted| mounted.filesystem == "xfs") && !data.contains("nouuid") {
                        data = if data.is_empty() { "nouuid".into() } else { format!("{data},nouuid") };
                    }
                }
                other => return Err(Away::Content(other.to_string())),
            }
        }
        host.files.create_directory(at, 0o755).await?;
        let source = device.as_ref().map_or_else(|| self.source.clone(), |device| device.node.display().to_string());
        let call = MountCall {
            source,
            device,
            at: at.to_owned(),
            filesystem: self.filesystem.clone(),
            flags: MsFlags::from_bits_truncate(self.flags),
            data,
        };
        host.mounts.mount(&call).await.map_err(Away::Host)
    }
}
