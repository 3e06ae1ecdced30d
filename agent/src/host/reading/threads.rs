//! Reading with many threads, each of which waits for one read.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{Claim, DeviceToRead, FilesToRead, OnAdvance, Reading, WasRead};
use crate::host::HostError;
use crate::host::lock::Holder;

pub(crate) struct ThreadedReading {
    root: Option<PathBuf>,
}

impl ThreadedReading {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }
}

fn unsupported() -> HostError {
    HostError::Path { operation: "read", path: "/".into(), source: std::io::ErrorKind::Unsupported.into() }
}

#[async_trait(?Send)]
impl Reading for ThreadedReading {
    async fn files(&self, _wanted: &FilesToRead, _advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        let _ = &self.root;
        Err(unsupported())
    }
    async fn device(&self, _wanted: &DeviceToRead, _advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        Err(unsupported())
    }
    fn claimed(&self, _name: &str) -> Result<Option<Holder>, HostError> {
        Ok(None)
    }
    fn claim(&self, _name: &str) -> Result<Option<Box<dyn Claim>>, HostError> {
        Ok(None)
    }
}
