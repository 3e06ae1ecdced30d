//! What [`calls`](crate::host::calls) of Linux are on another system: what comes closest, or nothing.
//!
//! ingot boots only Linux. Its commands that need no machine (`check`, `dry-run`, `schema` …) run elsewhere, too: they
//! read and write files, run programs, and rehearse on a machine in memory. Everything else fails with [`refused`],
//! behind a command line that refuses it beforehand.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Gid;

use crate::host::error::HostError;
use crate::host::tree::failed;

/// The access time of a file may change.
pub(crate) const NO_ATIME: i32 = 0;

bitflags::bitflags! {
    /// Flags of mount(2), with the numbers of Linux: documents are checked with them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct MsFlags: std::ffi::c_ulong {
        const MS_RDONLY = 1;
        const MS_NOSUID = 1 << 1;
        const MS_NODEV = 1 << 2;
        const MS_NOEXEC = 1 << 3;
        const MS_SYNCHRONOUS = 1 << 4;
        const MS_REMOUNT = 1 << 5;
        const MS_MANDLOCK = 1 << 6;
        const MS_DIRSYNC = 1 << 7;
        const MS_NOATIME = 1 << 10;
        const MS_NODIRATIME = 1 << 11;
        const MS_BIND = 1 << 12;
        const MS_REC = 1 << 14;
        const MS_SILENT = 1 << 15;
        const MS_UNBINDABLE = 1 << 17;
        const MS_PRIVATE = 1 << 18;
        const MS_SLAVE = 1 << 19;
        const MS_SHARED = 1 << 20;
        const MS_RELATIME = 1 << 21;
        const MS_I_VERSION = 1 << 23;
        const MS_STRICTATIME = 1 << 24;
        const MS_LAZYTIME = 1 << 25;
    }
}

/// Error numbers that only Linux has.
pub(crate) trait OfLinux {
    const EUCLEAN: Errno;
}

impl OfLinux for Errno {
    /// What macOS says in its place.
    const EUCLEAN: Errno = Self::EFTYPE;
}

/// The error of everything that only Linux can do.
pub(crate) fn refused(operation: &'static str, path: &Path) -> HostError {
    failed(operation, path, unsupported())
}

/// Its cause.
pub(in crate::host) fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "ingot does this only on Linux")
}

/// A program that outlives ingot is not killed.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    Ok(())
}

/// Programs run as the user of this process.
pub(super) fn set_groups(_groups: &[Gid]) -> Result<(), Errno> {
    Err(Errno::ENOTSUP)
}

/// The limit on core dumps has to suffice.
pub(super) fn forbid_dumps() -> Result<(), Errno> {
    Ok(())
}

/// Without the time that the machine was suspended: only a boot needs that.
pub(super) fn since_boot() -> Result<Duration, Errno> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from)
}

pub(super) fn rest(duration: Duration) {
    std::thread::sleep(duration);
}

/// Only Linux divides the number of a device in the way that the rest of ingot means.
pub(super) fn numbers(device: u64) -> (u64, u64) {
    (0, device)
}
