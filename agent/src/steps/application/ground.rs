//! An application on this machine: what is there of it, and the few things that are done to it. Dull: what is to be done, and
//! in which order, is decided elsewhere.
//!
//! Requests find the release that serves by a symbolic link, [`link`], which leads to the directory of a slot. The link is
//! renamed over the one before, so that there is always one, and whoever follows it gets to one release or the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::decide::Found;
use super::generation::Placed;
use super::slot::Slot;
use super::memory::Memory;
use crate::host::{Attributes, Host, HostError};
use crate::steps::health::{Health, Illness, health};
use crate::steps::install::staged;

/// How much longer than its grace a stop may take: systemd kills what is left, and tidies up.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// Where requests to an application are led.
fn link(application: &str) -> PathBuf {
    format!("/run/ingot/proxy/{application}").into()
}

/// What is known of a slot while the machine is up.
fn directory(application: &str, slot: Slot) -> PathBuf {
    format!("/run/ingot/proxy/slots/{application}-{}", slot.name()).into()
}

pub(super) struct Ground<'a> {
    pub(super) application: &'a str,
    pub(super) host: &'a Host,
    pub(super) memory: Memory<'a>,
}

impl Ground<'_> {
    /// What is there, but for what its secrets tell.
    pub(super) async fn found(&self) -> Result<Found, HostError> {
        let led = self.host.directories.link(&link(self.application)).await?;
        let led = led.and_then(|to| Slot::BOTH.into_iter().find(|slot| directory(self.application, *slot) == to));
        let slots = Slot::BOTH.map(|slot| self.memory.slot(slot));
        let known = |slot: &Slot| slots[*slot as usize].is_some();
        // Requests go where the link leads, whatever was written down before or after it was switched.
        let current = led.filter(known).or(self.memory.current().filter(known));
        let mut found = Found { is_led: led.is_some() && led == current, slots, current, ..Found::default() };
        let units: Vec<String> = found.slots.iter().flatten().flat_map(|(placed, _)| placed.units(self.application)).collect();
        for (name, unit) in units.iter().zip(self.host.units.show(&units).await?) {
            match health(&unit) {
                Health::Sound if unit.active == "active" => {
                    found.up.insert(name.clone());
                    found.running.insert(name.clone());
                }
                Health::Moving | Health::Ill(Illness::Restarting) => {
                    found.running.insert(name.clone());
                }
                Health::Sound | Health::Ill(_) => {}
            }
        }
        Ok(found)
    }

    /// Writes down what is about to run, before any of it does.
    pub(super) async fn prepare(&self, slot: Slot, placed: &Placed, environment: &[u8]) -> Result<(), HostError> {
        let (files, directories) = (&self.host.files, &self.host.directories);
        let is_known = self.memory.slot(slot).is_some_and(|(known, _)| known == *placed);
        if !is_known {
            self.memory.set_slot(slot, placed, false).await?;
        }
        let path = placed.environment_file(self.application);
        if let Some(parent) = path.parent() {
            files.create_directory(parent, 0o700).await?;
        }
        let (uid, gid) = self.host.users.own();
        files.stage(&staged(&path), environment, Attributes { mode: 0o600, uid, gid }).await?;
        files.install(&staged(&path), &path).await?;
        let slot = directory(self.application, slot);
        files.create_directory(&slot, 0o755).await?;
        directories.switch(&slot.join("release"), &placed.generation.release).await
    }

    pub(super) async fn launch(&self, placed: &Placed, process: &str, within: Duration) -> Result<(), HostError> {
        let Some(launch) = placed.launch(self.application, process) else { return Ok(()) };
        self.host.units.launch(&launch, within).await
    }

    /// Stops processes, all at the same time.
    pub(super) async fn stop(&self, placed: &Placed, processes: &[&str]) -> Result<(), HostError> {
        let within = Duration::from_millis(placed.generation.stop_grace_ms) + KILLED_WITHIN;
        let units: Vec<String> = processes.iter().map(|process| placed.unit(self.application, process)).collect();
        let shown = self.host.units.show(&units).await?;
        let there = units.iter().zip(&shown).filter(|(_, unit)| unit.active != "inactive");
        let stops = there.map(|(name, unit)| async move {
            self.host.units.stop(name, within).await?;
            if unit.active == "failed" { self.host.units.reset_failed(name).await } else { Ok(()) }
        });
        futures_util::future::join_all(stops).await.into_iter().collect()
    }

    /// Has requests led to a slot.
    pub(super) async fn switch(&self, slot: Slot) -> Result<(), HostError> {
        if let Some((placed, false)) = self.memory.slot(slot) {
            self.memory.set_slot(slot, &placed, true).await?;
        }
        let target = directory(self.application, slot);
        if self.host.directories.link(&link(self.application)).await?.as_ref() != Some(&target) {
            self.host.directories.switch(&link(self.application), &target).await?;
        }
        if self.memory.current() == Some(slot) { Ok(()) } else { self.memory.set_current(slot).await }
    }

    /// Stops whatever is left in a slot that serves nobody, and frees it.
    pub(super) async fn retire(&self, slot: Slot, placed: &Placed) -> Result<(), HostError> {
        // A switch that was cut off has led requests to the other, and not written it down.
        if self.memory.current() == Some(slot) && self.memory.slot(slot.other()).is_some() {
            self.memory.set_current(slot.other()).await?;
        }
        self.stop(placed, &placed.processes()).await?;
        self.host.files.remove(&placed.environment_file(self.application)).await?;
        self.host.directories.remove(&directory(self.application, slot)).await?;
        self.memory.clear(slot).await
    }

    /// The restarts of the processes of a generation, by name, with the units that are not up.
    pub(super) async fn states(&self, placed: &Placed) -> Result<BTreeMap<String, crate::host::Unit>, HostError> {
        let names = placed.processes();
        let units: Vec<String> = names.iter().map(|process| placed.unit(self.application, process)).collect();
        let shown = self.host.units.show(&units).await?;
        Ok(names.into_iter().map(str::to_owned).zip(shown).collect())
    }
}
