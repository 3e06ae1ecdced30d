//! The image on a system without openat2(2): none can be opened.

#[path = "../scrub/spot.rs"]
mod spot;

use std::path::{Path, PathBuf};

pub(crate) use self::spot::{Found, Spot};
use crate::host::HostError;
use crate::host::calls::refused;

/// The image, of which there is none.
#[derive(Debug)]
pub(crate) enum Scrubber {}

impl Scrubber {
    pub(crate) fn open(root: &Path) -> Result<Self, HostError> {
        Err(refused("seal", root))
    }

    pub(crate) fn find(&self, _spot: &Spot) -> Result<Option<Found>, HostError> {
        match *self {}
    }

    pub(crate) fn list(&self, _spot: &Spot) -> Result<Vec<PathBuf>, HostError> {
        match *self {}
    }

    pub(crate) fn read(&self, _spot: &Spot, _limit: u64) -> Result<Option<Vec<u8>>, HostError> {
        match *self {}
    }

    pub(crate) fn head(&self, _spot: &Spot, _length: usize) -> Result<Option<Vec<u8>>, HostError> {
        match *self {}
    }

    pub(crate) fn mode(&self, _spot: &Spot) -> Result<Option<u32>, HostError> {
        match *self {}
    }

    pub(crate) fn link(&self, _spot: &Spot) -> Result<Option<PathBuf>, HostError> {
        match *self {}
    }

    pub(crate) fn matching(&self, _pattern: &str) -> Result<Vec<Spot>, HostError> {
        match *self {}
    }

    pub(crate) fn below(&self, _base: &Path, _pattern: &Path) -> Result<Vec<Spot>, HostError> {
        match *self {}
    }

    pub(crate) fn homes(&self) -> Result<Vec<PathBuf>, HostError> {
        match *self {}
    }

    pub(crate) fn remove(&self, _spot: &Spot) -> Result<(), HostError> {
        match *self {}
    }

    pub(crate) fn empty(&self, _spot: &Spot) -> Result<(), HostError> {
        match *self {}
    }

    pub(crate) fn write(&self, _spot: &Spot, _content: &[u8]) -> Result<(), HostError> {
        match *self {}
    }

    pub(crate) fn replace(&self, _spot: &Spot, _content: &[u8]) -> Result<(), HostError> {
        match *self {}
    }

    pub(crate) fn discard_free_space(&self) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn is_swap(&self, _spot: &Spot) -> Result<bool, HostError> {
        match *self {}
    }

    pub(crate) fn stop_swapping(&self, _path: &Path) -> Result<(), HostError> {
        match *self {}
    }
}

/// The executable of this process.
pub(crate) fn running_program() -> Result<Option<Vec<u8>>, HostError> {
    Err(refused("read", Path::new("/proc/self/exe")))
}
