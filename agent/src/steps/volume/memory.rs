//! What is remembered of this instance's volumes: which volume a step has chosen, before and after it was attached.
//!
//! It is written before each call that makes something, so that a boot that was cut off goes on with the same volume; and
//! it is why a reboot needs neither EC2 nor IMDS to know which disk is whose. It is trusted for that alone: the disk
//! itself must say the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::host::HostError;
use crate::host::state::{Entry, EntryState};
use crate::step::Context;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The volume that was chosen or made.
    pub(super) volume: Option<String>,
    /// The snapshot that it is restored from: to be asked for again with the same client token, the request must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<String>,
    /// What it was made or chosen by, as the document said it then. Empty for a volume that is named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) source: String,
    /// Whether EC2 was asked for a volume, and its answer is not known.
    #[serde(default)]
    pub(super) making: bool,
    /// Whether it was there before, and only attached for want of a better one.
    #[serde(default)]
    pub(super) reused: bool,
    /// How many volumes came to nothing before this one: each has a client token of its own.
    #[serde(default)]
    pub(super) failed: u32,
    /// Device names as which attaching failed. The kernel and EC2 may both still hold them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) burnt: BTreeSet<String>,
    /// The device that was blank, and on which a filesystem was begun: what is there now is ours to overwrite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) formatting: Option<String>,
    /// What EC2 was told of it in the end; `None` as long as there is something left to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settled: Option<String>,
}

impl Memory {
    pub(super) fn of(cx: &Context<'_>) -> Self {
        let Some(entry) = cx.world.record.get(cx.address.as_str()) else { return Self::default() };
        entry.detail.and_then(|detail| serde_json::from_str(&detail).ok()).unwrap_or_default()
    }

    /// Whether the volume was attached once, and all was well.
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

/// Volumes that other steps remember.
pub(super) fn of_others(cx: &Context<'_>) -> BTreeSet<String> {
    let others = cx.world.record.below("volumes.").into_iter().filter(|(address, _)| address != cx.address.as_str());
    let mut volumes = BTreeSet::new();
    volumes.extend(others.filter_map(|(_, entry)| serde_json::from_str::<Memory>(&entry.detail?).ok()?.volume));
    volumes
}
