//! An application on this machine: what is there of it, and the few things that are done to it. Dull: what is to be done, and
//! in which order, is decided elsewhere.
//!
//! Requests find the release that serves by a symbolic link, [`Place::Current`], which leads to the directory of a slot. The link is
//! renamed over the one before, so that there is always one, and whoever follows it gets to one release or the other.

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

/// How much longer than its grace a stop may take: systemd kills what is left, and tidies up.
pub(super) const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// How often it is asked whether requests are still in a slot, and how many answers in a row have to be that there are none:
/// one that nginx has just accepted is between two sockets.
const DRAINED_EVERY: Duration = Duration::from_millis(50);
const DRAINED_AFTER: u32 = 3;

/// Where the link leads that requests follow: from its own directory, so that it means the same below another root.
fn target(application: &str, slot: Slot) -> PathBuf {
    format!("slots/{application}-{}", slot.name()).into()
}

/// The directories of all releases that are in a slot of an application, as they are remembered: after a reboot, no process
/// of them has to be there.
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
    /// What is there, but for what its secrets tell.
    pub(super) async fn found(&self) -> Result<Found, HostError> {
        let led = self.host.directories.link(&Place::Current(self.application).path()).await?;
        let led = led.and_then(|to| Slot::BOTH.into_iter().find(|slot| target(self.application, *slot) == to));
        let slots = Slot::BOTH.map(|slot| self.memory.slot(slot));
        let known = |slot: &Slot| slots[*slot as usize].is_some();
        // Requests go where the link leads, whatever was written down before or after it was switched.
        let current = led.filter(known).or(self.memory.current().filter(known));
        // One that was cut off before it was written down is made again: what serves is told by what is written.
        let is_led = led.is_some() && led == current && led == self.memory.current();
        let is_lost = match led.filter(|_| current.is_none()) {
            // Where it was stopped, this is gone.
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

    /// Writes down what is about to run, before any of it does.
    pub(super) async fn prepare(&self, slot: Slot, placed: &Placed, environment: &[u8]) -> Result<(), HostError> {
        let is_known = self.memory.slot(slot).is_some_and(|(known, _)| known == *placed);
        if !is_known {
            self.memory.set_slot(slot, placed, false).await?;
        }
        self.write_variables(placed, environment).await?;
        self.place(slot, placed).await
    }

    /// Writes the environment of a generation where its processes are given it from.
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

    /// Compose reads `.env` of the release: a link to the file below /run, unless the release has a file of its own.
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
        let within = Duration::from_millis(placed.generation.stop_grace_ms) + KILLED_WITHIN;
        let units: Vec<String> = processes.iter().map(|process| placed.unit(process)).collect();
        let shown = self.host.units.show(&units).await?;
        let there: Vec<String> =
            units.into_iter().zip(&shown).filter(|(_, unit)| unit.active != "inactive").map(|(name, _)| name).collect();
        let stops = there.iter().map(|name| self.host.units.stop(name, within));
        futures_util::future::join_all(stops).await.into_iter().collect::<Result<(), _>>()?;
        // One that did not end as it was asked to stays loaded, and its name is not free.
        let left = self.host.units.show(&there).await?;
        for (name, _) in there.iter().zip(&left).filter(|(_, unit)| unit.active == "failed") {
            self.host.units.reset_failed(name).await?;
        }
        Ok(())
    }

    /// Waits for the end of what was asked to stop: it counts as running, and its name is not free.
    pub(super) async fn gone(&self, placed: &Placed) -> Result<(), HostError> {
        let states = self.states(placed).await?;
        let going: Vec<&str> =
            states.iter().filter(|(_, unit)| unit.active == "deactivating").map(|(process, _)| process.as_str()).collect();
        if going.is_empty() { Ok(()) } else { self.stop(placed, &going).await }
    }

    /// Has requests led to a slot of an application that takes another's place: at once, from the first that it is asked.
    pub(super) async fn lead_first(&self, slot: Slot) -> Result<(), HostError> {
        let link = Place::Current(self.application).path();
        match self.host.directories.link(&link).await? {
            Some(_) => Ok(()),
            None => self.host.directories.switch(&link, &target(self.application, slot)).await,
        }
    }

    /// Has requests led to a slot.
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

    /// Waits until no request is in a slot any more, at most `limit`. Says whether that is so.
    pub(super) async fn drained(&self, slot: Slot, placed: &Placed, limit: Duration) -> Result<bool, HostError> {
        let clock = &self.host.clock;
        let begun = clock.elapsed();
        // The socket first: the table of TCP is long.
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

    /// Stops whatever is left in a slot that serves no one, and frees it.
    pub(super) async fn retire(&self, slot: Slot, placed: &Placed) -> Result<(), HostError> {
        // A switch that was cut off has led requests to the other, and not written it down.
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

    /// Has the bundle's `current` lead to the release that serves.
    pub(super) async fn point_current(&self, placed: &Placed) -> Result<(), HostError> {
        match current_of(&placed.generation.release) {
            Some((current, target)) => self.host.directories.switch(&current, &target).await,
            None => Ok(()),
        }
    }

    /// The `current` of a bundle, where it does not lead to `release`.
    pub(super) async fn current_elsewhere(&self, release: &Path) -> Result<Option<PathBuf>, HostError> {
        let Some((current, target)) = current_of(release) else { return Ok(None) };
        let found = self.host.directories.link(&current).await?;
        Ok((found.as_ref() != Some(&target)).then_some(current))
    }

    /// The restarts of the processes of a generation, by name, with the units that are not up.
    pub(super) async fn states(&self, placed: &Placed) -> Result<BTreeMap<String, crate::host::Unit>, HostError> {
        let names = placed.processes();
        let units: Vec<String> = names.iter().map(|process| placed.unit(process)).collect();
        let shown = self.host.units.show(&units).await?;
        Ok(names.into_iter().map(str::to_owned).zip(shown).gather())
    }
}

/// The `current` of the bundle that a release is of, and where that leads if the release serves: from its own directory.
fn current_of(release: &Path) -> Option<(PathBuf, PathBuf)> {
    let (releases, name) = (release.parent()?, release.file_name()?);
    Some((releases.parent()?.join("current"), Path::new("releases").join(name)))
}

/// User and group of a release.
pub(super) async fn owner(release: &Path, host: &Host) -> Result<(u32, u32), HostError> {
    let stat = host.files.stat(release).await?;
    Ok(stat.map_or((0, 0), |stat| (stat.attributes.uid, stat.attributes.gid)))
}
