//! An application on this machine: what exists of it, and the few operations on it.
//!
//! Simple on purpose: what to do, and in which order, is decided elsewhere.
//!
//! Requests find the serving release by a symbolic link, [`Place::Current`], to the directory of a slot. A new link is
//! renamed over the old one, so there always is one, and every reader of it reaches one release or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decide::Found;
use super::generation::Placed;
use super::memory::{Memory, Moment};
use super::proxy::Place;
use super::slot::Slot;
use crate::gather::Gather as _;
use crate::host::sockets::Endpoint;
use crate::host::state::Record;
use crate::host::{Attributes, FileKind, Host, HostError};
use crate::steps::health::{Health, Illness, health};
use crate::steps::install::staged;

/// How much longer than its grace period a stop may take: systemd kills the remaining processes and cleans up.
pub(super) const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// How long an engine may take after that to remove a container.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);

/// How often to check whether requests are still in a slot. Below: how many checks in a row must find none, because a
/// request that nginx has just accepted is between two sockets.
const DRAINED_EVERY: Duration = Duration::from_millis(50);
const DRAINED_AFTER: u32 = 3;

/// The target of the link that requests follow. It is relative, so that it has the same meaning below another root.
fn target(application: &str, slot: Slot) -> PathBuf {
    format!("slots/{application}-{}", slot.name()).into()
}

/// The directories of all releases in any slot of an application, according to the records: after a reboot, none of
/// their processes has to be running.
pub(crate) async fn in_use(host: &Host, record: &Record) -> Result<BTreeSet<PathBuf>, HostError> {
    let mut found = BTreeSet::new();
    for name in record.applications().await? {
        let record = record.application(&name).await?;
        let memory = Memory { record: &record, moment: Moment { boot_id: "", clock: &*host.clock } };
        found.extend(Slot::BOTH.into_iter().filter_map(|slot| Some(memory.slot(slot)?.0.generation.release)));
    }
    Ok(found)
}

pub(super) struct Ground<'a> {
    pub(super) application: &'a str,
    pub(super) host: &'a Host,
    pub(super) memory: Memory<'a>,
}

impl Ground<'_> {
    /// What was found on the machine, except which slots have outdated secrets.
    pub(super) async fn found(&self) -> Result<Found, HostError> {
        let led = self.host.directories.link(&Place::Current(self.application).path()).await?;
        let led = led.and_then(|to| Slot::BOTH.into_iter().find(|slot| target(self.application, *slot) == to));
        let slots = Slot::BOTH.map(|slot| self.memory.slot(slot));
        let known = |slot: &Slot| slots[*slot as usize].is_some();
        // Requests go where the link points, whether or not the switch has been recorded.
        let current = led.filter(known).or(self.memory.current().filter(known));
        // A switch that was interrupted before it was recorded is repeated, because the record determines what serves.
        let is_led = led.is_some() && led == current && led == self.memory.current();
        let is_lost = match led.filter(|_| current.is_none()) {
            // This link does not exist if the slot was stopped.
            Some(slot) => self.host.directories.link(&Place::Release(self.application, slot).path()).await?.is_some(),
            None => false,
        };
        let (hooked, last) = (self.memory.hooked(), self.memory.last());
        let mut found = Found { is_led, is_lost, slots, current, hooked, last, ..Found::default() };
        let units: Vec<String> = found.slots.iter().flatten().flat_map(|(placed, _)| placed.units()).collect();
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

    /// Records what is about to run, before any of it runs.
    pub(super) async fn prepare(&self, slot: Slot, placed: &Placed, environment: &[u8]) -> Result<(), HostError> {
        let is_known = self.memory.slot(slot).is_some_and(|(known, _)| known == *placed);
        if !is_known {
            self.memory.set_slot(slot, placed, false).await?;
        }
        self.write_variables(placed, environment).await?;
        self.place(slot, placed).await
    }

    /// Writes the environment of a generation to the file from which its processes get it.
    pub(super) async fn write_variables(&self, placed: &Placed, environment: &[u8]) -> Result<(), HostError> {
        let (files, path) = (&self.host.files, placed.environment_file());
        if let Some(parent) = path.parent() {
            files.create_directory(parent, 0o700).await?;
        }
        let (uid, gid) = self.host.users.own();
        files.stage(&staged(&path), environment, Attributes { mode: 0o600, uid, gid }).await?;
        files.install(&staged(&path), &path).await?;
        if placed.has_services() { self.link_variables(placed).await } else { Ok(()) }
    }

    /// Puts a generation where its slot, and compose, look for it.
    pub(super) async fn place(&self, slot: Slot, placed: &Placed) -> Result<(), HostError> {
        if placed.has_services() {
            self.link_variables(placed).await?;
        }
        let (link, release) = (Place::Release(self.application, slot).path(), &placed.generation.release);
        if self.host.directories.link(&link).await?.as_ref() == Some(release) {
            return Ok(());
        }
        self.host.files.create_directory(&Place::Slot(self.application, slot).path(), 0o755).await?;
        self.host.directories.switch(&link, release).await
    }

    /// Compose reads the `.env` of the release: a link to the file below /run, unless the release has its own file.
    async fn link_variables(&self, placed: &Placed) -> Result<(), HostError> {
        let link = placed.generation.release.join(".env");
        let is_own = self.host.files.stat(&link).await?.is_some_and(|stat| stat.kind != FileKind::Symlink);
        if is_own { Ok(()) } else { self.host.directories.switch(&link, &placed.environment_file()).await }
    }

    pub(super) async fn launch(&self, placed: &Placed, process: &str, within: Duration) -> Result<(), HostError> {
        let container = placed.container().map(|container| container.completed(self.memory.pin(container.image())));
        let Some(launch) = placed.launch(process, container.as_ref()) else { return Ok(()) };
        self.host.units.launch(&launch, within).await
    }

    /// Stops processes, all at the same time.
    pub(super) async fn stop(&self, placed: &Placed, processes: &[&str]) -> Result<(), HostError> {
        let removed = if placed.container().is_some() { REMOVED_WITHIN } else { Duration::ZERO };
        let within = Duration::from_millis(placed.generation.stop_grace_ms) + KILLED_WITHIN + removed;
        let units: Vec<String> = processes.iter().map(|process| placed.unit(process)).collect();
        let shown = self.host.units.show(&units).await?;
        let there: Vec<String> =
            units.into_iter().zip(&shown).filter(|(_, unit)| unit.active != "inactive").map(|(name, _)| name).collect();
        let stops = there.iter().map(|name| self.host.units.stop(name, within));
        futures_util::future::join_all(stops).await.into_iter().collect::<Result<(), _>>()?;
        // A unit that did not stop as requested stays loaded, and blocks its name.
        let left = self.host.units.show(&there).await?;
        for (name, _) in there.iter().zip(&left).filter(|(_, unit)| unit.active == "failed") {
            self.host.units.reset_failed(name).await?;
        }
        Ok(())
    }

    /// Waits for processes that are already stopping: until they are gone, they count as running and block their names.
    pub(super) async fn gone(&self, placed: &Placed) -> Result<(), HostError> {
        let states = self.states(placed).await?;
        let going: Vec<&str> =
            states.iter().filter(|(_, unit)| unit.active == "deactivating").map(|(process, _)| process.as_str()).collect();
        if going.is_empty() { Ok(()) } else { self.stop(placed, &going).await }
    }

    /// Routes requests to a slot of an application that takes over the ports of another one and has no link yet: it has
    /// to receive requests from the very first one.
    pub(super) async fn lead_first(&self, slot: Slot) -> Result<(), HostError> {
        let link = Place::Current(self.application).path();
        match self.host.directories.link(&link).await? {
            Some(_) => Ok(()),
            None => self.host.directories.switch(&link, &target(self.application, slot)).await,
        }
    }

    /// Switches requests to a slot.
    pub(super) async fn switch(&self, slot: Slot) -> Result<(), HostError> {
        if let Some((placed, false)) = self.memory.slot(slot) {
            self.memory.set_slot(slot, &placed, true).await?;
        }
        let (link, target) = (Place::Current(self.application).path(), target(self.application, slot));
        if self.host.directories.link(&link).await?.as_ref() != Some(&target) {
            self.host.directories.switch(&link, &target).await?;
        }
        if self.memory.current() == Some(slot) { Ok(()) } else { self.memory.set_current(slot).await }
    }

    /// Waits until no request is left in a slot, at most `limit`. Returns whether that is the case.
    pub(super) async fn drained(&self, slot: Slot, placed: &Placed, limit: Duration) -> Result<bool, HostError> {
        let clock = &self.host.clock;
        let begun = clock.elapsed();
        // The socket is checked first, because the TCP table is long.
        for endpoint in [Endpoint::Path(Place::Socket(self.application, slot).path()), Endpoint::Port(placed.port)] {
            let mut idle = 0;
            while idle < DRAINED_AFTER {
                if clock.elapsed() - begun >= limit {
                    return Ok(false);
                }
                let connections = self.host.sockets.connections(std::slice::from_ref(&endpoint)).await?;
                idle = if connections == 0 { idle + 1 } else { 0 };
                clock.sleep(DRAINED_EVERY).await;
            }
        }
        Ok(true)
    }

    /// Stops whatever is left in a slot that no longer serves, and frees the slot.
    pub(super) async fn retire(&self, slot: Slot, placed: &Placed) -> Result<(), HostError> {
        // An interrupted switch has redirected requests to the other slot without recording it.
        if self.memory.current() == Some(slot) && self.memory.slot(slot.other()).is_some() {
            self.memory.set_current(slot.other()).await?;
        }
        self.stop(placed, &placed.processes()).await?;
        self.host.files.remove(&placed.environment_file()).await?;
        self.host.files.remove(&Place::Release(self.application, slot).path()).await?;
        self.memory.retire(slot, placed.number).await
    }

    /// The generation that serves, or served last, and its slot.
    pub(super) fn serving(&self) -> Option<(Slot, Placed)> {
        let slot = self.memory.current()?;
        Some((slot, self.memory.slot(slot)?.0))
    }

    /// Points the bundle's `current` at the serving release.
    pub(super) async fn point_current(&self, placed: &Placed) -> Result<(), HostError> {
        match current_of(&placed.generation.release) {
            Some((current, target)) => self.host.directories.switch(&current, &target).await,
            None => Ok(()),
        }
    }

    /// The `current` link of a bundle, if it does not point to `release`.
    pub(super) async fn current_elsewhere(&self, release: &Path) -> Result<Option<PathBuf>, HostError> {
        let Some((current, target)) = current_of(release) else { return Ok(None) };
        let found = self.host.directories.link(&current).await?;
        Ok((found.as_ref() != Some(&target)).then_some(current))
    }

    /// The unit of each process of a generation, by process name.
    pub(super) async fn states(&self, placed: &Placed) -> Result<BTreeMap<String, crate::host::Unit>, HostError> {
        let names = placed.processes();
        let units: Vec<String> = names.iter().map(|process| placed.unit(process)).collect();
        let shown = self.host.units.show(&units).await?;
        Ok(names.into_iter().map(str::to_owned).zip(shown).gather())
    }
}

/// The `current` link of the bundle that a release belongs to, and its target if the release serves, relative to its
/// directory.
fn current_of(release: &Path) -> Option<(PathBuf, PathBuf)> {
    let (releases, name) = (release.parent()?, release.file_name()?);
    Some((releases.parent()?.join("current"), Path::new("releases").join(name)))
}

/// User and group that own a release.
pub(super) async fn owner(release: &Path, host: &Host) -> Result<(u32, u32), HostError> {
    let stat = host.files.stat(release).await?;
    Ok(stat.map_or((0, 0), |stat| (stat.attributes.uid, stat.attributes.gid)))
}
