//! Tells the disk of an image which blocks are free, so that deleted data is gone from it.
//!
//! Source: ioctl_fitrim of <https://docs.kernel.org/>; fstrim(8).

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OpenHow, ResolveFlag, openat2};

use super::{DIRECTORY, Scrubber};

/// `struct fstrim_range` of linux/fs.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    start: u64,
    length: u64,
    shortest: u64,
}

nix::ioctl_readwrite!(fitrim, b'X', 121, Range);

impl Scrubber {
    /// Discards the free space of each filesystem of the image. Returns one sentence for each.
    pub(crate) fn discard_free_space(&self) -> Vec<String> {
        if !self.is_mount_point() {
            return vec![format!("free space is not discarded: {} is no mounted filesystem of its own", self.root.display())];
        }
        let mut said = vec![discard(Path::new("/"), &self.opened)];
        for at in self.mounts.iter().rev() {
            let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_IN_ROOT);
            let inside = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_XDEV);
            // If nothing is mounted there, the path is part of another filesystem, which has been handled.
            if matches!(openat2(&self.opened, at, inside), Err(Errno::EXDEV))
                && let Ok(mount) = openat2(&self.opened, at, how)
            {
                said.push(discard(at, &mount));
            }
        }
        said
    }

    fn is_mount_point(&self) -> bool {
        let Ok(root) = self.root.canonicalize() else { return false };
        let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else { return true };
        let Ok(parent) = nix::fcntl::open(parent, DIRECTORY, nix::sys::stat::Mode::empty()) else { return false };
        let inside = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_XDEV);
        matches!(openat2(&parent, name, inside), Err(Errno::EXDEV))
    }
}

fn discard(at: &Path, mount: &OwnedFd) -> String {
    // Deleted blocks are free only after the journal has been committed.
    // SAFETY: the descriptor is open, and no memory is passed.
    unsafe { nix::libc::syncfs(mount.as_raw_fd()) };
    let mut range = Range { start: 0, length: u64::MAX, shortest: 0 };
    // SAFETY: the kernel reads and writes one `fstrim_range`, whose layout `range` has.
    match unsafe { fitrim(mount.as_raw_fd(), &raw mut range) } {
        Ok(_) => format!("discarded {} MiB of free space on {}", range.length >> 20, at.display()),
        Err(errno) => format!("free space on {} is not discarded: {}", at.display(), errno.desc()),
    }
}
