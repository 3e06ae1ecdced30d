//! The behavior of a unit of a machine in memory, and the state that it shows.

use super::*;

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
            stops_within: Duration::ZERO,
            stops_at: Duration::ZERO,
            reloads: 0,
        }
    }

    /// A transient unit, which exists only while it is active.
    pub(super) fn launched(name: &str) -> Self {
        let mut unit = Self::new(name).service_type("exec");
        unit.transient = true;
        unit
    }

    /// Sets another `LoadState`, such as `masked` or `not-found`.
    pub(crate) fn load(mut self, load: &str) -> Self {
        self.shown.load = load.into();
        self
    }

    /// Sets its `Type=`. With the types that systemd waits for (notify, forking, oneshot), a failure is reported to the
    /// caller; with simple it is not.
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

    /// Its program exits with a status other than 0 when it is stopped: systemd keeps the unit as failed, so its name
    /// stays in use.
    pub(crate) fn stops_badly(mut self) -> Self {
        self.stops_badly = true;
        self
    }

    /// Its program takes this long to exit once it is stopped.
    pub(crate) fn stops_within(mut self, time: Duration) -> Self {
        self.stops_within = time;
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

    /// It is never started because of a condition, written as in a unit file.
    pub(crate) fn skipped(mut self, condition: &str) -> Self {
        self.course = Course::Skipped;
        self.shown.conditions = vec![(condition.to_owned(), true)];
        self
    }

    /// It becomes active, and dies after this time.
    pub(crate) fn dies(mut self, after: Duration, exit_status: i32) -> Self {
        self.course = Course::Dies(after);
        self.exit_status = exit_status;
        self
    }

    /// Until this time has passed, it is shown as reloading.
    pub(crate) fn reloads(mut self, until: Duration) -> Self {
        self.course = Course::Reloads(until);
        self
    }

    /// A oneshot that runs again and again, such as one started by a timer.
    pub(crate) fn runs_again(mut self, after: Duration) -> Self {
        self.course = Course::EndsAgain(after);
        self.service_type("oneshot")
    }

    /// It dies after each of these times, in seconds, and systemd restarts it at once.
    pub(crate) fn restarts(mut self, after: &'static [u64]) -> Self {
        self.course = Course::Restarts(after);
        self
    }

    /// It has exited and will be started by its socket. The exit status does not count as a failure.
    pub(crate) fn idles_behind(mut self, socket: &str, exit_status: i32) -> Self {
        self.course = Course::Idles;
        self.exit_status = exit_status;
        self.shown.triggered_by.push(socket.into());
        self
    }

    /// Sets the unit that triggers it.
    pub(crate) fn triggered_by(mut self, unit: &str) -> Self {
        self.shown.triggered_by.push(unit.into());
        self
    }

    pub(crate) fn conflicts(mut self, unit: &str) -> Self {
        self.shown.conflicts.push(unit.into());
        self
    }

    /// It does not exist until a generator has created it from a file.
    pub(crate) fn made_of(mut self, path: &str) -> Self {
        self.shown.load = "not-found".into();
        self.made_of = Some(path.into());
        self
    }

    /// It has reached its start limit.
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

    /// It was active before ingot started.
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

    pub(in super::super) fn show(&self, now: Duration) -> Unit {
        let mut unit = self.shown.clone();
        let running = self.since.map(|since| now.saturating_sub(since));
        let (active, sub, result) = match (running, self.course) {
            _ if self.shown.id == OWN => ("activating", "start", "success"),
            _ if self.limited => ("failed", "failed", "start-limit-hit"),
            _ if self.stops_at > now => ("deactivating", "stop-sigterm", "success"),
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

    /// What a caller that waits for the start is told, and how long it waits.
    pub(in super::super) fn told(&self, verb: &'static str, now: Duration) -> (Duration, Result<(), HostError>) {
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
