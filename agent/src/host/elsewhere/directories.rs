//! Directories of releases on a system other than Linux. Without openat2(2), nothing keeps what an archive names inside
//! its directory, so none is unpacked.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::host::attributes::Attributes;
use crate::host::calls::refused;
use crate::host::error::HostError;
use crate::host::unpack::{Directories, Unpack, UnpackError, Unpacking};

pub(crate) struct DiskDirectories;

impl DiskDirectories {
    pub(crate) fn new(_root: Option<PathBuf>) -> Self {
        Self
    }
}

#[async_trait(?Send)]
impl Directories for DiskDirectories {
    async fn unpack(&self, wanted: Unpacking) -> Result<Box<dyn Unpack>, UnpackError> {
        Err(UnpackError::Host(refused("unpack into", &wanted.into)))
    }

    async fn put(&self, _from: &Path, to: &Path) -> Result<(), HostError> {
        Err(refused("replace", to))
    }

    async fn hand_over(&self, directory: &Path, _attributes: Attributes) -> Result<(), HostError> {
        Err(refused("set owner and mode of", directory))
    }

    async fn remove(&self, directory: &Path) -> Result<(), HostError> {
        Err(refused("remove", directory))
    }

    async fn link(&self, at: &Path) -> Result<Option<PathBuf>, HostError> {
        Err(refused("inspect", at))
    }

    async fn switch(&self, link: &Path, _target: &Path) -> Result<(), HostError> {
        Err(refused("replace", link))
    }

    async fn free(&self, directory: &Path) -> Result<u64, HostError> {
        Err(refused("inspect", directory))
    }
}
