//! What systemd of a machine in memory knows: its units, and what each does when started.

mod fake_unit;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::{Checked, Ended, HostError, Launch, Unit};

/// The unit that ingot runs in: at work, and with a job, for as long as we can see.
pub(super) const OWN: &str = "ingot.service";

/// How long a unit that fails over and over rests in between (`RestartSec=`).
const RESTART: Duration = Duration::from_secs(1);

/// A unit, and what it does when started. Without more said: a loaded service of type simple that comes up at once.
#[derive(Debug, Clone)]
pub(crate) struct FakeUnit {
    pub(super) shown: Unit,
    requires: Vec<String>,
    course: Course,
    exit_status: i32,
    /// The path of the file of which a generator makes it.
    made_of: Option<String>,
    /// It failed too often, and is not started until that is forgotten.
    limited: bool,
    pub(super) journal: Vec<String>,
    /// How long its journal takes to be read.
    pub(super) journal_takes: Duration,
    /// When it was last started, on the machine's clock.
    since: Option<Duration>,
    starts: u32,
    transient: bool,
    stops_badly: bool,
    /// It was stopped, and stopped badly.
    is_left: bool,
    /// How long its program takes to end, and when the one that was stopped last will have.
    stops_within: Duration,
    stops_at: Duration,
    pub(super) reloads: u32,
}

/// How a start goes.
#[derive(Debug, Clone, Copy)]
enum Course {
    Up,
    /// It is up only after this time.
    Late(Duration),
    Fails,
    /// It fails, is started again, and fails again.
    Loops,
    /// It ends by itself, having done what it had to.
    Ends,
    /// A condition of it is not met.
    Skipped,
    /// It comes up, and dies after this time.
    Dies(Duration),
    /// It reloads from its start until after this time.
    Reloads(Duration),
    /// It has done its work, and does it again from after this time on.
    EndsAgain(Duration),
    /// It is up, and is restarted after each of these times, in seconds.
    Restarts(&'static [u64]),
    /// Its program has ended by itself, until there is something to do.
    Idles,
}

#[derive(Debug, Default)]
pub(super) struct Manager {
    pub(super) units: BTreeMap<String, FakeUnit>,
    /// How often it has read its unit files again.
    pub(super) readings: u32,
    /// Of how many units it was asked, each time.
    pub(super) asked: Vec<usize>,
    /// How many of the next questions it does not answer.
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

    /// Says whether there was anything to stop. A transient unit is gone then.
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

    /// How long a unit takes to end that was stopped.
    pub(super) fn stops_for(&self, name: &str, now: Duration) -> Duration {
        self.units.get(name).map_or(Duration::ZERO, |unit| unit.stops_at.saturating_sub(now))
    }

    /// Says whether there was anything to end. Its program ends at once.
    pub(super) fn terminate(&mut self, name: &str) -> bool {
        self.units.get_mut(name).is_some_and(|unit| unit.since.take().is_some())
    }

    /// Makes a transient unit. How it goes on is what was said of a unit of its name, if anything was.
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

    /// A unit that no one has said anything of.
    pub(super) fn get(&self, name: &str) -> FakeUnit {
        self.units.get(name).cloned().unwrap_or_else(|| FakeUnit::new(name))
    }

    /// Reads unit files again, and makes the units that generators make; `is_there` is whether there is a file. Says whether
    /// anything changed.
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

    /// Says whether there was anything to forget.
    pub(super) fn forget_failure(&mut self, name: &str) -> bool {
        self.units.get_mut(name).is_some_and(|unit| std::mem::take(&mut unit.limited) | std::mem::take(&mut unit.is_left))
    }

    /// Starts a unit and, first, what it requires. Says whether anything changed.
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
