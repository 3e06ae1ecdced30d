//! What has to be done to an application, decided from what was found. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::change::Change;
use super::fields::Overlap;
use super::generation::{Generation, Placed};
use super::hooks::{Moment, Occasion};
use super::procfile::WEB;
use super::recipe::Recipe;
use super::slot::Slot;

/// What was found on the machine.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In slot a and slot b, and whether it has proved that it serves.
    pub(super) slots: [Option<(Placed, bool)>; 2],
    /// The slot that requests are led to, or that last had them.
    pub(super) current: Option<Slot>,
    /// Whether requests are led there now.
    pub(super) is_led: bool,
    /// Whether requests are led somewhere of which nothing is remembered.
    pub(super) is_lost: bool,
    /// Units that run, or are about to.
    pub(super) running: BTreeSet<String>,
    /// Those of them that are up.
    pub(super) up: BTreeSet<String>,
    /// The generation whose hooks have all run.
    pub(super) hooked: Option<u32>,
    /// The highest number of a generation that is gone.
    pub(super) last: u32,
    /// The slots whose processes run with other secrets than those of today.
    pub(super) stale: BTreeSet<Slot>,
}

impl Found {
    fn placed(&self, slot: Slot) -> Option<&Placed> {
        self.slots[slot as usize].as_ref().map(|(placed, _)| placed)
    }

    /// Whether the release that serves is in this directory.
    fn serves(&self, release: &Path) -> bool {
        self.current.and_then(|slot| self.placed(slot)).is_some_and(|placed| placed.generation.release == release)
    }

    fn is_proven(&self, slot: Slot) -> bool {
        self.slots[slot as usize].as_ref().is_some_and(|(_, proven)| *proven)
    }

    fn runs(&self, placed: &Placed, process: &str) -> bool {
        self.running.contains(&placed.unit(process))
    }
}

/// What is wanted of an application.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) application: &'a str,
    pub(super) generation: Generation,
    pub(super) port: u16,
    pub(super) overlap: &'a Overlap,
    /// How its release is built, unless it is.
    pub(super) build: Option<Recipe>,
    /// The hooks of the release.
    pub(super) hooks: BTreeMap<(Occasion, Moment), Vec<String>>,
    /// What differs of the proxy.
    pub(super) front: Vec<Change>,
    /// Where the first generation goes.
    pub(super) first: Slot,
}

impl Wanted<'_> {
    fn is(&self, slot: Slot, found: &Found) -> bool {
        let port = slot.port(self.port, self.overlaps());
        found.placed(slot).is_some_and(|placed| placed.generation == self.generation && placed.port == port) && !found.stale.contains(&slot)
    }

    fn overlaps(&self) -> bool {
        self.overlap.covers(WEB)
    }

    /// Where the generation that is wanted is, or is to be.
    pub(super) fn slot(&self, found: &Found) -> Slot {
        match found.current {
            Some(current) if self.is(current, found) => current,
            current => current.map_or(self.first, Slot::other),
        }
    }

    /// The changes that make the application what it should be, in their order.
    pub(super) fn changes(&self, found: &Found) -> Vec<Change> {
        match found.current {
            Some(current) if self.is(current, found) => self.kept(current, found),
            current => self.replaced(current, found),
        }
    }

    /// What is current is what is wanted: whatever of it does not run is started.
    fn kept(&self, slot: Slot, found: &Found) -> Vec<Change> {
        let Some(placed) = found.placed(slot) else { return Vec::new() };
        let down: Vec<&str> = placed.processes().into_iter().filter(|process| !found.runs(placed, process)).collect();
        let is_up = placed.units().all(|unit| found.up.contains(&unit));
        let mut changes = Vec::new();
        if !down.is_empty() {
            changes.push(Change::Prepare { slot, placed: placed.clone() });
            // Left by a switch that was cut off.
            changes.extend(found.placed(slot.other()).and_then(|before| self.stopped(slot.other(), before, true, found)));
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
        if found.hooked != Some(placed.number) {
            changes.extend(self.hooks(Moment::Postdeploy, slot, placed));
        }
        let retired = self.retired(slot.other(), found);
        if !is_sound && retired.is_some() {
            changes.push(Change::Settle { slot, placed: placed.clone() });
        }
        changes.extend(retired);
        changes
    }

    /// Another generation comes in the place of what is current, if anything is.
    fn replaced(&self, current: Option<Slot>, found: &Found) -> Vec<Change> {
        let slot = current.map_or(self.first, Slot::other);
        let mut changes = Vec::new();
        let placed = match found.placed(slot) {
            // A switch that was cut off goes on.
            Some(placed) if self.is(slot, found) => placed.clone(),
            _ => {
                changes.extend(self.retired(slot, found));
                Placed {
                    application: self.application.to_owned(),
                    number: next(found),
                    port: slot.port(self.port, self.overlaps()),
                    occasion: if found.serves(&self.generation.release) { Occasion::Configuration } else { Occasion::Release },
                    generation: self.generation.clone(),
                }
            }
        };
        let before = current.and_then(|current| Some((current, found.placed(current)?)));
        let (first, later): (Vec<&str>, Vec<&str>) =
            placed.processes().into_iter().partition(|process| *process == WEB || self.overlap.covers(process));
        // The port of one that does not overlap is the proxy's, for the neighbors of one that does.
        let is_beside = self.overlaps() && before.is_none_or(|(_, before)| before.port != self.port);
        let stop = || before.and_then(|(slot, before)| self.stopped(slot, before, is_beside, found));
        changes.extend(self.hooks(Moment::Prebuild, slot, &placed));
        changes.extend(self.build.iter().map(|recipe| Change::Build { placed: placed.clone(), recipe: recipe.clone() }));
        changes.extend(self.hooks(Moment::Predeploy, slot, &placed));
        changes.push(Change::Prepare { slot, placed: placed.clone() });
        if !is_beside {
            changes.extend(stop());
            changes.extend(self.front.iter().cloned());
        }
        let starts = |process: &&str| !found.runs(&placed, process);
        changes.extend(first.iter().filter(|process| starts(process)).map(|process| launch(slot, &placed, process)));
        changes.push(Change::Prove { slot, placed: placed.clone() });
        if is_beside {
            changes.extend(self.front.iter().cloned());
        }
        changes.push(Change::Switch { slot, placed: placed.clone(), from: before.map(|(_, before)| before.generation.version.clone()) });
        if is_beside {
            changes.extend(stop());
        }
        changes.extend(later.iter().filter(|process| starts(process)).map(|process| launch(slot, &placed, process)));
        changes.extend(self.hooks(Moment::Postdeploy, slot, &placed));
        // Last: after this, nothing is left to go back to.
        if before.is_some() || !later.is_empty() {
            changes.push(Change::Settle { slot, placed: placed.clone() });
        }
        changes.extend(before.map(|(slot, before)| Change::Retire { slot, placed: before.clone() }));
        changes
    }

    fn hooks(&self, moment: Moment, slot: Slot, placed: &Placed) -> Option<Change> {
        let hooks = self.hooks.get(&(placed.occasion, moment)).filter(|hooks| !hooks.is_empty())?;
        Some(Change::Hooks { slot, placed: placed.clone(), moment, hooks: hooks.clone() })
    }

    /// The processes before that do not run beside their successors: of two that are not side by side, all.
    fn stopped(&self, slot: Slot, before: &Placed, is_beside: bool, found: &Found) -> Option<Change> {
        let runs = before.processes().into_iter().filter(|process| found.runs(before, process));
        let processes: Vec<String> = runs.filter(|process| !is_beside || !self.overlap.covers(process)).map(str::to_owned).collect();
        (!processes.is_empty()).then(|| Change::Stop { slot, placed: before.clone(), processes })
    }

    /// The generation in a slot that has to be empty, to be stopped.
    fn retired(&self, slot: Slot, found: &Found) -> Option<Change> {
        found.placed(slot).map(|placed| Change::Retire { slot, placed: placed.clone() })
    }
}

fn launch(slot: Slot, placed: &Placed, process: &str) -> Change {
    Change::Launch { slot, placed: placed.clone(), process: process.to_owned() }
}

/// One more than any generation that is known.
fn next(found: &Found) -> u32 {
    let numbers = found.slots.iter().flatten().map(|(placed, _)| placed.number);
    numbers.chain([found.last]).max().unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(version: &str) -> Generation {
        let processes = [(WEB, "serve"), ("jobs", "work")].map(|(name, command)| (name.to_owned(), command.to_owned()));
        Generation {
            release: format!("/opt/shop/releases/{version}").into(),
            version: version.into(),
            processes: processes.into(),
            user: "shop".into(),
            environment: BTreeMap::new(),
            secrets: Vec::new(),
            stop_signal: "SIGTERM".into(),
            stop_grace_ms: 30_000,
            properties: Vec::new(),
            has_runtime_directory: false,
            php: None,
        }
    }

    fn placed(number: u32, version: &str, slot: Slot) -> Placed {
        Placed {
            application: "shop".into(),
            number,
            port: slot.port(5000, true),
            occasion: Occasion::Release,
            generation: generation(version),
        }
    }

    /// A machine on which version 1 serves in slot a.
    fn serving() -> Found {
        let one = placed(1, "1", Slot::A);
        let units: BTreeSet<String> = one.units().collect();
        Found {
            slots: [Some((one, true)), None],
            current: Some(Slot::A),
            is_led: true,
            is_lost: false,
            running: units.clone(),
            up: units,
            hooked: None,
            last: 0,
            stale: BTreeSet::new(),
        }
    }

    fn changes(version: &str, overlap: &Overlap, found: &Found) -> Vec<String> {
        let (build, hooks, front) = (None, BTreeMap::new(), Vec::new());
        let (port, first) = (5000, Slot::A);
        let wanted = Wanted { application: "shop", generation: generation(version), port, overlap, build, hooks, front, first };
        wanted.changes(found).iter().map(ToString::to_string).collect()
    }

    const WEB_ALONE: &Overlap = &Overlap::Web(true);

    #[test]
    fn the_first_release_is_started_and_gets_requests_once_it_serves() {
        assert_eq!(
            changes("1", WEB_ALONE, &Found::default()),
            [
                "write the environment of shop 1 (generation 1)",
                "start shop-web-1.service: serve",
                "wait until shop 1 (generation 1) serves on port 15000",
                "switch requests to shop 1 (generation 1)",
                "start shop-jobs-1.service: work",
                "check that shop 1 (generation 1) stays up",
            ]
        );
    }

    #[test]
    fn what_serves_is_left_alone() {
        assert!(changes("1", WEB_ALONE, &serving()).is_empty());
    }

    #[test]
    fn the_next_release_is_proven_beside_the_one_that_serves() {
        assert_eq!(
            changes("2", WEB_ALONE, &serving()),
            [
                "write the environment of shop 2 (generation 2)",
                "start shop-web-2.service: serve",
                "wait until shop 2 (generation 2) serves on port 25000",
                "switch requests to shop 2 (generation 2) instead of 1",
                "stop shop-jobs-1.service",
                "start shop-jobs-2.service: work",
                "check that shop 2 (generation 2) stays up",
                "drain and stop shop-web-1.service, shop-jobs-1.service",
            ]
        );
    }

    #[test]
    fn without_overlap_the_old_one_stops_first() {
        let found = Found { slots: [Some((Placed { port: 5000, ..placed(1, "1", Slot::A) }, true)), None], ..serving() };
        let made = changes("2", &Overlap::Web(false), &found);
        let at = |line: &str| made.iter().position(|made| made.starts_with(line)).unwrap_or_else(|| panic!("{line} is not in {made:?}"));
        assert!(at("stop shop-web-1.service, shop-jobs-1.service") < at("start shop-web-2.service"));
        assert_eq!(at("drain and stop shop-web-1.service"), made.len() - 1);
    }

    #[test]
    fn other_secrets_make_another_generation_of_the_same_release() {
        let found = Found { stale: [Slot::A].into(), ..serving() };
        assert!(changes("1", WEB_ALONE, &found).contains(&"start shop-web-2.service: serve".to_owned()));
    }

    #[test]
    fn after_a_reboot_the_same_generation_starts_again() {
        let found = Found { is_led: false, running: BTreeSet::new(), up: BTreeSet::new(), ..serving() };
        let made = changes("1", WEB_ALONE, &found);
        assert!(made.contains(&"start shop-web-1.service: serve".to_owned()), "{made:?}");
        assert!(made.contains(&"switch requests to shop 1 (generation 1)".to_owned()), "{made:?}");
    }

    #[test]
    fn a_switch_that_was_cut_off_goes_on() {
        let two = placed(2, "2", Slot::B);
        let mut found = serving();
        found.running.insert(two.unit(WEB));
        found.slots[1] = Some((two.clone(), false));
        let made = changes("2", WEB_ALONE, &found);
        assert!(!made.iter().any(|line| line.starts_with("start shop-web")) && made[0].ends_with("(generation 2)"), "{made:?}");

        // The link was switched already.
        let mut found = Found { current: Some(Slot::B), ..found };
        found.up.insert(two.unit(WEB));
        found.slots[1] = Some((two, true));
        let made = changes("2", WEB_ALONE, &found);
        let at = |line: &str| made.iter().position(|made| made.starts_with(line)).unwrap_or_else(|| panic!("{line} is not in {made:?}"));
        assert!(
            at("stop shop-jobs-1.service") < at("start shop-jobs-2.service")
                && at("start shop-jobs-2.service") < at("drain and stop shop-web-1.service"),
            "{made:?}"
        );
    }

    #[test]
    fn what_another_document_left_in_the_free_slot_goes_first() {
        let mut found = serving();
        found.slots[1] = Some((placed(4, "3", Slot::B), false));
        let made = changes("2", WEB_ALONE, &found);
        assert_eq!(made[0], "drain and stop shop-web-4.service, shop-jobs-4.service");
        assert!(made.contains(&"start shop-web-5.service: serve".to_owned()), "{made:?}");
        assert_eq!(changes("1", WEB_ALONE, &found), ["drain and stop shop-web-4.service, shop-jobs-4.service"]);
    }
}
