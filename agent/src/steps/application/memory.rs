//! What is remembered of an application: what is in its two slots, and which of them serves. Without secrets, so that it
//! can be brought back after a reboot where nobody can be asked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::generation::Placed;
use super::proxy::{Behind, Version};
use super::recipe::Recipe;
use super::slot::Slot;
use crate::host::state::{Entry, EntryState, Record};
use crate::host::{Clock, HostError};

const CURRENT: &str = "current";
/// Followed by the directory of a release.
const BUILT: &str = "built ";
const LAST: &str = "last";
/// Followed by a slot.
const FRONT: &str = "proxy ";
const NEXT: &str = "proxy next";
const HOOKED: &str = "hooks";
const BEFORE: &str = "before";

/// Files of the proxy that hold no secret: what is remembered of it, to be written again after a reboot, or after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Front {
    /// What it was configured for: asking nginx again takes a program.
    pub(super) version: Version,
    /// The program that said so, as it was then.
    pub(super) program: Option<String>,
    pub(super) nginx: String,
    pub(super) site: String,
    pub(super) slots: [Behind; 2],
    pub(super) tls: Option<WithTls>,
}

/// What is not there after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WithTls {
    /// What certificate and key are called by, as in [`Place::Certificate`](super::proxy::Place).
    pub(super) certificate: String,
    /// The site without them.
    pub(super) without: String,
}

/// What an application is on this machine.
pub(super) struct Memory<'a> {
    pub(super) record: &'a Record,
    pub(super) moment: Moment<'a>,
}

/// The releases that this instance has built, for all applications: two may run the same.
pub(super) struct Builds<'a> {
    pub(super) record: &'a Record,
    pub(super) moment: Moment<'a>,
}

/// When something is noted.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) boot_id: &'a str,
    pub(super) clock: &'a dyn Clock,
}

impl Moment<'_> {
    fn entry(self, state: EntryState, detail: String) -> Entry {
        Entry { state, boot_id: self.boot_id.to_owned(), at: self.clock.now().to_string(), detail: Some(detail) }
    }
}

impl Memory<'_> {
    /// What is in a slot, and whether it has proved that it serves.
    pub(super) fn slot(&self, slot: Slot) -> Option<(Placed, bool)> {
        let entry = self.record.get(slot.name())?;
        let placed = serde_json::from_str(entry.detail.as_deref()?).ok()?;
        Some((placed, entry.state == EntryState::Done))
    }

    /// The slot that serves.
    pub(super) fn current(&self) -> Option<Slot> {
        let name = self.record.get(CURRENT)?.detail?;
        Slot::BOTH.into_iter().find(|slot| slot.name() == name)
    }

    /// Since when the current slot serves.
    pub(super) fn since(&self) -> Option<String> {
        Some(self.record.get(CURRENT)?.at)
    }

    /// The release that served before, and when it was stopped.
    pub(super) fn before(&self) -> Option<(String, String)> {
        let entry = self.record.get(BEFORE)?;
        Some((entry.detail?, entry.at))
    }

    pub(super) async fn set_slot(&self, slot: Slot, placed: &Placed, proven: bool) -> Result<(), HostError> {
        let detail = serde_json::to_string(placed).expect("it is plain data");
        let state = if proven { EntryState::Done } else { EntryState::Started };
        self.record.put(slot.name(), self.moment.entry(state, detail)).await
    }

    pub(super) async fn set_current(&self, slot: Slot) -> Result<(), HostError> {
        // Its proxy is the one there was: the slot beside may be freed.
        if let (None, Some(front)) = (self.front(slot), self.front(slot.other())) {
            self.set_front(slot, front.as_ref()).await?;
        }
        self.record.put(CURRENT, self.moment.entry(EntryState::Done, slot.name().to_owned())).await
    }

    /// The highest number that a generation has had which is no longer in a slot.
    pub(super) fn last(&self) -> u32 {
        self.record.get(LAST).and_then(|entry| entry.detail?.parse().ok()).unwrap_or(0)
    }

    /// Frees a slot. Its number is not given again: the journal would mix what two generations printed.
    pub(super) async fn retire(&self, slot: Slot, number: u32) -> Result<(), HostError> {
        if let Some((placed, true)) = self.slot(slot) {
            self.record.put(BEFORE, self.moment.entry(EntryState::Done, placed.generation.version)).await?;
        }
        if number > self.last() {
            self.record.put(LAST, self.moment.entry(EntryState::Done, number.to_string())).await?;
        }
        let front = format!("{FRONT}{}", slot.name());
        if self.record.get(&front).is_some() {
            self.record.remove(&front).await?;
        }
        self.record.remove(slot.name()).await
    }

    /// The proxy as it was configured for what is in a slot: `Some(None)` where that is to have none, `None` where nobody has
    /// said anything.
    pub(super) fn front(&self, slot: Slot) -> Option<Option<Front>> {
        serde_json::from_str(self.record.get(&format!("{FRONT}{}", slot.name()))?.detail.as_deref()?).ok()
    }

    pub(super) async fn set_front(&self, slot: Slot, front: Option<&Front>) -> Result<(), HostError> {
        let detail = serde_json::to_string(&front).expect("it is plain data");
        self.record.put(&format!("{FRONT}{}", slot.name()), self.moment.entry(EntryState::Done, detail)).await
    }

    /// What is on disk, or about to be, and has not been read by nginx.
    pub(super) fn next_front(&self) -> Option<Option<Front>> {
        serde_json::from_str(self.record.get(NEXT)?.detail.as_deref()?).ok()
    }

    pub(super) async fn set_next_front(&self, front: Option<&Front>) -> Result<(), HostError> {
        let detail = serde_json::to_string(&front).expect("it is plain data");
        self.record.put(NEXT, self.moment.entry(EntryState::Started, detail)).await
    }

    pub(super) async fn forget_next_front(&self) -> Result<(), HostError> {
        if self.record.get(NEXT).is_some() { self.record.remove(NEXT).await } else { Ok(()) }
    }

    /// The generation whose hooks have all run.
    pub(super) fn hooked(&self) -> Option<u32> {
        self.record.get(HOOKED)?.detail?.parse().ok()
    }

    pub(super) async fn set_hooked(&self, number: u32) -> Result<(), HostError> {
        self.record.put(HOOKED, self.moment.entry(EntryState::Done, number.to_string())).await
    }
}

impl Builds<'_> {
    /// The directories of the releases that were built, or begun.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        self.record.below(BUILT).into_iter().filter_map(|(name, _)| Some(name.strip_prefix(BUILT)?.into())).collect()
    }

    pub(super) async fn forget(&self, release: &Path) -> Result<(), HostError> {
        self.record.remove(&format!("{BUILT}{}", release.display())).await
    }

    /// How a release was built, and whether that came to an end.
    pub(super) fn of(&self, release: &Path) -> Option<(Recipe, bool)> {
        let entry = self.record.get(&format!("{BUILT}{}", release.display()))?;
        Some((serde_json::from_str(entry.detail.as_deref()?).ok()?, entry.state == EntryState::Done))
    }

    pub(super) async fn set(&self, release: &Path, recipe: &Recipe, done: bool) -> Result<(), HostError> {
        let detail = serde_json::to_string(recipe).expect("it is plain data");
        let state = if done { EntryState::Done } else { EntryState::Started };
        self.record.put(&format!("{BUILT}{}", release.display()), self.moment.entry(state, detail)).await
    }
}
