//! The mounts of the running kernel.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::libc;

use super::kernel_log::KernelLog;
use super::{MountCall, Mounts, call};
use crate::host::blocking;
use crate::host::commands::Commands;
use crate::host::device_number::DeviceNumber;
use crate::host::disks::{self, Device};
use crate::host::error::HostError;
use crate::host::mountinfo::{self, Line, Mounted, TABLE};
use crate::host::tree::{Tree, failed, through};
use crate::host::wanted::still_wanted;

const SWAPS: &str = "/proc/swaps";

/// SWAP_FLAG_PREFER, which says that a priority is given, and SWAP_FLAG_PRIO_MASK, the bits of the priority: swapon(2).
const PREFER: i32 = 0x8000;
const PRIORITY: i32 = 0x7fff;

/// The mounts of this machine, or those below `root`.
pub(crate) struct KernelMounts {
    tree: Tree,
    commands: Rc<dyn Commands>,
}

impl KernelMounts {
    pub(crate) fn new(root: Option<PathBuf>, commands: Rc<dyn Commands>) -> Self {
        Self { tree: Tree { root }, commands }
    }
}

#[async_trait(?Send)]
impl Mounts for KernelMounts {
    async fn table(&self) -> Result<Vec<Mounted>, HostError> {
        let root = self.tree.root.clone();
        blocking::work("read", Path::new(TABLE), move || {
            let lines = mountinfo::lines()?;
            let lines = match root {
                // The kernel's paths contain no symbolic links.
                Some(root) => mountinfo::below(&fs::canonicalize(&root).map_err(|source| failed("find", &root, source))?, lines),
                None => lines,
            };
            Ok(lines.into_iter().map(|Line { mounted, .. }| call::resolved(mounted)).collect())
        })
        .await
    }

    async fn mount(&self, call: &MountCall) -> Result<(), HostError> {
        let (tree, wanted) = (self.tree.clone(), call.clone());
        blocking::work("mount at", &call.at, move || call::perform(&tree, &wanted)).await
    }

    async fn mount_by(&self, program: &str, call: &MountCall, timeout: Duration) -> Result<(), HostError> {
        let (tree, wanted) = (self.tree.clone(), call.at.clone());
        // The program follows any link at its mount point, which may have been checked long before.
        blocking::work("mount at", &call.at, move || {
            tree.open_to_change(&wanted).map(drop).map_err(|source| failed("mount at", &wanted, source))
        })
        .await?;
        let at = self.tree.located(&call.at);
        let mut argv = vec![program.to_owned(), call.source.clone(), at.to_string_lossy().into_owned()];
        if !call.data.is_empty() {
            argv.extend(["-o".to_owned(), call.data.clone()]);
        }
        disks::run_tool(&*self.commands, &argv, &call.at, timeout, |code| code == 0).await
    }

    async fn unmount(&self, at: &Path) -> Result<(), HostError> {
        let (tree, named) = (self.tree.clone(), at.to_owned());
        blocking::work("unmount", at, move || {
            let unmounted = tree.parent_to_change(&named).and_then(|(parent, name)| {
                let path = through(&parent).join(name);
                Ok(nix::mount::umount2(&path, nix::mount::MntFlags::UMOUNT_NOFOLLOW)?)
            });
            unmounted.map_err(|source| failed("unmount", &named, source))
        })
        .await
    }

    async fn swaps(&self) -> Result<Vec<DeviceNumber>, HostError> {
        blocking::work("read", Path::new(SWAPS), swaps).await
    }

    async fn swap_on(&self, device: &Device, priority: Option<u16>) -> Result<(), HostError> {
        let wanted = device.clone();
        blocking::work("enable swap on", &device.node, move || swap_on(&wanted, priority)).await
    }
}

fn read(path: &str) -> Result<Vec<u8>, HostError> {
    fs::read(path).map_err(|source| failed("read", Path::new(path), source))
}

fn swaps() -> Result<Vec<DeviceNumber>, HostError> {
    let text = match read(SWAPS) {
        // The kernel has no swap support.
        Err(HostError::Path { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let mut numbers = Vec::new();
    for node in mountinfo::swap_devices(&text) {
        numbers.extend(disks::number_of(&node).map_err(|source| failed("inspect", &node, source))?);
    }
    Ok(numbers)
}

fn swap_on(device: &Device, priority: Option<u16>) -> Result<(), HostError> {
    let held = disks::hold(device)?;
    still_wanted().map_err(|source| failed("enable swap on", &device.node, source))?;
    let refused = |errno: Errno, said: Vec<String>| HostError::Mount {
        operation: format!("enable swap on {}", device.node.display()).into(),
        device: device.node.display().to_string().into(),
        filesystem: "swap".into(),
        said: said.join("; "),
        source: errno.into(),
    };
    let node = CString::new(device.node.as_os_str().as_bytes()).map_err(|_| refused(Errno::EINVAL, Vec::new()))?;
    let flags = priority.map_or(0, |priority| PREFER | (i32::from(priority) & PRIORITY));
    let log = KernelLog::from_now();
    // SAFETY: `node` is NUL-terminated and lives until the call has returned.
    let done = Errno::result(unsafe { libc::swapon(node.as_ptr(), flags) });
    done.map_err(|errno| refused(errno, log.about(&device.node, "")))?;
    if !swaps()?.contains(&device.number) {
        // SAFETY: as above.
        if let Err(errno) = Errno::result(unsafe { libc::swapoff(node.as_ptr()) }) {
            log::warn!("cannot disable swap that was enabled by mistake: {errno}");
        }
        return Err(disks::replaced(device, "another device"));
    }
    drop(held);
    Ok(())
}
