//! A worker on a machine in memory: it is busy for as long as a test says, and every hold and release is recorded.

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
    /// Sets how long a worker stays busy from now on.
    pub(crate) fn has_in_hand_for(&self, time: Duration) {
        self.0.listeners.borrow_mut().in_hand_for = time;
    }

    /// Every hold and release of a worker so far, in order, with the web processes that ran at the time.
    pub(crate) fn holds(&self) -> Vec<String> {
        self.0.listeners.borrow().holds.clone()
    }
}
