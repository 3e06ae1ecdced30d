//! Mounts that come back by themselves after a reboot, before IMDS or EC2 is asked for anything.
//!
//! What was mounted is kept in the record of this instance. A volume is known by its id, which the disk itself has to say:
//! a record that was copied to another machine mounts nothing there. The step looks at it again later, as always.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use serde::{Deserialize, Serialize};

use super::trouble::MountError;
use super::{Mount, What, render};
use crate::failure::Explanation;
use crate::host::disks::{Content, Device, State, Wanted};
use crate::host::mounts::{self, MountCall};
use crate::host::state::{Entry, EntryState, Record};
use crate::host::{Host, HostError};
use crate::steps::Context;

/// One mount, or one swap area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// The EBS volume; `None` for a bind mount or a filesystem of the kernel's own.
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
    /// Keeps what is mounted now.
    pub(super) async fn remember(&self, cx: &Context<'_>) -> Result<(), MountError> {
        let options = self.parsed(cx)?;
        let kind = self.kind.clone().unwrap_or_default();
        let what = self.what();
        let device = match what {
            What::Block | What::Swap => Some(self.block(cx).await?.1),
            What::Bind | What::Network | What::Virtual => None,
        };
        let volume = device.as_ref().and_then(|device| device.volume.clone());
        // A network is not there yet when mounts come back, and any other disk may be another one by then.
        if what == What::Network || (device.is_some() && volume.is_none()) {
            return Ok(());
        }
        let table = cx.host().mounts.table().await.map_err(MountError::Host)?;
        let mounted = mounts::seen(&table, Path::new(cx.key()), &*cx.host().files).await.map_err(MountError::Host)?;
        let mounted = mounted.map(|mounted| mounted.filesystem.clone());
        let source = self.device.as_ref().map(|device| render(device, cx)).transpose()?.unwrap_or_else(|| kind.clone());
        let remembered = Remembered {
            partition: device.and_then(|device| device.partition),
            // The kernel's name of a volume is another one after a reboot.
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

/// Brings back every mount that is on record. What cannot be is said in a sentence for people; its step will see to it.
pub(crate) async fn bring_back(record: &Record, host: &Host) -> Vec<String> {
    let mut troubles = Vec::new();
    // In the order of their paths, so that a mount comes after the one that holds its directory.
    for (address, entry) in record.below("mounts.") {
        let remembered = entry.detail.and_then(|detail| serde_json::from_str::<Remembered>(&detail).ok());
        let at = PathBuf::from(address.trim_start_matches("mounts."));
        let Some(remembered) = remembered else { continue };
        if let Err(error) = remembered.bring_back(&at, host).await {
            troubles.push(format!("{address} does not come back yet: {}", Explanation::of(&error).message));
        }
    }
    troubles
}

/// Forgets every mount that the document no longer asks for.
pub(crate) async fn forget_others(record: &Record, kept: &BTreeSet<&str>) -> Result<(), HostError> {
    for (address, _) in record.below("mounts.") {
        if !kept.contains(address.as_str()) {
            record.remove(&address).await?;
        }
    }
    Ok(())
}

impl Remembered {
    async fn bring_back(&self, at: &Path, host: &Host) -> Result<(), HostError> {
        let table = host.mounts.table().await?;
        if self.filesystem != "swap" && mounts::seen(&table, at, &*host.files).await?.is_some() {
            return Ok(());
        }
        let device = match &self.volume {
            None => None,
            Some(volume) => {
                let disk = host.disks.find(&Wanted::Volume(volume.clone())).await?;
                let Some(disk) = disk else { return Err(missing(at)) };
                Some(Device::of(&disk, self.partition))
            }
        };
        if self.filesystem == "swap" {
            let Some(device) = device else { return Ok(()) };
            let on = host.mounts.swaps().await?.contains(&device.number);
            return if on { Ok(()) } else { host.mounts.swap_on(&device, self.priority).await };
        }
        let mut data = self.data.clone();
        if let Some(device) = &device {
            // One that has to be checked first, or is something else by now, is left to its step.
            match host.disks.content(&device.node).await? {
                Content::Unspecified => {}
                Content::Holds(signatures) if matches!(signatures.as_slice(), [one] if one.kind == self.filesystem && matches!(one.state, State::Clean | State::Unreplayed)) => {
                    if self.filesystem == "xfs" && table.iter().any(|mounted| mounted.filesystem == "xfs") && !data.contains("nouuid") {
                        data = if data.is_empty() { "nouuid".into() } else { format!("{data},nouuid") };
                    }
                }
                _ => return Err(missing(at)),
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
        host.mounts.mount(&call).await
    }
}

fn missing(at: &Path) -> HostError {
    HostError::Path { operation: "find what is mounted at", path: at.to_owned(), source: std::io::ErrorKind::NotFound.into() }
}
