//! Sets what EC2 has to know about an attached volume: its tags, and whether it is deleted with the instance.

use super::change::{Change, Found, Settlement};
use super::fields::Volume;
use super::known::{describe, tags};
use super::memory::Memory;
use super::trouble::{Unsuitable, VolumeError};
use crate::host::disks::Disk;
use crate::step::Context;

/// Sends the settings to EC2 and records that. EC2 is not asked afterwards whether it applied what it accepted.
pub(super) async fn settle(settlement: &Settlement, settings: String, cx: &Context<'_>) -> Result<(), VolumeError> {
    let ec2 = &cx.world.aws.ec2;
    cx.asking(format!("for EC2 to note what is said of {}", settlement.volume));
    if !settlement.tags.is_empty() {
        cx.unthrottled(|| ec2.create_tags(&settlement.volume, &settlement.tags)).await.map_err(VolumeError::Ec2)?;
    }
    if let Some((device, delete)) = &settlement.delete {
        let here = ec2.here().await.map_err(VolumeError::Ec2)?;
        cx.unthrottled(|| ec2.set_delete_on_termination(&here.instance, device, *delete)).await.map_err(VolumeError::Ec2)?;
    }
    Memory { settled: Some(settings), ..Memory::of(cx) }.keep(cx).await.map_err(VolumeError::Host)
}

impl Volume {
    /// The settings for EC2 as text: as long as the text is unchanged, EC2 is not contacted again.
    pub(super) fn settings(&self, cx: &Context<'_>) -> Result<String, VolumeError> {
        let tags = tags(&self.tags, cx)?;
        Ok(serde_json::json!({ "tags": tags, "delete_on_termination": self.delete_on_termination }).to_string())
    }

    pub(super) fn is_settled(&self, memory: &Memory, cx: &Context<'_>) -> Result<bool, VolumeError> {
        Ok(memory.settled.as_ref() == Some(&self.settings(cx)?))
    }

    /// The settings that EC2 has not received yet, for a volume whose disk has appeared.
    pub(super) async fn settle(&self, volume: &str, disk: Disk, cx: &Context<'_>) -> Result<Found, VolumeError> {
        cx.asking(format!("for EC2 to describe {volume}"));
        let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
        let known = describe(volume, cx).await?;
        cx.answered();
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
