//! Locks where the state of a lock cannot be queried without taking it. None can be taken, and none is held: a machine
//! that is not Linux is never booted.

#[path = "../lock/words.rs"]
mod words;

use std::any::Any;
use std::io;
use std::path::Path;

use async_trait::async_trait;

pub(crate) use self::words::{BOOT, BootLock, Holder, LockError};
use crate::host::calls::{refused, unsupported};
use crate::host::error::HostError;
use crate::host::files::DiskFiles;

/// A lock, of which there is none.
#[derive(Debug)]
pub(crate) enum Lock {}

impl Lock {
    pub(crate) async fn take(path: &Path, _files: &DiskFiles) -> Result<Self, LockError> {
        Err(LockError::Open { path: path.to_owned(), source: refused("lock", path) })
    }
}

pub(crate) async fn holder(path: &Path, _files: &DiskFiles) -> Result<Option<Holder>, HostError> {
    Err(refused("inspect the lock", path))
}

/// The lock [`BOOT`], which cannot be taken.
pub(crate) struct LockFile;

impl LockFile {
    pub(crate) fn new(_files: DiskFiles) -> Self {
        Self
    }
}

#[async_trait(?Send)]
impl BootLock for LockFile {
    async fn take(&self) -> Result<Box<dyn Any>, LockError> {
        let path = Path::new(BOOT);
        Err(LockError::Open { path: path.to_owned(), source: refused("lock", path) })
    }

    async fn is_free(&self) -> bool {
        true
    }

    async fn end(&self, _pid: u32) -> io::Result<()> {
        Err(unsupported())
    }
}
