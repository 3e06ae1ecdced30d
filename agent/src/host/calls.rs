//! The few calls of Linux that files need which otherwise run on any system.
//!
//! Files that are about such calls, such as [`opened`](super::opened), make them on their own. On a system other than
//! Linux, `elsewhere/calls.rs` takes the place of this file.

use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::Gid;

pub(crate) use nix::mount::MsFlags;

/// The flag of open(2) that leaves the access time of a file unchanged.
pub(crate) const NO_ATIME: i32 = libc::O_NOATIME;

/// Makes the kernel kill this process when the thread that started it ends. To be called between fork and exec.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
}

/// Sets the supplementary groups of this process.
pub(super) fn set_groups(groups: &[Gid]) -> Result<(), Errno> {
    nix::unistd::setgroups(groups)
}

/// Keeps this process out of core dumps and debuggers.
pub(super) fn forbid_dumps() -> Result<(), Errno> {
    nix::sys::prctl::set_dumpable(false)
}

/// Time since this machine was booted, including the time that it was suspended.
pub(super) fn since_boot() -> Result<Duration, Errno> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from)
}

/// Sleeps by the kernel alone, on this thread; a signal ends it early.
pub(super) fn rest(duration: Duration) {
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &duration.into());
}

/// The major and the minor number in a field of stat(2).
pub(super) fn numbers(device: u64) -> (u64, u64) {
    (nix::sys::stat::major(device), nix::sys::stat::minor(device))
}
