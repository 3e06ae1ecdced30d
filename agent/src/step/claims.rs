//! What the steps of one boot have taken of what there is only one of: device names, volumes, filesystems.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::Mutex;

use crate::host::disks::DeviceNumber;
use crate::step::device_name;

/// What the volumes and mounts of one boot have taken, so that two of them never want the same.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Device names, and the step that has taken each.
    device_names: RefCell<BTreeMap<String, String>>,
    /// Volumes, and the step that has taken each or, empty, no one: another instance was faster.
    volumes: RefCell<BTreeMap<String, String>>,
    /// Volumes that EC2 has just shown to be available, and that nothing has been done with since.
    ready: RefCell<BTreeSet<String>>,
    /// Filesystems by their UUIDs, and the device that has been mounted by each.
    filesystems: RefCell<BTreeMap<String, DeviceNumber>>,
    /// Releases that are built, one application at a time.
    builds: RefCell<BTreeMap<PathBuf, Rc<Mutex<()>>>>,
    /// The proxy's configuration, written for one application at a time: all have one nginx.
    proxy: Rc<Mutex<()>>,
}

impl Claims {
    /// Takes the first device name that is free for a step, or that it took before and did not come to use; `used` are those
    /// that EC2 or the kernel says are not free.
    pub(crate) fn device_name(&self, used: &BTreeSet<String>, step: &str) -> Option<String> {
        let mut taken = self.device_names.borrow_mut();
        let is_free = |name: &String| !used.contains(&device_name::bare(name)) && taken.get(name).is_none_or(|by| by == step);
        let free = device_name::candidates().find(is_free)?;
        taken.insert(free.clone(), step.to_owned());
        Some(free)
    }

    /// Takes a volume for a step, unless another step has it.
    pub(crate) fn volume(&self, volume: &str, step: &str) -> bool {
        *self.volumes.borrow_mut().entry(volume.to_owned()).or_insert_with(|| step.to_owned()) == step
    }

    /// Whose turn it is to build a release.
    pub(crate) fn building(&self, release: &Path) -> Rc<Mutex<()>> {
        self.builds.borrow_mut().entry(release.to_owned()).or_default().clone()
    }

    /// Whose turn it is to write the proxy's configuration.
    pub(crate) fn proxy(&self) -> Rc<Mutex<()>> {
        Rc::clone(&self.proxy)
    }

    /// Takes a UUID for the filesystem on a device, unless the one on another device has it: a clone.
    pub(crate) fn filesystem(&self, uuid: &str, device: DeviceNumber) -> bool {
        *self.filesystems.borrow_mut().entry(uuid.to_owned()).or_insert(device) == device
    }

    /// Notes that EC2 has just shown a volume to be available: who looks next need not ask.
    pub(crate) fn ready(&self, volume: &str) {
        self.ready.borrow_mut().insert(volume.to_owned());
    }

    pub(crate) fn not_ready(&self, volume: &str) {
        self.ready.borrow_mut().remove(volume);
    }

    pub(crate) fn is_ready(&self, volume: &str) -> bool {
        self.ready.borrow().contains(volume)
    }

    /// Notes that another instance has it.
    pub(crate) fn lost(&self, volume: &str) {
        self.volumes.borrow_mut().insert(volume.to_owned(), String::new());
    }
}
