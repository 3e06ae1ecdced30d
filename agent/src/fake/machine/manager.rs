//! What systemd of a machine in memory knows: its units, and what each does when started.

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
    /// It has done its work, and does it once more from after this time on.
    EndsAgain(Duration),
    /// It is up, and is restarted after each of these times, in seconds.
    Restarts(&'static [u64]),
    /// Its program has ended by itself, until there is something to do.
    Idles,
}

impl FakeUnit {
    pub(crate) fn new(name: &str) -> Self {
        let shown = Unit {
            id: name.into(),
            load: "loaded".into(),
            service_type: if name.ends_with(".service") { "simple".into() } else { String::new() },
            fragment: format!("/usr/lib/systemd/system/{name}"),
            can_reload: true,
            ..Unit::default()
        };
        Self {
            shown,
            requires: Vec::new(),
            course: Course::Up,
            exit_status: 0,
            made_of: None,
            limited: false,
            journal: Vec::new(),
            journal_takes: Duration::ZERO,
            since: None,
            starts: 0,
            transient: false,
            stops_badly: false,
            is_left: false,
            reloads: 0,
        }
    }

    /// One that is there as long as it is up.
    fn launched(name: &str) -> Self {
        let mut unit = Self::new(name).service_type("exec");
        unit.transient = true;
        unit
    }

    /// Its `LoadState` is another, such as `masked` or `not-found`.
    pub(crate) fn load(mut self, load: &str) -> Self {
        self.shown.load = load.into();
        self
    }

    /// Its `Type=`. Those that systemd waits for (notify, forking, oneshot) tell the starter of a failure; simple does not.
    pub(crate) fn service_type(mut self, service_type: &str) -> Self {
        self.shown.service_type = service_type.into();
        if service_type == "oneshot" && matches!(self.course, Course::Up) {
            self.course = Course::Ends;
        }
        self
    }

    pub(crate) fn after(mut self, unit: &str) -> Self {
        self.shown.after.push(unit.into());
        self
    }

    pub(crate) fn requires(mut self, unit: &str) -> Self {
        self.requires.push(unit.into());
        self
    }

    pub(crate) fn fails(mut self, exit_status: i32) -> Self {
        self.course = Course::Fails;
        self.exit_status = exit_status;
        self
    }

    /// Its program does not end with 0 when it is stopped: systemd keeps it as failed, and its name with it.
    pub(crate) fn stops_badly(mut self) -> Self {
        self.stops_badly = true;
        self
    }

    pub(crate) fn loops(mut self, exit_status: i32) -> Self {
        self.course = Course::Loops;
        self.exit_status = exit_status;
        self
    }

    pub(crate) fn late(mut self, by: Duration) -> Self {
        self.course = Course::Late(by);
        self
    }

    /// It is never started, for a condition that is as a unit file has it.
    pub(crate) fn skipped(mut self, condition: &str) -> Self {
        self.course = Course::Skipped;
        self.shown.conditions = vec![(condition.to_owned(), true)];
        self
    }

    /// It is up, and dies after this time.
    pub(crate) fn dies(mut self, after: Duration, exit_status: i32) -> Self {
        self.course = Course::Dies(after);
        self.exit_status = exit_status;
        self
    }

    /// Whoever looks before this time is over sees it in the middle of a reload.
    pub(crate) fn reloads(mut self, until: Duration) -> Self {
        self.course = Course::Reloads(until);
        self
    }

    /// A oneshot that runs once more, without an end, as one that a timer starts.
    pub(crate) fn runs_again(mut self, after: Duration) -> Self {
        self.course = Course::EndsAgain(after);
        self.service_type("oneshot")
    }

    /// It dies after each of these times, in seconds, and systemd restarts it at once.
    pub(crate) fn restarts(mut self, after: &'static [u64]) -> Self {
        self.course = Course::Restarts(after);
        self
    }

    /// It has ended, well though with this status, until its socket starts it.
    pub(crate) fn idles_behind(mut self, socket: &str, exit_status: i32) -> Self {
        self.course = Course::Idles;
        self.exit_status = exit_status;
        self.shown.triggered_by.push(socket.into());
        self
    }

    pub(crate) fn conflicts(mut self, unit: &str) -> Self {
        self.shown.conflicts.push(unit.into());
        self
    }

    /// It is not there until a generator has run that makes it of a file.
    pub(crate) fn made_of(mut self, path: &str) -> Self {
        self.shown.load = "not-found".into();
        self.made_of = Some(path.into());
        self
    }

    /// It has been started too often.
    pub(crate) fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    /// Its unit file has changed since systemd read it.
    pub(crate) fn stale(mut self) -> Self {
        self.shown.stale = true;
        self
    }

    pub(crate) fn cannot_reload(mut self) -> Self {
        self.shown.can_reload = false;
        self
    }

    /// It is up since before us.
    pub(crate) fn active(mut self) -> Self {
        self.since = Some(Duration::ZERO);
        self
    }

    pub(crate) fn journal(mut self, lines: &[&str]) -> Self {
        self.journal = lines.iter().map(|&line| line.into()).collect();
        self
    }

    pub(crate) fn journal_takes(mut self, time: Duration) -> Self {
        self.journal_takes = time;
        self
    }

    pub(super) fn show(&self, now: Duration) -> Unit {
        let mut unit = self.shown.clone();
        let running = self.since.map(|since| now.saturating_sub(since));
        let (active, sub, result) = match (running, self.course) {
            _ if self.shown.id == OWN => ("activating", "start", "success"),
            _ if self.limited => ("failed", "failed", "start-limit-hit"),
            _ if self.is_left => ("failed", "failed", "exit-code"),
            (None, _) | (Some(_), Course::Ends | Course::Skipped | Course::Idles) => ("inactive", "dead", "success"),
            (Some(running), Course::Late(by)) if running < by => ("activating", "start", "success"),
            (Some(running), Course::Dies(after)) if running >= after => ("failed", "failed", "exit-code"),
            (Some(running), Course::Reloads(until)) if running < until => ("reloading", "reload", "success"),
            (Some(running), Course::EndsAgain(after)) if running >= after => ("activating", "start", "success"),
            (Some(_), Course::EndsAgain(_)) => ("inactive", "dead", "success"),
            (Some(_), Course::Up | Course::Late(_) | Course::Dies(_) | Course::Reloads(_) | Course::Restarts(_)) => {
                ("active", "running", "success")
            }
            (Some(_), Course::Fails) => ("failed", "failed", "exit-code"),
            (Some(_), Course::Loops) => ("activating", "auto-restart", "exit-code"),
        };
        if let (Some(running), Course::Loops) = (running, self.course) {
            unit.restarts = u32::try_from(running.as_secs() / RESTART.as_secs()).unwrap_or(u32::MAX);
        }
        if let (Some(running), Course::Restarts(times)) = (running, self.course) {
            unit.restarts = u32::try_from(times.iter().filter(|after| running.as_secs() >= **after).count()).unwrap_or(u32::MAX);
        }
        if result == "exit-code" || (running.is_some() && matches!(self.course, Course::Idles)) {
            unit.main = Ended::exited(self.exit_status);
        }
        if running.is_some() {
            unit.condition = if matches!(self.course, Course::Skipped) { Checked::UNMET } else { Checked::MET };
        }
        unit.job = sub == "start";
        unit.active = active.into();
        unit.sub = sub.into();
        unit.result = result.into();
        unit
    }

    /// What a starter that waits is told, and for how long it waits.
    pub(super) fn told(&self, verb: &'static str, now: Duration) -> (Duration, Result<(), HostError>) {
        let waits = !matches!(self.shown.service_type.as_str(), "simple" | "exec" | "idle");
        match self.course {
            Course::Late(by) if waits => ((self.since.unwrap_or(now) + by).saturating_sub(now), Ok(())),
            Course::Fails | Course::Loops if waits => {
                let name = &self.shown.id;
                let said = format!("Job for {name} failed because the control process exited with error code.");
                (Duration::ZERO, refused(verb, name, said))
            }
            _ => (Duration::ZERO, Ok(())),
        }
    }
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
    pub(super) fn stop(&mut self, name: &str) -> bool {
        let Some(unit) = self.units.get_mut(name) else { return false };
        let was_up = unit.since.take().is_some();
        unit.is_left = was_up && unit.stops_badly;
        if unit.transient {
            self.units.remove(name);
        }
        was_up
    }

    /// Makes a transient unit. How it goes on is what was said of a unit of its name, if anything was.
    pub(super) fn launch(&mut self, launch: &Launch, now: Duration) -> Result<bool, HostError> {
        let name = launch.unit.as_str();
        let unit = self.units.entry(name.to_owned()).or_insert_with(|| FakeUnit::launched(name));
        if unit.since.is_some() || unit.is_left {
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

    /// A unit that nobody has said anything of.
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
