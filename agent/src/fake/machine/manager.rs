//! The state of systemd on a machine in memory: its units, and what each does when started.

mod fake_unit;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::{Checked, Ended, HostError, Launch, Unit};

/// The unit that ingot runs in. It is activating, with a job, for as long as ingot can see it.
pub(super) const OWN: &str = "ingot.service";

/// The pause between restarts of a unit that keeps failing (`RestartSec=`).
const RESTART: Duration = Duration::from_secs(1);

/// A unit, and what it does when started. By default, a loaded service of type simple that is active at once.
#[derive(Debug, Clone)]
pub(crate) struct FakeUnit {
    pub(super) shown: Unit,
    requires: Vec<String>,
    course: Course,
    exit_status: i32,
    /// The path of the file from which a generator creates it.
    made_of: Option<String>,
    /// It has reached its start limit, and is not started again until its failure is reset.
    limited: bool,
    pub(super) journal: Vec<String>,
    /// How long it takes to read its journal.
    pub(super) journal_takes: Duration,
    /// When it was last started, on the machine's clock.
    since: Option<Duration>,
    starts: u32,
    transient: bool,
    stops_badly: bool,
    /// It was stopped and exited with an error.
    is_left: bool,
    /// How long its program takes to exit, and when the program that was stopped last will have exited.
    stops_within: Duration,
    stops_at: Duration,
    pub(super) reloads: u32,
}

/// What a start leads to.
#[derive(Debug, Clone, Copy)]
enum Course {
    Up,
    /// It is active only after this time.
    Late(Duration),
    Fails,
    /// It fails, is started again, and fails again.
    Loops,
    /// It exits by itself with success.
    Ends,
    /// One of its conditions is not met.
    Skipped,
    /// It becomes active, and dies after this time.
    Dies(Duration),
    /// It is reloading from its start until this time has passed.
    Reloads(Duration),
    /// It has done its work, and does it again after this time.
    EndsAgain(Duration),
    /// It is active, and is restarted after each of these times, in seconds.
    Restarts(&'static [u64]),
    /// Its program has exited by itself, and is started when there is work.
    Idles,
}

#[derive(Debug, Default)]
pub(super) struct Manager {
    pub(super) units: BTreeMap<String, FakeUnit>,
    /// How often it has reloaded its unit files.
    pub(super) readings: u32,
    /// The number of units that each query asked for.
    pub(super) asked: Vec<usize>,
    /// How many of the next queries it leaves unanswered.
    pub(super) unanswered: u32,
}

impl Manager {
    pub(super) fn add(&mut self, unit: FakeUnit) {
        self.units.insert(unit.shown.id.clone(), unit);
    }

    pub(super) fn starts_and_reloads(&self, name: &str) -> (u32, u32) {
        self.units.get(name).map_or((0, 0), |unit| (unit.starts, unit.reloads))
    }

    pub(super) fn stop_all(&mut self) {
        self.units.retain(|_, unit| !unit.transient);
        self.units.values_mut().for_each(|unit| (unit.since, unit.is_left) = (None, false));
    }

    /// Returns whether there was anything to stop. A transient unit no longer exists afterwards.
    pub(super) fn stop(&mut self, name: &str, now: Duration) -> bool {
        let Some(unit) = self.units.get_mut(name) else { return false };
        let was_up = unit.since.take().is_some();
        unit.is_left = was_up && unit.stops_badly;
        if was_up {
            unit.stops_at = now + unit.stops_within;
        }
        if unit.transient {
            self.units.remove(name);
        }
        was_up
    }

    /// How much longer a stopped unit takes to exit.
    pub(super) fn stops_for(&self, name: &str, now: Duration) -> Duration {
        self.units.get(name).map_or(Duration::ZERO, |unit| unit.stops_at.saturating_sub(now))
    }

    /// Kills a unit, whose program exits at once. Returns whether there was anything to kill.
    pub(super) fn terminate(&mut self, name: &str) -> bool {
        self.units.get_mut(name).is_some_and(|unit| unit.since.take().is_some())
    }

    /// Creates a transient unit. It behaves as the test has set for a unit of its name, if it has.
    pub(super) fn launch(&mut self, launch: &Launch, now: Duration) -> Result<bool, HostError> {
        let name = launch.unit.as_str();
        let unit = self.units.entry(name.to_owned()).or_insert_with(|| FakeUnit::launched(name));
        if unit.since.is_some() || unit.is_left || unit.stops_at > now {
            return refused("start", name, format!("Failed to start transient service unit: Unit {name} was already loaded."));
        }
        unit.since = Some(now);
        unit.starts += 1;
        Ok(true)
    }

    pub(super) fn is_active(&self, name: &str, now: Duration) -> bool {
        self.get(name).show(now).active == "active"
    }

    pub(super) fn describe(&self, now: Duration, lines: &mut BTreeMap<String, String>) {
        for (name, unit) in self.units.iter().filter(|(_, unit)| unit.since.is_some()) {
            let shown = unit.show(now);
            lines.insert(name.clone(), format!("{} ({})", shown.active, shown.sub));
        }
    }

    /// The unit of this name, or a default unit.
    pub(super) fn get(&self, name: &str) -> FakeUnit {
        self.units.get(name).cloned().unwrap_or_else(|| FakeUnit::new(name))
    }

    /// Reloads unit files, and creates the units that generators create; `is_there` says whether a file exists. Returns
    /// whether anything changed.
    pub(super) fn read_again(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        self.readings += 1;
        let mut changed = false;
        for unit in self.units.values_mut() {
            let is_made = unit.made_of.as_ref().is_some_and(|path| is_there(path));
            changed |= unit.shown.stale || is_made;
            unit.shown.stale = false;
            if is_made {
                unit.made_of = None;
                unit.shown.load = "loaded".into();
            }
        }
        changed
    }

    /// Returns whether there was a failure to reset.
    pub(super) fn forget_failure(&mut self, name: &str) -> bool {
        self.units.get_mut(name).is_some_and(|unit| std::mem::take(&mut unit.limited) | std::mem::take(&mut unit.is_left))
    }

    /// Starts a unit after the units it requires. Returns whether anything changed.
    pub(super) fn start(&mut self, verb: &'static str, name: &str, again: bool, now: Duration) -> Result<bool, HostError> {
        let unit = self.get(name);
        match unit.shown.load.as_str() {
            "loaded" => {}
            "not-found" => return refused(verb, name, format!("Failed to {verb} {name}: Unit {name} not found.")),
            other => return refused(verb, name, format!("Failed to {verb} {name}: Unit {name} is {other}.")),
        }
        for required in &unit.requires {
            self.start(verb, required, false, now)?;
            if self.get(required).show(now).active == "failed" {
                return refused(verb, name, format!("A dependency job for {name} failed. See 'journalctl -xe' for details."));
            }
        }
        let up = matches!(unit.shown.id.as_str(), OWN) || matches!(self.get(name).show(now).active.as_str(), "active" | "activating");
        if up && !again {
            return Ok(false);
        }
        if unit.limited {
            return refused(verb, name, format!("Job for {name} failed."));
        }
        for other in self.units.values_mut() {
            let is_in_conflict = unit.shown.conflicts.contains(&other.shown.id) || other.shown.conflicts.iter().any(|unit| unit == name);
            if is_in_conflict {
                other.since = None;
            }
        }
        let unit = self.units.entry(name.to_owned()).or_insert_with(|| FakeUnit::new(name));
        unit.since = Some(now);
        unit.starts += 1;
        Ok(true)
    }
}

pub(super) fn refused<T>(verb: &'static str, unit: &str, said: String) -> Result<T, HostError> {
    Err(HostError::Systemctl { verb, unit: unit.into(), said })
}
