//! What a lock is to those who take it or ask for its holder, on every system.

use std::any::Any;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::failure::Failure;
use crate::host::error::HostError;

/// The holder of this lock is the process that boots this machine.
pub(crate) const BOOT: &str = "/run/ingot/lock";

/// The process that holds the lock. Its id is unknown for the moment until it has written it to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
}

/// The boot lock, of this machine or of a machine in memory.
#[async_trait(?Send)]
pub(crate) trait BootLock {
    /// Takes the lock without waiting. It is held until the returned value is dropped, or the process dies.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`] if another process holds it.
    async fn take(&self) -> Result<Box<dyn Any>, LockError>;

    /// Whether no process is known to hold it.
    async fn is_free(&self) -> bool;

    /// Asks the process `pid`, named in the lock file as its holder, to exit.
    ///
    /// # Errors
    ///
    /// If the process has exited, or is not ingot.
    async fn end(&self, pid: u32) -> io::Result<()>;
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another ingot process is running{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Held { pid: Option<u32> },
    #[error("cannot take the lock {}", path.display())]
    Open { path: PathBuf, source: HostError },
}

impl Failure for LockError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("run `ingot status --wait` to wait for it".into()),
            Self::Open { source, .. } => source.hint(),
        }
    }
}
