//! The disks that are attached to this machine.
//!
//! This file waits for disks and programs; how each property is determined is in the files next to it.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;

use super::content::{self, Source};
use super::disk::{Device, Disk, Wanted};
use super::filesystem::{Filesystem, NewFilesystem};
use super::find::find;
use super::mounted_xfs;
use super::signature::{Content, Signature, State};
use super::sysfs::{Sysfs, number_of};
use super::tools::Tools;
use super::watch::Watch;
use super::{DiskWatch, Disks};
use crate::host::blocking;
use crate::host::commands::Commands;
use crate::host::device_number::DeviceNumber;
use crate::host::error::HostError;
use crate::host::tree::{Tree, failed, through};

/// The disks of this machine.
pub(crate) struct AttachedDisks {
    sysfs: Sysfs,
    tools: Tools,
}

impl AttachedDisks {
    pub(crate) fn new(commands: Rc<dyn Commands>) -> Self {
        Self { sysfs: Sysfs::default(), tools: Tools::new(commands) }
    }

    async fn list(&self, list: fn(&Sysfs) -> io::Result<Vec<Disk>>) -> Result<Vec<Disk>, HostError> {
        let (sysfs, operation) = (self.sysfs.clone(), "list the disks of");
        let path = sysfs.block();
        blocking::work(operation, &path.clone(), move || list(&sysfs).map_err(|source| failed(operation, &path, source))).await
    }
}

#[async_trait(?Send)]
impl Disks for AttachedDisks {
    async fn all(&self) -> Result<Vec<Disk>, HostError> {
        self.list(Sysfs::disks).await
    }

    async fn find(&self, wanted: &Wanted) -> Result<Option<Disk>, HostError> {
        let disks = self.list(Sysfs::usable_disks).await?;
        Ok(find(&disks, wanted).cloned())
    }

    async fn behind(&self, node: &Path) -> Result<Option<(Disk, Option<u32>)>, HostError> {
        let (sysfs, path, operation) = (self.sysfs.clone(), node.to_owned(), "look at");
        blocking::work(operation, node, move || {
            let behind = found_by(&path).and_then(|number| number.map_or(Ok(None), |number| sysfs.behind(number)));
            behind.map_err(|source| failed(operation, &path, source))
        })
        .await
    }

    fn watch(&self) -> Result<Box<dyn DiskWatch>, HostError> {
        Ok(Box::new(Watch::new()))
    }

    async fn content(&self, node: &Path) -> Result<Content, HostError> {
        let path = node.to_owned();
        blocking::work("read", node, move || read(&path).map_err(|source| failed("read", &path, source))).await
    }

    async fn make_filesystem(&self, device: &Device, new: &NewFilesystem, timeout: Duration) -> Result<(), HostError> {
        self.tools.make(device, new, timeout).await
    }

    async fn check(&self, device: &Device, filesystem: Filesystem, timeout: Duration) -> Result<(), HostError> {
        self.tools.check(device, filesystem, timeout).await
    }

    async fn grow(&self, device: &Device, filesystem: Filesystem, at: &Path, timeout: Duration) -> Result<(), HostError> {
        self.tools.grow(device, filesystem, at, timeout).await
    }
}

/// The number of a block device, unless another user may have placed a symbolic link on its path.
fn found_by(node: &Path) -> io::Result<Option<DeviceNumber>> {
    match Tree::default().open_to_change(node) {
        Ok(opened) => number_of(&through(&opened)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what a disk contains. Reads once more if the content is inconsistent: a filesystem in use may have been
/// writing its superblock.
fn read(node: &Path) -> io::Result<Content> {
    let content = read_once(node)?;
    let is_damaged = |signature: &Signature| matches!(signature.state, State::Damaged(_));
    match &content {
        Content::Holds(signatures) if signatures.iter().any(is_damaged) => read_once(node),
        _ => Ok(content),
    }
}

fn read_once(node: &Path) -> io::Result<Content> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(node)?;
    // stat(2) reports 0 for a block device.
    let size = file.seek(SeekFrom::End(0))?;
    let opened = Opened { file, size };
    opened.forget();
    let content = content::recognise(&opened);
    opened.forget();
    let mut content = content?;
    if let Content::Holds(signatures) = &mut content {
        let number = DeviceNumber::of(opened.file.metadata()?.rdev());
        for signature in signatures.iter_mut().filter(|signature| signature.kind == Filesystem::Xfs.name()) {
            signature.size = mounted_xfs::size(number).or(signature.size);
        }
    }
    Ok(content)
}

struct Opened {
    file: File,
    size: u64,
}

impl Opened {
    /// Makes the kernel read the disk again the next time: writes by a mounted XFS bypass this cache, and so do changes
    /// to a volume while it is attached elsewhere.
    fn forget(&self) {
        if let Err(errno) = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
            log::debug!("cannot drop what is cached of a disk: {errno}");
        }
    }
}

impl Source for Opened {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }
}
