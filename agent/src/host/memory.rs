//! Determines which paths are in memory, so that accessing them never waits for a disk: the tmpfs that systemd mounts
//! at /run, and the kernel's /proc and /sys.
//!
//! The path alone is not enough: a disk may be mounted below /run, and a link may lead out of it. So the kernel
//! resolves the path, starting in such a filesystem and crossing into no other.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC, fstatfs};
use tokio::sync::OnceCell;

use super::blocking;

/// The mount points of such filesystems.
const PLACES: [&str; 3] = ["/run", "/proc", "/sys"];

/// Filesystems that never wait for a disk. Source: statfs(2).
const IN_MEMORY: [FsType; 3] = [TMPFS_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC];

/// Those of [`PLACES`] that are on such a filesystem.
static KNOWN: OnceCell<Vec<(&str, OwnedFd)>> = OnceCell::const_new();

/// Whether every component of `path` is in memory, or would be if it existed.
pub(super) async fn holds(path: &Path) -> bool {
    if !PLACES.iter().any(|place| path.starts_with(place)) {
        return false;
    }
    let known = KNOWN.get_or_init(known).await;
    let within = known.iter().find_map(|(place, opened)| Some((opened, path.strip_prefix(place).ok()?)));
    within.is_some_and(|(opened, rest)| rest.as_os_str().is_empty() || stays(opened, rest))
}

/// Opened on a separate thread, because a network filesystem may be mounted there.
async fn known() -> Vec<(&'static str, OwnedFd)> {
    let places = blocking::work("look at", Path::new(PLACES[0]), || {
        let opened = |place: &&'static str| open(*place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok();
        let is_in_memory = |opened: &OwnedFd| fstatfs(opened).is_ok_and(|found| IN_MEMORY.contains(&found.filesystem_type()));
        Ok(PLACES.iter().filter_map(|place| Some((*place, opened(place).filter(is_in_memory)?))).collect())
    });
    places.await.unwrap_or_default()
}

fn stays(within: &OwnedFd, rest: &Path) -> bool {
    // Needs Linux 5.6. If the call is unknown or forbidden, the path does not count as in memory.
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(within, rest, how) {
        Ok(opened) => {
            drop(File::from(opened));
            true
        }
        Err(error) => error == Errno::ENOENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_that_leaves_memory_is_not_in_it() {
        for path in ["/proc", "/proc/sys/kernel/random/boot_id", "/sys/class/net/lo/mtu", "/proc/no/such/file"] {
            assert!(holds(Path::new(path)).await, "{path}");
        }
        // Through a link of the kernel's own, and without any link.
        for path in ["/proc/self/cwd/Cargo.toml", "/etc/passwd", "/", "/running"] {
            assert!(!holds(Path::new(path)).await, "{path}");
        }
    }
}
