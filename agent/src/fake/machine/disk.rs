//! Disks and mounts of a machine in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::mount::MsFlags;

use super::FakeMachine;
use super::file::failed;
use crate::host::HostError;
use crate::host::disks::{
    self, Content, Device, DeviceNumber, Disk, DiskWatch, Disks, Filesystem, NewFilesystem, Origin, Signature, State, Wanted,
};
use crate::host::mounts::{MountCall, Mounted, Mounts};

/// The major number of NVMe partitions and disks: «blkext».
const BLOCK_EXTENDED: u32 = 259;

/// What is plugged in and what is mounted.
#[derive(Default)]
pub(super) struct Storage {
    /// By the number in the kernel's name.
    disks: BTreeMap<u32, (Disk, Content)>,
    table: Vec<Mounted>,
    swaps: Vec<DeviceNumber>,
    /// Whether whatever is waited for comes: this is a rehearsal.
    pub(super) anything: bool,
    /// What was looked for and not there, in the order in which it was.
    missed: Vec<Wanted>,
    /// How many runs of mkfs end badly.
    pub(super) failing: u32,
}

impl Storage {
    pub(super) fn plug(&mut self, origin: Origin, attached_as: Option<&str>, size: u64, content: Content) {
        let number = (1..).find(|number| !self.disks.contains_key(number)).expect("a kernel has names enough");
        let disk = Disk {
            node: node(number),
            number: DeviceNumber { major: BLOCK_EXTENDED, minor: number },
            size,
            read_only: false,
            origin,
            attached_as: attached_as.map(str::to_owned),
            partitions: Vec::new(),
            holders: Vec::new(),
        };
        self.disks.insert(number, (disk, content));
    }

    /// A disk for a node that a document names, in a rehearsal.
    fn invent(&mut self, node: &Path) {
        if self.disks.values().any(|(disk, _)| disk.node == node) {
            return;
        }
        self.plug(Origin::Other, None, 8 << 30, Content::Unspecified);
        if let Some((disk, _)) = self
            .disks
            .values_mut()
            .find(|(disk, _)| disk.origin == Origin::Other && disk.attached_as.is_none() && disk.node.starts_with("/dev/nvme"))
        {
            disk.node = node.to_owned();
        }
    }

    pub(super) fn unplug(&mut self, volume: &str) {
        self.disks.retain(|_, (disk, _)| disk.origin != Origin::Volume(volume.to_owned()));
    }

    pub(super) fn unplug_all(&mut self) {
        self.disks.clear();
    }

    /// Nothing is mounted any more, and the kernel finds the disks in another order.
    pub(super) fn reboot(&mut self) {
        self.table.clear();
        self.swaps.clear();
        let disks: Vec<_> = std::mem::take(&mut self.disks).into_values().rev().collect();
        for ((mut disk, content), number) in disks.into_iter().zip(1..) {
            (disk.node, disk.number.minor) = (node(number), number);
            self.disks.insert(number, (disk, content));
        }
    }

    pub(super) fn describe(&self, lines: &mut BTreeMap<String, String>) {
        // What is there by itself is no change.
        for (disk, content) in self.disks.values().filter(|(disk, _)| disk.origin != Origin::Other || disk.attached_as.is_some()) {
            lines.insert(name(disk), format!("{} bytes, {content}", disk.size));
        }
        for mounted in &self.table {
            let source = self.named(mounted.device).unwrap_or_else(|| mounted.source.clone());
            lines.insert(format!("at {}", mounted.at.display()), format!("{source} {} {:?}", mounted.filesystem, mounted.options));
        }
        if !self.swaps.is_empty() {
            let swaps: BTreeSet<Option<String>> = self.swaps.iter().map(|number| self.named(*number)).collect();
            lines.insert("swap on".into(), format!("{swaps:?}"));
        }
    }

    fn named(&self, number: DeviceNumber) -> Option<String> {
        self.disks.values().find(|(disk, _)| disk.number == number).map(|(disk, _)| name(disk))
    }

    /// What is mounted, the root filesystem first.
    fn table(&self) -> impl Iterator<Item = Mounted> {
        let root = Mounted {
            at: "/".into(),
            root: "/".into(),
            device: DeviceNumber { major: BLOCK_EXTENDED, minor: 0 },
            filesystem: "ext4".into(),
            source: "/dev/root".into(),
            options: named(MsFlags::empty()),
        };
        std::iter::once(root).chain(self.table.iter().cloned())
    }

    /// What a bind mount of `path` shows: the mount that it lies on, and its place in that filesystem.
    fn seen_at(&self, path: &Path) -> Mounted {
        let holders = self.table().filter(|mounted| path.starts_with(&mounted.at));
        let holder = holders.max_by_key(|mounted| mounted.at.as_os_str().len()).expect("everything lies below the root");
        let rest = path.strip_prefix(&holder.at).unwrap_or(Path::new(""));
        let root = if rest.as_os_str().is_empty() { holder.root.clone() } else { holder.root.join(rest) };
        Mounted { root, ..holder }
    }

    fn held(&mut self, device: &Device) -> Option<&mut (Disk, Content)> {
        let found = self.disks.values_mut().find(|(disk, _)| disk.node == device.node && disk.number == device.number);
        found.filter(|(disk, _)| device.volume.as_ref().is_none_or(|volume| disk.origin == Origin::Volume(volume.clone())))
    }
}

/// What a disk is, whatever the kernel calls it.
fn name(disk: &Disk) -> String {
    match &disk.origin {
        Origin::Volume(id) => id.clone(),
        Origin::InstanceStore(number) => format!("instance store {}", number.unwrap_or_default()),
        Origin::Other => disk.attached_as.clone().unwrap_or_else(|| disk.node.display().to_string()),
    }
}

fn node(number: u32) -> PathBuf {
    format!("/dev/nvme{number}n1").into()
}

fn replaced(device: &Device) -> HostError {
    let wanted = device.volume.clone().unwrap_or_else(|| device.number.to_string());
    HostError::Replaced { node: device.node.clone(), wanted, found: "another".into() }
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
        // Of the volumes only the one that was looked for last is being waited for: others have yet to be attached.
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
                // Without further flags it is as the mount whose directory it shows.
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

/// Options of a mount, as the kernel prints them.
fn named(flags: MsFlags) -> Vec<String> {
    let known = [
        (MsFlags::MS_NOSUID, "nosuid"),
        (MsFlags::MS_NODEV, "nodev"),
        (MsFlags::MS_NOEXEC, "noexec"),
        (MsFlags::MS_NOATIME, "noatime"),
        (MsFlags::MS_NODIRATIME, "nodiratime"),
    ];
    let writable = if flags.contains(MsFlags::MS_RDONLY) { "ro" } else { "rw" };
    let mut names = vec![writable.to_owned()];
    names.extend(known.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name.to_owned()));
    let relative = !flags.intersects(MsFlags::MS_NOATIME | MsFlags::MS_STRICTATIME);
    names.extend(relative.then(|| "relatime".to_owned()));
    names
}
