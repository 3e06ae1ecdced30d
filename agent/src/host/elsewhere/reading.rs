//! Loading of files and devices on a system other than Linux: only a boot asks for it.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::host::calls::refused;
use crate::host::error::HostError;
use crate::host::lock::Holder;
use crate::host::reading::{Claim, DeviceToRead, FilesToRead, OnAdvance, Reading, WasRead};

pub(crate) struct ThreadedReading;

impl ThreadedReading {
    pub(crate) fn new(_root: Option<PathBuf>) -> Self {
        Self
    }
}

#[async_trait(?Send)]
impl Reading for ThreadedReading {
    async fn files(&self, wanted: &FilesToRead, _advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        Err(refused("read", &wanted.at))
    }

    async fn device(&self, wanted: &DeviceToRead, _advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        Err(refused("read", &wanted.device.node))
    }

    async fn claimed(&self, name: &str) -> Result<Option<Holder>, HostError> {
        Err(refused("inspect the lock", Path::new(name)))
    }

    async fn claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, HostError> {
        Err(refused("lock", Path::new(name)))
    }
}
