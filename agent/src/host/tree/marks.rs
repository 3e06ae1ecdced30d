//! Attributes that prevent even root from changing a file or a directory, as set by chattr(1).

use std::ffi::c_long;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::libc;

use super::Tree;
use crate::host::attributes::FileKind;
use crate::host::error::{HostError, Marked};

/// `FS_IMMUTABLE_FL` and `FS_APPEND_FL` of linux/fs.h: ioctl_iflags(2).
const IMMUTABLE: c_long = 0x10;
const APPEND_ONLY: c_long = 0x20;

nix::ioctl_read!(fs_ioc_getflags, b'f', 1, c_long);

/// The same error, extended by the attribute if that is why the kernel refused the operation.
pub(in crate::host) fn explained(tree: &Tree, error: HostError) -> HostError {
    match error {
        HostError::Path { operation, path, source } if source.raw_os_error() == Some(libc::EPERM) => {
            let source = match marked(tree, &path) {
                Some(marked) => io::Error::new(io::ErrorKind::PermissionDenied, marked),
                None => source,
            };
            HostError::Path { operation, path, source }
        }
        other => other,
    }
}

/// What has such an attribute: `path` itself or else the nearest existing directory above it.
fn marked(tree: &Tree, path: &Path) -> Option<Marked> {
    for (above, at) in path.ancestors().enumerate() {
        let Ok(found) = tree.stat(at) else { continue };
        // Opening a device or a pipe may have side effects.
        let is_readable = matches!(found.kind, FileKind::File | FileKind::Directory);
        if let Some(flags) = is_readable.then(|| flags(tree, at)).flatten().filter(|flags| flags & (IMMUTABLE | APPEND_ONLY) != 0) {
            return Some(Marked { path: tree.located(at), is_immutable: flags & IMMUTABLE != 0 });
        }
        if above > 0 {
            break;
        }
    }
    None
}

fn flags(tree: &Tree, path: &Path) -> Option<c_long> {
    let opened = tree.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, 0).ok()?;
    let mut flags: c_long = 0;
    // SAFETY: the descriptor is open, and the kernel writes at most one long.
    unsafe { fs_ioc_getflags(opened.as_raw_fd(), &raw mut flags) }.ok()?;
    Some(flags)
}
