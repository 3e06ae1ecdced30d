//! Reading files on a machine in memory: the selected files are counted, and nothing changes.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;

use super::FakeMachine;
use crate::gather::Gather as _;
use crate::host::HostError;
use crate::host::lock::Holder;
use crate::host::reading::{Claim, DeviceToRead, FilesToRead, OnAdvance, Reading, WasRead};

/// A claim that a process holds until this is dropped.
struct Claimed(FakeMachine, String);

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.0.0.claimed.borrow_mut().remove(&self.1);
    }
}

impl Claim for Claimed {}

#[async_trait(?Send)]
impl Reading for FakeMachine {
    async fn files(&self, wanted: &FilesToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        self.alive().await;
        let selection = &wanted.selection;
        let (whole, ended) = selection.whole();
        let mut unmatched: BTreeSet<usize> = (0..selection.len()).gather();
        unmatched.retain(|at| !ended.contains(at));
        let mut read = WasRead::default();
        for path in self.files() {
            let Ok(below) = path.strip_prefix(&wanted.at) else { continue };
            let mut meant = Some(whole.clone());
            for name in below {
                let entered = meant.and_then(|meant| selection.enter(&meant, &name.to_string_lossy()));
                for ended in entered.iter().flat_map(|(_, ended)| ended) {
                    unmatched.remove(ended);
                }
                meant = entered.map(|(meant, _)| meant);
            }
            if meant.is_some_and(|meant| meant.everything) {
                read.files += 1;
                read.bytes += self.file(&path.display().to_string()).map_or(0, |(content, _)| content.len() as u64);
            }
        }
        advanced(read.bytes, read.bytes);
        // In a rehearsal it is not known which files exist.
        let anything = self.0.storage.borrow().anything;
        read.unmatched = unmatched.into_iter().filter(|_| !anything).collect();
        Ok(read)
    }

    async fn device(&self, wanted: &DeviceToRead, advanced: OnAdvance<'_>) -> Result<WasRead, HostError> {
        let (disk, _) = crate::host::disks::Disks::behind(self, &wanted.device.node)
            .await?
            .ok_or_else(|| super::tree::failed("open", &wanted.device.node, nix::errno::Errno::ENXIO))?;
        advanced(disk.size, disk.size);
        Ok(WasRead { bytes: disk.size, ..WasRead::default() })
    }

    async fn claimed(&self, _name: &str) -> Result<Option<Holder>, HostError> {
        Ok(None)
    }

    async fn claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, HostError> {
        let is_first = self.0.claimed.borrow_mut().insert(name.to_owned());
        Ok(is_first.then(|| -> Box<dyn Claim> { Box::new(Claimed(self.clone(), name.to_owned())) }))
    }
}
