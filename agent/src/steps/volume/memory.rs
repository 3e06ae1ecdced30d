//! The record of this instance's volumes: which volume a step has chosen, before and after it was attached.
//!
//! It is written before each call that creates something, so that an interrupted boot resumes with the same volume. It
//! also lets a reboot assign disks without EC2 or IMDS. It is not trusted beyond that: the disk itself must report the
//! same volume.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::host::HostError;
use crate::host::state::{Entry, EntryState};
use crate::step::Context;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The volume that was chosen or created.
    pub(super) volume: Option<String>,
    /// The snapshot that it is restored from: repeating a request with the same client token requires the same
    /// parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<String>,
    /// How it was created or chosen, according to the document at that time. Empty for a volume named by ID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) source: String,
    /// Whether EC2 was asked to create a volume, with unknown result.
    #[serde(default)]
    pub(super) making: bool,
    /// Whether it is an existing volume that was attached for reuse.
    #[serde(default)]
    pub(super) reused: bool,
    /// How many volumes failed before this one: each has its own client token.
    #[serde(default)]
    pub(super) failed: u32,
    /// Device names under which attaching failed. The kernel and EC2 may both still hold them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) burnt: BTreeSet<String>,
    /// The device that was blank when creating a filesystem on it was started: ingot may overwrite its current content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) formatting: Option<String>,
    /// The settings that EC2 has received; `None` while some are still missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settled: Option<String>,
}

impl Memory {
    pub(super) fn of(cx: &Context<'_>) -> Self {
        let Some(entry) = cx.world.record.get(cx.address.as_str()) else { return Self::default() };
        entry.detail.and_then(|detail| serde_json::from_str(&detail).ok()).unwrap_or_default()
    }

    /// Whether the volume has been attached successfully and EC2 has its settings.
    pub(super) fn settled(&self) -> bool {
        self.settled.is_some()
    }

    pub(super) async fn keep(&self, cx: &Context<'_>) -> Result<(), HostError> {
        let entry = Entry {
            state: if self.settled() { EntryState::Done } else { EntryState::Started },
            boot_id: cx.world.boot_id.clone(),
            at: cx.host().clock.now().to_string(),
            detail: Some(serde_json::to_string(self).expect("it is plain data")),
        };
        cx.world.record.put(cx.address.as_str(), entry).await
    }
}

/// Volumes recorded by other steps.
pub(super) fn of_others(cx: &Context<'_>) -> BTreeSet<String> {
    let others = cx.world.record.below("volumes.").into_iter().filter(|(address, _)| address != cx.address.as_str());
    let mut volumes = BTreeSet::new();
    volumes.extend(others.filter_map(|(_, entry)| serde_json::from_str::<Memory>(&entry.detail?).ok()?.volume));
    volumes
}
