//! Decides what has to be done to an application, from what was found. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::change::Change;
use super::extension::Extension;
use super::fields::Overlap;
use super::generation::{Generation, Placed};
use super::hooks::{Moment, Occasion};
use super::procfile::WEB;
use super::recipe::Recipe;
use super::slot::Slot;

/// What was found on the machine.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What slot a and slot b contain, and whether it has proved that it serves.
    pub(super) slots: [Option<(Placed, bool)>; 2],
    /// The slot that receives requests, or received them last.
    pub(super) current: Option<Slot>,
    /// Whether requests are routed to that slot now.
    pub(super) is_led: bool,
    /// Whether requests are routed to a slot that ingot has no record of.
    pub(super) is_lost: bool,
    /// Units that run, or are about to run.
    pub(super) running: BTreeSet<String>,
    /// The running units that are up.
    pub(super) up: BTreeSet<String>,
    /// The generation whose hooks have all run.
    pub(super) hooked: Option<u32>,
    /// The highest number of a generation that is gone.
    pub(super) last: u32,
    /// The slots whose processes run with outdated secrets.
    pub(super) stale: BTreeSet<Slot>,
    /// Whether the proxy of the serving generation has lacked its certificate since a reboot.
    pub(super) lacks_certificate: bool,
}

impl Found {
    fn placed(&self, slot: Slot) -> Option<&Placed> {
        self.slots[slot as usize].as_ref().map(|(placed, _)| placed)
    }

    /// Whether the serving release is in this directory.
    fn serves(&self, release: &Path) -> bool {
        self.current.and_then(|slot| self.placed(slot)).is_some_and(|placed| placed.generation.release == release)
    }

    /// Whether containers of this image are running.
    pub(super) fn runs_image(&self, image: &str) -> bool {
        let is_of_it = |placed: &Placed| placed.container().is_some_and(|container| container.image() == image);
        let runs = |placed: &Placed| placed.units().all(|unit| self.running.contains(&unit));
        self.slots.iter().flatten().any(|(placed, _)| is_of_it(placed) && runs(placed))
    }

    /// Starts the generation that served last again, if its `web` does not run or its proxy has no certificate: after a
    /// reboot, a generation with secrets waits until those have been read.
    pub(super) fn resumed(&self) -> Option<Change> {
        let slot = self.current.filter(|slot| self.is_proven(*slot))?;
        let placed = self.placed(slot).filter(|placed| self.lacks_certificate || !self.runs(placed, WEB))?;
        Some(Change::Resume { slot, placed: placed.clone() })
    }

    /// The generation that served last. If power failed during a rollback, the generation that had the requests then is
    /// no longer proven.
    pub(super) fn served_last(&self) -> Option<(Slot, &Placed)> {
        let current = self.current?;
        let proven = [current, current.other()].into_iter().find(|slot| self.is_proven(*slot));
        proven.and_then(|slot| Some((slot, self.placed(slot)?)))
    }

    fn is_proven(&self, slot: Slot) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|(_, proven)| *proven)
    }

    fn runs(&self, placed: &Placed, process: &str) -> bool {
        self.running.contains(&placed.unit(process))
    }
}

/// How a generation replaces the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Both run until requests have been switched from one to the other.
    Beside,
    /// The next one is proven alongside the previous one, whose own port the proxy will take over: the previous one
    /// stops before the proxy listens.
    HandedOver,
    /// The previous one stops before the next one starts.
    Alone,
}

/// The wanted state of an application.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) application: &'a str,
    pub(super) generation: Generation,
    pub(super) port: u16,
    /// The ports of its proxy, in addition to `port`.
    pub(super) listens: Vec<u16>,
    pub(super) overlap: &'a Overlap,
    /// How its release is built, unless it has been built.
    pub(super) build: Option<Recipe>,
    /// What is carried out before the build, and what after it.
    pub(super) extensions: [Option<Extension>; 2],
    /// The hooks of the release.
    pub(super) hooks: BTreeMap<(Occasion, Moment), Vec<String>>,
    /// Changes to the proxy.
    pub(super) front: Vec<Change>,
    /// The slot of the first generation.
    pub(super) first: Slot,
    /// The `current` link of its bundle, if it points to another release and this application has to switch it.
    pub(super) current: Option<PathBuf>,
}

impl Wanted<'_> {
    fn is(&self, slot: Slot, found: &Found) -> bool {
        let port = slot.port(self.port, self.overlaps());
        found.placed(slot).is_some_and(|placed| placed.generation == self.generation && placed.port == port) && !found.stale.contains(&slot)
    }

    fn overlaps(&self) -> bool {
        self.overlap.covers(WEB)
    }

    /// The slot of the wanted generation, now or in the future.
    pub(super) fn slot(&self, found: &Found) -> Slot {
        match found.current {
            Some(current) if self.is(current, found) => current,
            current => current.map_or(self.first, Slot::other),
        }
    }

    /// The changes that bring the application to its wanted state, in order.
    pub(super) fn changes(&self, found: &Found) -> Vec<Change> {
        match found.current {
            Some(current) if self.is(current, found) => self.kept(current, found),
            current => self.replaced(current, found),
        }
    }

    /// The current generation is the wanted one: starts whatever part of it does not run.
    fn kept(&self, slot: Slot, found: &Found) -> Vec<Change> {
        let Some(placed) = found.placed(slot) else { return Vec::new() };
        let down: Vec<&str> = placed.processes().into_iter().filter(|process| !found.runs(placed, process)).collect();
        let is_up = placed.units().all(|unit| found.up.contains(&unit));
        let runs = |placed: &Placed, process: &str| found.runs(placed, process);
        let mut changes = Vec::new();
        if !down.is_empty() {
            changes.push(Change::Prepare { slot, placed: placed.clone() });
            // The previous generation may still run after an interrupted switch.
            changes.extend(found.placed(slot.other()).and_then(|before| self.stopped(slot.other(), before, true, &runs)));
            changes.extend(down.iter().map(|process| launch(slot, placed, process)));
        }
        let is_sound = is_up && found.is_led && found.is_proven(slot);
        if !is_sound {
            changes.push(Change::Prove { slot, placed: placed.clone() });
        }
        changes.extend(self.front.iter().cloned());
        if !is_sound {
            changes.push(Change::Switch { slot, placed: placed.clone(), from: None });
        }
        changes.extend(self.pointed(slot, placed));
        if found.hooked != Some(placed.number) {
            changes.extend(self.hooks(Moment::Postdeploy, slot, placed));
        }
        let retired = self.retired(slot.other(), found);
        // After an interruption, the new generation may not stay up, and there is still a previous one to roll back to.
        if retired.is_some() && (!is_sound || found.is_proven(slot.other())) {
            changes.push(Change::Settle { slot, placed: placed.clone() });
        }
        changes.extend(retired);
        changes
    }

    /// The generation that served last serves until its successor does, unless it is itself the wanted one.
    pub(super) fn resumed(&self, found: &Found) -> Option<Change> {
        let slot = self.slot(found);
        let before = found.current.filter(|current| *current != slot).and_then(|current| found.placed(current))?;
        let next = found.placed(slot).filter(|_| self.is(slot, found));
        // Two generations cannot use the same port.
        let is_taken = next.is_some_and(|next| next.port == before.port && found.runs(next, WEB));
        let is_near = || {
            self.turn(Some(before)) == Turn::Alone && self.made(slot, &next.cloned().unwrap_or_else(|| self.placed(slot, found))).is_empty()
        };
        // If the previous generation has to stop before its successor starts, resuming it is only worthwhile if that is
        // some way off.
        found.resumed().filter(|_| !is_taken && !is_near())
    }

    /// Another generation replaces the current one, if there is one.
    fn replaced(&self, current: Option<Slot>, found: &Found) -> Vec<Change> {
        let slot = current.map_or(self.first, Slot::other);
        // Resumes an interrupted switch.
        let begun = found.placed(slot).filter(|_| self.is(slot, found)).cloned();
        let retired = if begun.is_some() { None } else { self.retired(slot, found) };
        let placed = begun.unwrap_or_else(|| self.placed(slot, found));
        let before = current.and_then(|current| Some((current, found.placed(current)?)));
        let (first, later): (Vec<&str>, Vec<&str>) =
            placed.processes().into_iter().partition(|process| *process == WEB || self.overlap.covers(process));
        let turn = self.turn(before.map(|(_, before)| before));
        let made = self.made(slot, &placed);
        let resumed = self.resumed(found);
        let runs = |placed: &Placed, process: &str| resumed.is_some() || found.runs(placed, process);
        let stop = || before.and_then(|(slot, before)| self.stopped(slot, before, turn == Turn::Beside, &runs));
        let (checks, front): (Vec<Change>, Vec<Change>) =
            self.front.iter().cloned().partition(|change| matches!(change, Change::Check { .. }));
        let mut changes = Vec::from_iter(resumed.clone());
        changes.extend(retired);
        changes.extend(made);
        changes.extend(checks);
        changes.push(Change::Prepare { slot, placed: placed.clone() });
        if turn == Turn::Alone {
            changes.extend(stop());
            changes.extend(front.iter().cloned());
        }
        let starts = |process: &&str| !found.runs(&placed, process);
        changes.extend(first.iter().filter(|process| starts(process)).map(|process| launch(slot, &placed, process)));
        changes.push(Change::Prove { slot, placed: placed.clone() });
        if turn == Turn::HandedOver {
            changes.extend(stop());
        }
        if turn != Turn::Alone {
            changes.extend(front);
        }
        changes.push(Change::Switch { slot, placed: placed.clone(), from: before.map(|(_, before)| before.generation.version.clone()) });
        changes.extend(self.pointed(slot, &placed));
        if turn == Turn::Beside {
            changes.extend(stop());
        }
        changes.extend(later.iter().filter(|process| starts(process)).map(|process| launch(slot, &placed, process)));
        changes.extend(self.hooks(Moment::Postdeploy, slot, &placed));
        // This comes last, because afterwards there is nothing left to roll back to.
        if before.is_some() || !later.is_empty() {
            changes.push(Change::Settle { slot, placed: placed.clone() });
        }
        changes.extend(before.map(|(slot, before)| Change::Retire { slot, placed: before.clone() }));
        changes
    }

    /// The wanted generation, placed in a slot.
    fn placed(&self, slot: Slot, found: &Found) -> Placed {
        Placed {
            application: self.application.to_owned(),
            number: next(found),
            port: slot.port(self.port, self.overlaps()),
            occasion: if found.serves(&self.generation.release) { Occasion::Configuration } else { Occasion::Release },
            generation: self.generation.clone(),
        }
    }

    fn turn(&self, before: Option<&Placed>) -> Turn {
        match before {
            _ if !self.overlaps() => Turn::Alone,
            Some(before) if before.port == self.port || self.listens.contains(&before.port) => Turn::HandedOver,
            _ => Turn::Beside,
        }
    }

    /// The changes that make the release ready to run.
    fn made(&self, slot: Slot, placed: &Placed) -> Vec<Change> {
        let [before_build, after_build] = self.extensions.clone();
        let extend = |extension| Change::Extend { placed: placed.clone(), extension };
        let mut changes = Vec::from_iter(before_build.map(extend));
        changes.extend(self.hooks(Moment::Prebuild, slot, placed));
        changes.extend(self.build.iter().map(|recipe| Change::Build { placed: placed.clone(), recipe: recipe.clone() }));
        changes.extend(after_build.map(extend));
        changes.extend(self.hooks(Moment::Predeploy, slot, placed));
        changes
    }

    fn hooks(&self, moment: Moment, slot: Slot, placed: &Placed) -> Option<Change> {
        let hooks = self.hooks.get(&(placed.occasion, moment)).filter(|hooks| !hooks.is_empty())?;
        Some(Change::Hooks { slot, placed: placed.clone(), moment, hooks: hooks.clone() })
    }

    fn pointed(&self, slot: Slot, placed: &Placed) -> Option<Change> {
        let link = self.current.clone()?;
        Some(Change::Point { slot, placed: placed.clone(), link })
    }

    /// The processes of the previous generation to stop before their successors start: all of them, if the generations
    /// do not overlap.
    fn stopped(&self, slot: Slot, before: &Placed, is_beside: bool, runs: &dyn Fn(&Placed, &str) -> bool) -> Option<Change> {
        let running = before.processes().into_iter().filter(|process| runs(before, process));
        let processes: Vec<String> = running.filter(|process| !is_beside || !self.overlap.covers(process)).map(str::to_owned).collect();
        (!processes.is_empty()).then(|| Change::Stop { slot, placed: before.clone(), processes })
    }

    /// Retires the generation in a slot that has to be empty.
    fn retired(&self, slot: Slot, found: &Found) -> Option<Change> {
        found.placed(slot).map(|placed| Change::Retire { slot, placed: placed.clone() })
    }
}

fn launch(slot: Slot, placed: &Placed, process: &str) -> Change {
    Change::Launch { slot, placed: placed.clone(), process: process.to_owned() }
}

/// One more than the number of any known generation.
fn next(found: &Found) -> u32 {
    let numbers = found.slots.iter().flatten().map(|(placed, _)| placed.number);
    numbers.chain([found.last]).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests;
