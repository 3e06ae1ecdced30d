//! systemd of a machine in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::{Clock as _, HostError, Unit, Units};

/// The unit that ingot runs in: at work, and with a job, for as long as we can see.
const OWN: &str = "ingot.service";

/// How long a unit that fails over and over rests in between (`RestartSec=`).
const RESTART: Duration = Duration::from_secs(1);

/// A unit, and what it does when started. Without more said: a loaded service of type simple that comes up at once.
#[derive(Debug, Clone)]
pub(crate) struct FakeUnit {
    shown: Unit,
    requires: Vec<String>,
    course: Course,
    journal: Vec<String>,
    /// When it was last started, on the machine's clock.
    since: Option<Duration>,
    starts: u32,
    reloads: u32,
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
        Self { shown, requires: Vec::new(), course: Course::Up, journal: Vec::new(), since: None, starts: 0, reloads: 0 }
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
        self.shown.exit_status = exit_status;
        self
    }

    pub(crate) fn loops(mut self, exit_status: i32) -> Self {
        self.course = Course::Loops;
        self.shown.exit_status = exit_status;
        self
    }

    pub(crate) fn late(mut self, by: Duration) -> Self {
        self.course = Course::Late(by);
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

    fn show(&self, now: Duration) -> Unit {
        let mut unit = self.shown.clone();
        let running = self.since.map(|since| now.saturating_sub(since));
        let (active, sub, result) = match (running, self.course) {
            _ if self.shown.id == OWN => ("activating", "start", "success"),
            (None, _) | (Some(_), Course::Ends) => ("inactive", "dead", "success"),
            (Some(running), Course::Late(by)) if running < by => ("activating", "start", "success"),
            (Some(_), Course::Up | Course::Late(_)) => ("active", "running", "success"),
            (Some(_), Course::Fails) => ("failed", "failed", "exit-code"),
            (Some(_), Course::Loops) => ("activating", "auto-restart", "exit-code"),
        };
        if let (Some(running), Course::Loops) = (running, self.course) {
            unit.restarts = u32::try_from(running.as_secs() / RESTART.as_secs()).unwrap_or(u32::MAX);
        }
        if result == "success" {
            unit.exit_status = 0;
        }
        unit.job = sub == "start";
        unit.active = active.into();
        unit.sub = sub.into();
        unit.result = result.into();
        unit
    }

    /// What a starter that waits is told, and for how long it waits.
    fn told(&self, verb: &'static str, now: Duration) -> (Duration, Result<(), HostError>) {
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
    units: BTreeMap<String, FakeUnit>,
}

impl Manager {
    pub(super) fn add(&mut self, unit: FakeUnit) {
        self.units.insert(unit.shown.id.clone(), unit);
    }

    pub(super) fn starts_and_reloads(&self, name: &str) -> (u32, u32) {
        self.units.get(name).map_or((0, 0), |unit| (unit.starts, unit.reloads))
    }

    pub(super) fn stop_all(&mut self) {
        self.units.values_mut().for_each(|unit| unit.since = None);
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
    fn get(&self, name: &str) -> FakeUnit {
        self.units.get(name).cloned().unwrap_or_else(|| FakeUnit::new(name))
    }

    /// Starts a unit and, first, what it requires. Says whether anything changed.
    fn start(&mut self, verb: &'static str, name: &str, again: bool, now: Duration) -> Result<bool, HostError> {
        let unit = self.get(name);
        match unit.shown.load.as_str() {
            "loaded" => {}
            "not-found" => return refused(verb, name, format!("Failed to {verb} {name}: Unit {name} not found.")),
            other => return refused(verb, name, format!("Failed to {verb} {name}: Unit {name} is {other}.")),
        }
        for required in unit.requires {
            self.start(verb, &required, false, now)?;
            if self.get(&required).show(now).active == "failed" {
                return refused(verb, name, format!("A dependency job for {name} failed. See 'journalctl -xe' for details."));
            }
        }
        let up = matches!(unit.shown.id.as_str(), OWN) || matches!(self.get(name).show(now).active.as_str(), "active" | "activating");
        if up && !again {
            return Ok(false);
        }
        let unit = self.units.entry(name.to_owned()).or_insert_with(|| FakeUnit::new(name));
        unit.since = Some(now);
        unit.starts += 1;
        Ok(true)
    }
}

impl FakeMachine {
    async fn start_unit(&self, verb: &'static str, name: &str, again: bool, timeout: Duration) -> Result<(), HostError> {
        let over = || HostError::SystemctlTimeout { verb, unit: name.into(), waited: timeout };
        self.alive().await;
        // The job waits for the end of our own, and we wait for the job.
        if self.0.units.borrow().get(name).shown.after.iter().any(|unit| unit == OWN) {
            self.sleep(timeout).await;
            return Err(over());
        }
        self.change(|| self.0.units.borrow_mut().start(verb, name, again, self.elapsed())).await?;
        let (wait, told) = self.0.units.borrow().get(name).told(verb, self.elapsed());
        if !wait.is_zero() {
            self.sleep(wait.min(timeout)).await;
        }
        if wait > timeout { Err(over()) } else { told }
    }
}

#[async_trait(?Send)]
impl Units for FakeMachine {
    async fn show(&self, units: &[String]) -> Result<Vec<Unit>, HostError> {
        self.alive().await;
        Ok(units.iter().map(|name| self.0.units.borrow().get(name).show(self.elapsed())).collect())
    }

    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.start_unit("start", unit, false, timeout).await
    }

    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.start_unit("restart", unit, true, timeout).await
    }

    async fn reload(&self, name: &str, _timeout: Duration) -> Result<(), HostError> {
        self.change(|| {
            let mut manager = self.0.units.borrow_mut();
            if !manager.get(name).shown.can_reload {
                return refused("reload", name, format!("Job type reload is not applicable for unit {name}."));
            }
            if !manager.is_active(name, self.elapsed()) {
                return refused("reload", name, format!("{name} is not active, cannot reload."));
            }
            if let Some(unit) = manager.units.get_mut(name) {
                unit.reloads += 1;
            }
            Ok(true)
        })
        .await
    }

    async fn reload_definitions(&self) -> Result<(), HostError> {
        self.change(|| {
            let mut manager = self.0.units.borrow_mut();
            let stale = manager.units.values_mut().filter(|unit| unit.shown.stale);
            Ok(stale.map(|unit| unit.shown.stale = false).count() > 0)
        })
        .await
    }

    async fn journal(&self, unit: &str, lines: usize) -> Vec<String> {
        self.alive().await;
        let journal = self.0.units.borrow().get(unit).journal;
        journal[journal.len().saturating_sub(lines)..].to_vec()
    }

    fn own(&self) -> Option<String> {
        Some(OWN.into())
    }
}

fn refused<T>(verb: &'static str, unit: &str, said: String) -> Result<T, HostError> {
    Err(HostError::Systemctl { verb, unit: unit.into(), said })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn active(machine: &FakeMachine, unit: &str) -> (String, String, u32) {
        let unit = machine.show(&[unit.into()]).await.unwrap().remove(0);
        (unit.active, unit.sub, unit.restarts)
    }

    #[tokio::test(start_paused = true)]
    async fn starts_once_and_restarts_each_time() {
        let machine = FakeMachine::new_instance();
        machine.add_unit(FakeUnit::new("shop.service").requires("db.service"));
        machine.add_listener("127.0.0.1:8080", "shop.service");
        assert!(machine.tcp_refused("127.0.0.1:8080").await);
        machine.start("shop.service", PATIENCE).await.unwrap();
        let changes = machine.mutations();
        machine.start("shop.service", PATIENCE).await.unwrap();
        assert_eq!(machine.mutations(), changes);
        machine.restart("shop.service", PATIENCE).await.unwrap();
        assert_eq!(machine.starts_and_reloads("shop.service"), (2, 0));
        assert_eq!(active(&machine, "db.service").await.0, "active");
        assert!(!machine.tcp_refused("127.0.0.1:8080").await);
    }

    #[tokio::test(start_paused = true)]
    async fn fails_as_systemd_does() {
        let machine = FakeMachine::new_instance();
        machine.add_unit(FakeUnit::new("simple.service").fails(1));
        machine.start("simple.service", PATIENCE).await.unwrap();
        assert_eq!(active(&machine, "simple.service").await.0, "failed");

        machine.add_unit(FakeUnit::new("loud.service").service_type("notify").fails(1));
        assert!(machine.start("loud.service", PATIENCE).await.is_err());
        machine.add_unit(FakeUnit::new("no.service").load("not-found"));
        let error = machine.start("no.service", PATIENCE).await.unwrap_err();
        assert_eq!(error.to_string(), "systemctl start no.service failed: Failed to start no.service: Unit no.service not found.");

        machine.add_unit(FakeUnit::new("loop.service").loops(2));
        machine.start("loop.service", PATIENCE).await.unwrap();
        machine.sleep(Duration::from_secs(3)).await;
        assert_eq!(active(&machine, "loop.service").await, ("activating".into(), "auto-restart".into(), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_late_and_for_itself() {
        let machine = FakeMachine::new_instance();
        machine.add_unit(FakeUnit::new("late.service").service_type("notify").late(Duration::from_secs(60)));
        assert!(matches!(machine.start("late.service", PATIENCE).await, Err(HostError::SystemctlTimeout { .. })));
        assert!(machine.show(&["late.service".into()]).await.unwrap()[0].job);
        machine.sleep(PATIENCE).await;
        assert_eq!(active(&machine, "late.service").await.0, "active");

        machine.add_unit(FakeUnit::new("after.service").after(OWN));
        assert!(matches!(machine.start("after.service", PATIENCE).await, Err(HostError::SystemctlTimeout { .. })));
    }

    impl FakeMachine {
        async fn tcp_refused(&self, address: &str) -> bool {
            use crate::net::Probes as _;
            self.tcp(address, PATIENCE).await.is_err()
        }
    }
}
