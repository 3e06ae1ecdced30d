//! A worker on a machine in memory: it has something in hand for as long as it is told to, and notes who holds it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::Clock as _;
use crate::net::holds::{Hold, Holds};

struct FakeHold {
    machine: FakeMachine,
    port: u16,
    until: Duration,
}

#[async_trait(?Send)]
impl Holds for FakeMachine {
    async fn hold(&self, _: &Path, port: u16) -> Box<dyn Hold> {
        self.alive().await;
        self.note_hold("holds", port);
        Box::new(FakeHold { machine: self.clone(), port, until: self.elapsed() + self.0.listeners.borrow().in_hand_for })
    }
}

#[async_trait(?Send)]
impl Hold for FakeHold {
    async fn finished(&mut self) {
        self.machine.sleep(self.until.saturating_sub(self.machine.elapsed())).await;
    }
}

impl Drop for FakeHold {
    fn drop(&mut self) {
        self.machine.note_hold("lets go of", self.port);
    }
}

impl FakeMachine {
    fn note_hold(&self, does: &str, port: u16) {
        let mut units = BTreeMap::new();
        self.0.units.borrow().describe(self.elapsed(), &mut units);
        let runs = |(name, state): &(&String, &String)| name.contains(".web-") && state.starts_with("active");
        let webs: Vec<&str> = units.iter().filter(runs).map(|(name, _)| name.as_str()).collect();
        self.0.listeners.borrow_mut().holds.push(format!("{does} {port} while {} runs", webs.join(" and ")));
    }
}

#[cfg(test)]
impl FakeMachine {
    /// What a worker has in hand takes so long from now on.
    pub(crate) fn has_in_hand_for(&self, time: Duration) {
        self.0.listeners.borrow_mut().in_hand_for = time;
    }

    /// Who has held a worker until now, and let go of it.
    pub(crate) fn holds(&self) -> Vec<String> {
        self.0.listeners.borrow().holds.clone()
    }
}
