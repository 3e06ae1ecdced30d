//! What the steps of one boot have taken of resources that only one may use: device names, volumes, filesystems.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::Mutex;

use crate::host::disks::DeviceNumber;
use crate::step::device_name;

/// What the volumes and mounts of one boot have taken, so that no two of them use the same.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Device names, and the step that has taken each.
    device_names: RefCell<BTreeMap<String, String>>,
    /// Volumes, and the step that has taken each. Empty if another instance took the volume first.
    volumes: RefCell<BTreeMap<String, String>>,
    /// Volumes that EC2 has just described as available, and that have not been used since.
    ready: RefCell<BTreeSet<String>>,
    /// Filesystems by UUID, and the device that was mounted for each.
    filesystems: RefCell<BTreeMap<String, DeviceNumber>>,
    /// A lock for each release, so that it is built for one application at a time.
    builds: RefCell<BTreeMap<PathBuf, Rc<Mutex<()>>>>,
    /// A lock for the proxy's configuration: all applications share one nginx.
    proxy: Rc<Mutex<()>>,
}

impl Claims {
    /// Takes the first free device name for a step, or the one that it took before and did not use; `used` are the
    /// names that are not free according to EC2 or the kernel.
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

    /// The lock for building a release.
    pub(crate) fn building(&self, release: &Path) -> Rc<Mutex<()>> {
        self.builds.borrow_mut().entry(release.to_owned()).or_default().clone()
    }

    /// The lock for writing the proxy's configuration.
    pub(crate) fn proxy(&self) -> Rc<Mutex<()>> {
        Rc::clone(&self.proxy)
    }

    /// Takes a UUID for the filesystem on a device, unless a filesystem on another device has taken
    /// it: then one is a clone.
    pub(crate) fn filesystem(&self, uuid: &str, device: DeviceNumber) -> bool {
        *self.filesystems.borrow_mut().entry(uuid.to_owned()).or_insert(device) == device
    }

    /// Records that EC2 has just described a volume as available, so that the next look need not call EC2.
    pub(crate) fn ready(&self, volume: &str) {
        self.ready.borrow_mut().insert(volume.to_owned());
    }

    pub(crate) fn not_ready(&self, volume: &str) {
        self.ready.borrow_mut().remove(volume);
    }

    pub(crate) fn is_ready(&self, volume: &str) -> bool {
        self.ready.borrow().contains(volume)
    }

    /// Records that another instance has the volume.
    pub(crate) fn lost(&self, volume: &str) {
        self.volumes.borrow_mut().insert(volume.to_owned(), String::new());
    }
}
