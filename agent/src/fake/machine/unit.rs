//! systemd on a machine in memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use super::listeners::{PROXY, SITES};
use super::manager::{FakeUnit, OWN, refused};
use crate::host::units::{Log, Reading};
use crate::host::{Clock as _, HostError, Launch, Unit, Units};

impl FakeMachine {
    /// Leaves the next queries to systemd unanswered.
    pub(crate) fn does_not_answer(&self, questions: u32) {
        self.0.units.borrow_mut().unanswered = questions;
    }

    /// Lets nginx read its sites if its unit was started or reloaded.
    fn read_sites(&self, unit: &str) {
        let tree = self.0.tree.borrow();
        let of_site = |path: &PathBuf| path.parent() == Some(Path::new(SITES)) && path.extension().is_some_and(|end| end == "conf");
        if unit == PROXY {
            let sites = tree.files().into_iter().filter(of_site).filter_map(|path| Some(tree.file(&path)?.0));
            self.0.listeners.borrow_mut().read(&sites.collect::<String>());
        }
    }

    async fn start_unit(&self, verb: &'static str, name: &str, again: bool, timeout: Duration) -> Result<(), HostError> {
        let over = || HostError::SystemctlTimeout { verb, unit: name.into(), waited: timeout };
        self.alive().await;
        // The job waits until the start of ingot's own unit is done, and ingot waits for the job.
        if self.0.units.borrow().get(name).shown.after.iter().any(|unit| unit == OWN) {
            self.sleep(timeout).await;
            return Err(over());
        }
        self.change(|| {
            let started = self.0.units.borrow_mut().start(verb, name, again, self.elapsed())?;
            if started {
                self.read_sites(name);
            }
            Ok(started)
        })
        .await?;
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
        self.0.units.borrow_mut().asked.push(units.len());
        if self.0.units.borrow().unanswered > 0 {
            self.0.units.borrow_mut().unanswered -= 1;
            return refused("show", &units.join(" "), "Connection reset by peer".into());
        }
        Ok(units.iter().map(|name| self.0.units.borrow().get(name).show(self.elapsed())).collect())
    }

    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.start_unit("start", unit, false, timeout).await
    }

    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.start_unit("restart", unit, true, timeout).await
    }

    async fn stop(&self, name: &str, timeout: Duration) -> Result<(), HostError> {
        self.change(|| Ok(self.0.units.borrow_mut().stop(name, self.elapsed()))).await?;
        let wait = self.0.units.borrow().stops_for(name, self.elapsed());
        if !wait.is_zero() {
            self.sleep(wait.min(timeout)).await;
        }
        if wait > timeout { Err(HostError::SystemctlTimeout { verb: "stop", unit: name.into(), waited: timeout }) } else { Ok(()) }
    }

    async fn terminate(&self, name: &str) -> Result<(), HostError> {
        self.change(|| Ok(self.0.units.borrow_mut().terminate(name))).await
    }

    async fn launch(&self, launch: &Launch, _timeout: Duration) -> Result<(), HostError> {
        self.change(|| {
            let path = &launch.environment_file;
            if self.0.tree.borrow().file(path).is_none() {
                return refused("start", &launch.unit, format!("Failed to load environment files: {} is not there", path.display()));
            }
            self.0.units.borrow_mut().launch(launch, self.elapsed())
        })
        .await
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
            self.read_sites(name);
            Ok(true)
        })
        .await
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), HostError> {
        self.change(|| Ok(self.0.units.borrow_mut().forget_failure(unit))).await
    }

    async fn reload_definitions(&self) -> Result<(), HostError> {
        self.change(|| Ok(self.0.units.borrow_mut().read_again(|path| self.file(path).is_some()))).await
    }

    async fn journal(&self, unit: &str, lines: usize) -> Vec<String> {
        self.alive().await;
        let FakeUnit { journal, journal_takes, .. } = self.0.units.borrow().get(unit);
        if !journal_takes.is_zero() {
            self.sleep(journal_takes).await;
        }
        journal[journal.len().saturating_sub(lines)..].to_vec()
    }

    async fn output(&self, unit: &str, lines: usize) -> Vec<String> {
        self.journal(unit, lines).await
    }

    async fn log(&self, unit: &str, most: usize, within: Duration) -> Log {
        let FakeUnit { journal_takes, .. } = self.0.units.borrow().get(unit);
        if journal_takes > within {
            self.sleep(within).await;
            return Log { newest_first: Vec::new(), is_cut: true };
        }
        let mut reading = Reading::new(most);
        self.journal(unit, usize::MAX).await.iter().rev().for_each(|line| reading.push(line));
        reading.end()
    }

    async fn rest(&self) {}

    fn own(&self) -> Option<String> {
        Some(OWN.into())
    }
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
