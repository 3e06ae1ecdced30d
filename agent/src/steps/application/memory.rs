//! The record of an application: what is in its two slots, and which of them serves.
//!
//! It contains no secrets, so that the application can be restored after a reboot before any service can be contacted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::Pin;
use super::extension::Stage;
use super::generation::Placed;
use super::proxy::{Behind, Version};
use super::recipe::Recipe;
use super::slot::Slot;
use super::watched::Watched;
use crate::host::state::{Entry, EntryState, Record};
use crate::host::{Clock, HostError};
use crate::sorting::Sort as _;

const CURRENT: &str = "current";
/// Followed by the directory of a release.
const BUILT: &str = "built ";
const LAST: &str = "last";
/// Followed by the name of a slot.
const FRONT: &str = "proxy ";
const NEXT: &str = "proxy next";
const COMPATIBLE: &str = "beanstalk";
const HOOKED: &str = "hooks";
/// Followed by the name of an image.
const IMAGE: &str = "image ";
const BEFORE: &str = "before";
const WATCHED: &str = "watch";

/// The proxy files without secrets: recorded so that they can be written again after a reboot or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Front {
    /// The nginx version that it was configured for. It is recorded because finding it out means running a program.
    pub(super) version: Version,
    /// The identity of the nginx program at that time.
    pub(super) program: Option<String>,
    pub(super) nginx: String,
    pub(super) site: String,
    pub(super) slots: [Behind; 2],
    pub(super) tls: Option<WithTls>,
}

/// The parts that are missing after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WithTls {
    /// The name of the certificate and key files, as in [`Place::Certificate`](super::proxy::Place).
    pub(super) certificate: String,
    /// The site without TLS.
    pub(super) without: String,
}

/// The record of an application on this machine.
pub(super) struct Memory<'a> {
    pub(super) record: &'a Record,
    pub(super) moment: Moment<'a>,
}

/// The releases that this instance has built, for all applications, since two may run the same one.
pub(super) struct Builds<'a> {
    pub(super) record: &'a Record,
    pub(super) moment: Moment<'a>,
}

/// The boot ID and clock used for new entries.
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
    /// The generation in a slot, and whether it has proved that it serves.
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

    /// The time since which the current slot has been serving.
    pub(super) fn since(&self) -> Option<String> {
        Some(self.record.get(CURRENT)?.at)
    }

    /// The version that served before, and when it was stopped.
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
        // The serving generation keeps its proxy configuration, even if the other slot, which has it, is freed.
        if let (None, Some(front)) = (self.front(slot), self.front(slot.other())) {
            self.set_front(slot, front.as_ref()).await?;
        }
        self.record.put(CURRENT, self.moment.entry(EntryState::Done, slot.name().to_owned())).await
    }

    /// The highest number of any generation that is no longer in a slot.
    pub(super) fn last(&self) -> u32 {
        self.record.get(LAST).and_then(|entry| entry.detail?.parse().ok()).unwrap_or(0)
    }

    /// Frees a slot. Its number is not reused, because the journal would mix the output of two generations.
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

    /// The releases whose `.ebextensions` were carried out: the stage, and the directory.
    pub(super) fn all_extended(&self) -> Vec<(Stage, PathBuf)> {
        let below = |stage: Stage| self.record.below(stage.key()).into_iter().map(move |(key, _)| (stage, key[stage.key().len()..].into()));
        Stage::BOTH.into_iter().flat_map(below).collect()
    }

    /// The identity of the directory whose `.ebextensions` were carried out.
    pub(super) fn extended(&self, stage: Stage, release: &Path) -> Option<String> {
        self.record.get(&format!("{}{}", stage.key(), release.display()))?.detail
    }

    /// `None` removes the entry.
    pub(super) async fn set_extended(&self, stage: Stage, release: &Path, of: Option<&str>) -> Result<(), HostError> {
        let key = format!("{}{}", stage.key(), release.display());
        match of {
            Some(of) => self.record.put(&key, self.moment.entry(EntryState::Done, of.to_owned())).await,
            None => self.record.remove(&key).await,
        }
    }

    /// The processes whose logs are written, if anything was provided for Elastic Beanstalk's scripts.
    pub(super) fn compatible(&self) -> Option<Vec<String>> {
        serde_json::from_str(self.record.get(COMPATIBLE)?.detail.as_deref()?).ok()
    }

    /// `None` removes the entry.
    pub(super) async fn set_compatible(&self, logged: Option<&[String]>) -> Result<(), HostError> {
        match logged {
            Some(logged) if self.compatible().as_deref() == Some(logged) => Ok(()),
            Some(logged) => {
                let detail = serde_json::to_string(logged).expect("it is plain data");
                self.record.put(COMPATIBLE, self.moment.entry(EntryState::Done, detail)).await
            }
            None => self.record.remove(COMPATIBLE).await,
        }
    }

    /// The proxy as configured for the generation in a slot: `Some(None)` if that has no proxy, `None` if nothing is
    /// recorded.
    pub(super) fn front(&self, slot: Slot) -> Option<Option<Front>> {
        serde_json::from_str(self.record.get(&format!("{FRONT}{}", slot.name()))?.detail.as_deref()?).ok()
    }

    pub(super) async fn set_front(&self, slot: Slot, front: Option<&Front>) -> Result<(), HostError> {
        let detail = serde_json::to_string(&front).expect("it is plain data");
        self.record.put(&format!("{FRONT}{}", slot.name()), self.moment.entry(EntryState::Done, detail)).await
    }

    /// The proxy recorded for a slot, or else for the other slot.
    pub(super) fn known_front(&self, slot: Slot) -> Option<Front> {
        self.front(slot).or_else(|| self.front(slot.other())).flatten()
    }

    /// The configuration that is on disk, or about to be written, and has not been read by nginx yet.
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

    /// The settings of its watch.
    pub(super) fn watched(&self) -> Option<Watched> {
        serde_json::from_str(self.record.get(WATCHED)?.detail.as_deref()?).ok()
    }

    /// `None` removes the entry.
    pub(super) async fn set_watched(&self, watched: Option<&Watched>) -> Result<(), HostError> {
        let Some(watched) = watched else { return self.record.remove(WATCHED).await };
        let detail = serde_json::to_string(watched).expect("it is plain data");
        self.record.put(WATCHED, self.moment.entry(EntryState::Done, detail)).await
    }

    /// What the name of an image resolved to when it was pulled.
    pub(super) fn pin(&self, name: &str) -> Option<Pin> {
        serde_json::from_str(self.record.get(&format!("{IMAGE}{name}"))?.detail.as_deref()?).ok()
    }

    /// All recorded images by name, the latest first.
    pub(super) fn pins(&self) -> Vec<(String, Pin)> {
        let parsed = |(name, entry): (String, Entry)| {
            let pin = serde_json::from_str(entry.detail.as_deref()?).ok()?;
            Some((entry.at, (name.strip_prefix(IMAGE)?.to_owned(), pin)))
        };
        let mut pins: Vec<(String, (String, Pin))> = self.record.below(IMAGE).into_iter().filter_map(parsed).collect();
        pins.order_by(|(one, (name, _)), (other, (other_name, _))| other.cmp(one).then_with(|| name.cmp(other_name)));
        pins.into_iter().map(|(_, pin)| pin).collect()
    }

    /// The permanent name of an image that was pulled.
    pub(super) fn pinned(&self, image: &str) -> Option<String> {
        self.pins().into_iter().map(|(_, pin)| pin).find(|pin| pin.is_of(image)).map(|pin| pin.pinned)
    }

    pub(super) async fn set_pin(&self, name: &str, pin: &Pin) -> Result<(), HostError> {
        let detail = serde_json::to_string(pin).expect("it is plain data");
        self.record.put(&format!("{IMAGE}{name}"), self.moment.entry(EntryState::Done, detail)).await
    }

    pub(super) async fn forget_pin(&self, name: &str) -> Result<(), HostError> {
        self.record.remove(&format!("{IMAGE}{name}")).await
    }
}

impl Builds<'_> {
    /// The directories of the releases whose build was started or finished.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        self.record.below(BUILT).into_iter().filter_map(|(name, _)| Some(name.strip_prefix(BUILT)?.into())).collect()
    }

    pub(super) async fn forget(&self, release: &Path) -> Result<(), HostError> {
        self.record.remove(&format!("{BUILT}{}", release.display())).await
    }

    /// How a release was built, and whether the build finished.
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
