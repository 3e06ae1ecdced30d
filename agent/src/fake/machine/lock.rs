//! The boot lock of a machine in memory.

use std::any::Any;
use std::io;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::lock::{BootLock, LockError};

/// The lock, held by this process until this is dropped.
struct Held(FakeMachine, u32);

impl Drop for Held {
    fn drop(&mut self) {
        let holder = self.0.0.boot_lock.get();
        self.0.0.boot_lock.set(holder.filter(|holder| *holder != self.1));
    }
}

impl FakeMachine {
    /// Takes the lock as the process `pid`.
    pub(crate) fn lock_by(&self, pid: u32) -> Result<Box<dyn Any>, LockError> {
        if let Some(holder) = self.0.boot_lock.get() {
            return Err(LockError::Held { pid: Some(holder) });
        }
        self.0.boot_lock.set(Some(pid));
        Ok(Box::new(Held(self.clone(), pid)))
    }
}

#[async_trait(?Send)]
impl BootLock for FakeMachine {
    async fn take(&self) -> Result<Box<dyn Any>, LockError> {
        self.lock_by(std::process::id())
    }

    async fn is_free(&self) -> bool {
        self.0.boot_lock.get().is_none()
    }

    async fn end(&self, pid: u32) -> io::Result<()> {
        // The lock is released at once.
        let holder = self.0.boot_lock.get();
        self.0.boot_lock.set(holder.filter(|holder| *holder != pid));
        Ok(())
    }
}
