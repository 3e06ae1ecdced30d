//! The process on a machine in memory: the changes it has made, and when it is killed.

use std::cell::Cell;

use tokio::sync::Notify;

use crate::host::HostError;

/// The changes made so far, and how many are allowed.
#[derive(Default)]
pub(super) struct Life {
    changes: Cell<u64>,
    last: Cell<Option<u64>>,
    dead: Cell<bool>,
    died: Notify,
}

impl Life {
    /// Replaces a killed process by a new one.
    pub(super) fn begin_anew(&self) {
        self.dead.set(false);
        self.last.set(None);
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// Yields to other tasks, as real operations do. Never returns if the process was killed.
    pub(super) async fn alive(&self) {
        tokio::task::yield_now().await;
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// See [`FakeMachine::change`](super::FakeMachine::change).
    pub(super) async fn change(&self, change: impl FnOnce() -> Result<bool, HostError>) -> Result<(), HostError> {
        self.alive().await;
        if !change()? {
            return Ok(());
        }
        self.changes.set(self.changes.get() + 1);
        if self.last.get().is_some_and(|last| self.changes.get() >= last) {
            self.dead.set(true);
            self.died.notify_waiters();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Life {
    /// See [`FakeMachine::die_after`](super::FakeMachine::die_after).
    pub(super) fn die_after(&self, count: u64) {
        self.last.set(Some(self.changes() + count));
        self.dead.set(count == 0);
    }

    /// Returns when the process has been killed.
    pub(super) async fn died(&self) {
        let died = self.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }
}
