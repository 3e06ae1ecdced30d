//! Disks and mounts of a machine in memory.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;

use super::FakeMachine;
use super::storage::{named, replaced};
use super::tree::failed;
use crate::host::HostError;
use crate::host::disks::{
    self, Content, Device, DeviceNumber, Disk, DiskWatch, Disks, Filesystem, NewFilesystem, Origin, Signature, State, Wanted,
};
use crate::host::mounts::{MountCall, Mounted, Mounts, MsFlags};

impl FakeMachine {
    /// A [`rehearsal`](FakeMachine::rehearsal) whose disks have names that no real disk has.
    pub(crate) fn on_a_desk() -> Self {
        let machine = Self::rehearsal();
        machine.0.storage.borrow_mut().nameless = true;
        machine
    }
}

#[async_trait(?Send)]
impl Disks for FakeMachine {
    async fn all(&self) -> Result<Vec<Disk>, HostError> {
        self.alive().await;
        Ok(self.0.storage.borrow().disks.values().map(|(disk, _)| disk.clone()).collect())
    }

    async fn find(&self, wanted: &Wanted) -> Result<Option<Disk>, HostError> {
        let disks = self.all().await?;
        let found = disks::find(&disks, wanted);
        if found.is_none() {
            self.0.storage.borrow_mut().missed.push(wanted.clone());
        }
        Ok(found.cloned())
    }

    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError> {
        let invented = self.0.storage.borrow().anything && node.starts_with("/dev");
        if invented {
            self.0.storage.borrow_mut().invent(node);
        }
        Ok(self.all().await?.into_iter().find(|disk| disk.node == node).map(|disk| (disk, None)))
    }

    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError> {
        Ok(Box::new(self.clone()))
    }

    async fn content(&self, node: &Path) -> Result<Content, HostError> {
        self.alive().await;
        let storage = self.0.storage.borrow();
        let found = storage.disks.values().find(|(disk, _)| disk.node == node);
        found.map(|(_, content)| content.clone()).ok_or_else(|| failed("open", node, Errno::ENXIO))
    }

    async fn make_filesystem(&self, device: &Device, new: &NewFilesystem, _timeout: Duration) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            if let Some(left) = storage.failing.checked_sub(1) {
                storage.failing = left;
                let program = format!("mkfs.{}", new.kind);
                return Err(HostError::Tool { program, on: device.node.clone(), said: "it was to fail".into() });
            }
            let (disk, content) = storage.held(device).ok_or_else(|| replaced(device))?;
            let NewFilesystem { kind, label, uuid } = new.clone();
            let signature = Signature { kind: kind.name().into(), label, uuid, size: Some(disk.size), state: State::Clean };
            *content = Content::Holds(vec![signature]);
            Ok(true)
        })
        .await
    }

    async fn check(&self, device: &Device, _filesystem: Filesystem, _timeout: Duration) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            let (_, content) = storage.held(device).ok_or_else(|| replaced(device))?;
            if let Content::Holds(signatures) = content {
                signatures.iter_mut().for_each(|signature| signature.state = State::Clean);
            }
            Ok(true)
        })
        .await
    }

    async fn grow(&self, device: &Device, _filesystem: Filesystem, _at: &Path, _timeout: Duration) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            let (disk, content) = storage.held(device).ok_or_else(|| replaced(device))?;
            if let Content::Holds(signatures) = content {
                signatures.iter_mut().for_each(|signature| signature.size = Some(disk.size));
            }
            Ok(true)
        })
        .await
    }
}

#[async_trait(?Send)]
impl DiskWatch for FakeMachine {
    async fn changed(&mut self, timeout: Duration) {
        self.alive().await;
        let mut missed = std::mem::take(&mut self.0.storage.borrow_mut().missed);
        let last = missed.pop();
        // Of the missed volumes, only the last one is being waited for: the others are yet to be attached.
        missed.retain(|wanted| !matches!(wanted, Wanted::Volume(_)) && Some(wanted) != last.as_ref());
        missed.extend(last);
        missed.dedup();
        if !self.0.storage.borrow().anything {
            return tokio::time::sleep(timeout).await;
        }
        for wanted in missed {
            let (origin, name) = match wanted {
                Wanted::Volume(id) => (Origin::Volume(id), None),
                Wanted::AttachedAs(name) => (Origin::Other, Some(name)),
                Wanted::InstanceStore(number) => (Origin::InstanceStore(Some(number)), None),
            };
            self.0.storage.borrow_mut().plug(origin, name.as_deref(), 8 << 30, Content::Unspecified);
        }
    }
}

#[async_trait(?Send)]
impl Mounts for FakeMachine {
    async fn table(&self) -> Result<Vec<Mounted>, HostError> {
        self.alive().await;
        Ok(self.0.storage.borrow().table().collect())
    }

    async fn mount(&self, call: &MountCall) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            if !self.0.tree.borrow().is_directory(&call.at) {
                return Err(failed("mount at", &call.at, Errno::ENOENT));
            }
            let options = named(call.flags);
            if call.flags.contains(MsFlags::MS_REMOUNT) {
                let mounted = storage.table.iter_mut().rev().find(|mounted| mounted.at == call.at);
                let mounted = mounted.ok_or_else(|| failed("mount at", &call.at, Errno::EINVAL))?;
                return Ok(std::mem::replace(&mut mounted.options, options.clone()) != options);
            }
            let device = match &call.device {
                Some(device) => storage.held(device).map(|(disk, _)| disk.number).ok_or_else(|| replaced(device))?,
                None => DeviceNumber { major: 0, minor: 40 + storage.table.len() as u32 },
            };
            let mounted = if call.flags.contains(MsFlags::MS_BIND) {
                let shown = storage.seen_at(Path::new(&call.source));
                // Without further flags, a bind mount has the options of the mount whose directory it shows.
                let is_plain = (call.flags - MsFlags::MS_BIND - MsFlags::MS_REC).is_empty();
                Mounted { at: call.at.clone(), options: if is_plain { shown.options } else { options }, ..shown }
            } else {
                let (filesystem, source) = (call.filesystem.clone(), call.source.clone());
                Mounted { at: call.at.clone(), root: "/".into(), device, filesystem, source, options }
            };
            storage.table.push(mounted);
            Ok(true)
        })
        .await
    }

    async fn mount_by(&self, _program: &str, call: &MountCall, _timeout: Duration) -> Result<(), HostError> {
        Mounts::mount(self, call).await
    }

    async fn unmount(&self, at: &Path) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            let found = storage.table.iter().rposition(|mounted| mounted.at == at);
            let found = found.ok_or_else(|| failed("unmount", at, Errno::EINVAL))?;
            storage.table.remove(found);
            Ok(true)
        })
        .await
    }

    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError> {
        self.alive().await;
        Ok(self.0.storage.borrow().swaps.clone())
    }

    async fn swap_on(&self, device: &Device, _priority: Option<u16>) -> Result<(), HostError> {
        self.change(|| {
            let mut storage = self.0.storage.borrow_mut();
            let number = storage.held(device).map(|(disk, _)| disk.number).ok_or_else(|| replaced(device))?;
            storage.swaps.push(number);
            Ok(true)
        })
        .await
    }
}
