//! Makes one mount: the system calls, and the checks before and after. Runs on one thread, and blocks: mount(2) may
//! replay a journal from a cold disk.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::MountCall;
use super::kernel_log::KernelLog;
use crate::host::disks::{self, Device};
use crate::host::error::HostError;
use crate::host::mountinfo::{self, Mounted, source_node};
use crate::host::tree::{Tree, failed};

/// Propagation flags, which take a mount(2) call of their own.
const PROPAGATION: MsFlags = MsFlags::MS_SHARED.union(MsFlags::MS_PRIVATE).union(MsFlags::MS_SLAVE).union(MsFlags::MS_UNBINDABLE);

/// Makes the mount.
pub(super) fn perform(tree: &Tree, call: &MountCall) -> Result<(), HostError> {
    let held = call.device.as_ref().map(disks::hold).transpose()?;
    let is_new = !call.flags.contains(MsFlags::MS_REMOUNT) && calls(call)[0].intersection(PROPAGATION).is_empty();
    for (number, flags) in calls(call).into_iter().enumerate() {
        // Opened for each call, because after the first one the path leads to the new mount.
        let at = open(tree, &call.at, "mount at")?;
        let done = once(tree, call, flags, &at);
        if let Err(error) = done {
            if is_new && number > 0 {
                undo(&at);
            }
            return Err(error);
        }
    }
    if let Some(device) = call.device.as_ref().filter(|_| !call.flags.contains(MsFlags::MS_BIND)) {
        let at = open(tree, &call.at, "mount at")?;
        if let Err(error) = is_of(device, &at, &call.at) {
            if is_new {
                undo(&at);
            }
            return Err(error);
        }
    }
    drop(held);
    Ok(())
}

/// The flags of each call of mount(2), in the same sequence as mount(8): a bind mount accepts no further flags and is
/// remounted to set them; propagation takes a separate call.
fn calls(call: &MountCall) -> Vec<MsFlags> {
    let (propagation, rest) = (call.flags & PROPAGATION, call.flags - PROPAGATION);
    let recursive = rest & MsFlags::MS_REC;
    let is_bind = rest.contains(MsFlags::MS_BIND) && !rest.contains(MsFlags::MS_REMOUNT);
    let is_plain = !rest.intersects(MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_MOVE);
    let mut calls = Vec::new();
    if is_bind {
        calls.push(MsFlags::MS_BIND | recursive);
        let further = rest - MsFlags::MS_BIND - MsFlags::MS_REC - MsFlags::MS_SILENT;
        calls.extend((!further.is_empty()).then_some(MsFlags::MS_REMOUNT | MsFlags::MS_BIND | further));
    } else if !(is_plain && call.filesystem.is_empty() && !propagation.is_empty()) {
        calls.push(rest);
    }
    calls.extend((!propagation.is_empty()).then_some(propagation | recursive));
    calls
}

fn once(tree: &Tree, call: &MountCall, flags: MsFlags, at: &OwnedFd) -> Result<(), HostError> {
    // The source of a bind mount is a path in the same tree.
    let bound = if flags.contains(MsFlags::MS_BIND) && !flags.contains(MsFlags::MS_REMOUNT) {
        Some(open(tree, Path::new(&call.source), "bind")?)
    } else {
        None
    };
    let source = bound.as_ref().map_or_else(|| PathBuf::from(&call.source), through);
    let is_first = flags.intersection(PROPAGATION).is_empty() && bound.is_none();
    let filesystem = Some(call.filesystem.as_str()).filter(|name| is_first && !name.is_empty());
    let data = Some(call.data.as_str()).filter(|data| is_first && !data.is_empty());
    let log = KernelLog::from_now();
    let tried = |data: Option<&str>| mount(Some(&source), &through(at), filesystem, flags, data);
    let done = tried(data).or_else(|errno| match beside_a_twin(call, errno) {
        Some(further) if is_first => tried(Some(&further)).map_err(|_| errno),
        _ => Err(errno),
    });
    done.map_err(|errno| HostError::Mount {
        operation: described(call).into(),
        device: call.source.as_str().into(),
        filesystem: call.filesystem.as_str().into(),
        said: log.about(call.device.as_ref().map_or(Path::new(""), |device| &device.node), &call.filesystem).join("; "),
        source: errno.into(),
    })
}

/// The mount data to try after a refusal that may be caused by another mounted XFS with the same UUID. That mount may
/// be invisible to this process: in the mount namespace of a container that outlived an unmount. xfs_mountfs returns
/// EINVAL in this case, as for many other errors.
fn beside_a_twin(call: &MountCall, errno: Errno) -> Option<String> {
    let is_told = call.data.split(',').any(|word| word == "nouuid");
    let may_be = errno == Errno::EINVAL && call.filesystem == "xfs" && !call.flags.contains(MsFlags::MS_REMOUNT) && !is_told;
    may_be.then(|| if call.data.is_empty() { "nouuid".into() } else { format!("{},nouuid", call.data) })
}

fn described(call: &MountCall) -> String {
    let at = call.at.display();
    if call.flags.contains(MsFlags::MS_REMOUNT) { format!("remount {at}") } else { format!("mount {} at {at}", call.source) }
}

/// Checks that the new mount is on the intended device.
fn is_of(device: &Device, at: &OwnedFd, shown: &Path) -> Result<(), HostError> {
    let info = PathBuf::from(format!("/proc/self/fdinfo/{}", at.as_raw_fd()));
    let id = mountinfo::mount_id(&fs::read_to_string(&info).map_err(|source| failed("read", &info, source))?);
    let mounted = mountinfo::lines()?.into_iter().find(|line| Some(line.id) == id).map(|line| resolved(line.mounted));
    let Some(mounted) = mounted else { return Err(failed("find what was mounted at", shown, Errno::ENOENT.into())) };
    // btrfs reports only one of its devices, so with several of them the check is impossible.
    let is_another_of_several = mounted.filesystem == "btrfs" && Path::new(&mounted.source) != device.node;
    if mounted.device == device.number || is_another_of_several {
        return Ok(());
    }
    Err(disks::replaced(device, &disks::owner(mounted.device).unwrap_or_else(|| mounted.device.to_string())))
}

/// Replaces the filesystem's own device number, as btrfs has it, by the number of the node that its source names.
pub(super) fn resolved(mounted: Mounted) -> Mounted {
    let number = source_node(&mounted).and_then(|node| disks::number_of(node).ok().flatten());
    Mounted { device: number.unwrap_or(mounted.device), ..mounted }
}

/// Lazily, because the open descriptor keeps the mount busy: it goes away when the descriptor is closed.
fn undo(at: &OwnedFd) {
    if let Err(errno) = umount2(&through(at), MntFlags::MNT_DETACH) {
        log::warn!("cannot unmount what was mounted by mistake: {errno}");
    }
}

fn open(tree: &Tree, path: &Path, operation: &'static str) -> Result<OwnedFd, HostError> {
    tree.open_to_change(path).map_err(|source| failed(operation, path, source))
}

/// A path for mount(2) that refers to the open descriptor.
fn through(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(source: &str, at: &str, filesystem: &str, flags: MsFlags) -> MountCall {
        MountCall { source: source.into(), device: None, at: at.into(), filesystem: filesystem.into(), flags, data: String::new() }
    }

    /// The mount at a path of the tree, with its options.
    fn seen(tree: &Tree, path: &str) -> Option<Mounted> {
        let root = fs::canonicalize(tree.root.as_ref().unwrap()).unwrap();
        let lines = mountinfo::below(&root, mountinfo::lines().unwrap());
        lines.into_iter().rev().map(|line| line.mounted).find(|mounted| mounted.at == Path::new(path))
    }

    /// Needs the right to mount, which root has on most machines; without it, nothing can be tested.
    #[test]
    fn mounts_below_a_root_and_takes_back_what_is_not_meant() {
        use MsFlags as M;
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree { root: Some(directory.path().to_owned()) };
        for path in ["srv", "b", "etc"] {
            fs::create_dir(directory.path().join(path)).unwrap();
        }
        std::os::unix::fs::symlink("/srv", directory.path().join("link")).unwrap();
        match perform(&tree, &call("none", "/link", "tmpfs", M::MS_NOSUID | M::MS_PRIVATE)) {
            Err(HostError::Mount { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => return,
            done => done.unwrap(),
        }
        let mounted = seen(&tree, "/srv").unwrap();
        assert_eq!((mounted.filesystem.as_str(), mounted.root.as_path()), ("tmpfs", Path::new("/")));
        assert!(mounted.options.contains(&"nosuid".to_owned()), "{:?}", mounted.options);

        fs::create_dir(directory.path().join("srv/a")).unwrap();
        perform(&tree, &call("/link/a", "/b", "", M::MS_BIND | M::MS_RDONLY)).unwrap();
        let bound = seen(&tree, "/b").unwrap();
        assert_eq!((bound.device, bound.root.as_path(), bound.options[0].as_str()), (mounted.device, Path::new("/a"), "ro"));
        assert!(fs::create_dir(directory.path().join("b/x")).is_err());

        perform(&tree, &call("", "/srv", "", M::MS_REMOUNT | M::MS_RDONLY)).unwrap();
        assert_eq!(seen(&tree, "/srv").unwrap().options[0], "ro");

        // It is mounted, but not from the intended device.
        perform(&tree, &call("none", "/etc", "tmpfs", M::empty())).unwrap();
        let at = open(&tree, Path::new("/etc"), "mount at").unwrap();
        let number = disks::DeviceNumber { major: 259, minor: 1 };
        let device = Device { node: "/dev/nvme1n1".into(), number, volume: Some("vol-0a".into()), partition: None };
        let error = is_of(&device, &at, Path::new("/etc")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/nvme1n1 is now 0:") && error.ends_with(", expected vol-0a"), "{error}");
        undo(&at);
        assert_eq!(seen(&tree, "/etc"), None);

        for path in ["/b", "/srv"] {
            undo(&open(&tree, Path::new(path), "mount at").unwrap());
            assert_eq!(seen(&tree, path), None);
        }
    }

    #[test]
    fn says_what_could_not_be_mounted_and_what_to_do() {
        let refused = |call: &MountCall, errno: Errno| {
            let said = String::new();
            HostError::Mount {
                operation: described(call).into(),
                device: call.source.as_str().into(),
                filesystem: call.filesystem.as_str().into(),
                said,
                source: errno.into(),
            }
        };
        let mut explained = String::new();
        for (filesystem, errno) in [("xfs", Errno::EINVAL), ("f2fs", Errno::ENODEV), ("ext4", Errno::EUCLEAN), ("ext4", Errno::EROFS)] {
            let error = refused(&call("/dev/nvme1n1", "/srv", filesystem, MsFlags::empty()), errno);
            explained += &format!("{}\n", crate::failure::Explanation::of(&error));
        }
        let remount = refused(&call("", "/srv", "", MsFlags::MS_REMOUNT), Errno::EBUSY);
        explained += &crate::failure::Explanation::of(&remount).to_string();
        insta::assert_snapshot!(explained, @r"
        cannot mount /dev/nvme1n1 at /srv: Invalid argument (os error 22)
          hint: see `dmesg | tail`; a second copy of an XFS filesystem needs the option `nouuid`
        cannot mount /dev/nvme1n1 at /srv: No such device (os error 19)
          hint: load its kernel module with `modprobe f2fs`, or use an image that contains it
        cannot mount /dev/nvme1n1 at /srv: Structure needs cleaning (os error 117)
          hint: repair it with `fsck /dev/nvme1n1`, or restore an older snapshot
        cannot mount /dev/nvme1n1 at /srv: Read-only file system (os error 30)
          hint: mount it with `ro`, and with `noload` too if it was in use when it was copied: it is read-only
        cannot remount /srv: Device or resource busy (os error 16)
          hint: run `lsblk` and `findmnt` to see what uses it
        ");
    }

    #[test]
    fn makes_the_calls_that_mount_8_makes() {
        use MsFlags as M;
        for (filesystem, flags, expected) in [
            ("xfs", M::empty(), vec![M::empty()]),
            ("xfs", M::MS_NOATIME | M::MS_RDONLY, vec![M::MS_NOATIME | M::MS_RDONLY]),
            ("xfs", M::MS_NOATIME | M::MS_PRIVATE, vec![M::MS_NOATIME, M::MS_PRIVATE]),
            ("", M::MS_BIND, vec![M::MS_BIND]),
            ("", M::MS_BIND | M::MS_REC, vec![M::MS_BIND | M::MS_REC]),
            ("", M::MS_BIND | M::MS_RDONLY, vec![M::MS_BIND, M::MS_REMOUNT | M::MS_BIND | M::MS_RDONLY]),
            (
                "",
                M::MS_BIND | M::MS_REC | M::MS_NOSUID | M::MS_SLAVE,
                vec![M::MS_BIND | M::MS_REC, M::MS_REMOUNT | M::MS_BIND | M::MS_NOSUID, M::MS_SLAVE | M::MS_REC],
            ),
            ("", M::MS_REMOUNT | M::MS_RDONLY, vec![M::MS_REMOUNT | M::MS_RDONLY]),
            ("", M::MS_REMOUNT | M::MS_BIND | M::MS_RDONLY, vec![M::MS_REMOUNT | M::MS_BIND | M::MS_RDONLY]),
            ("", M::MS_PRIVATE | M::MS_REC, vec![M::MS_PRIVATE | M::MS_REC]),
        ] {
            let call =
                MountCall { source: "x".into(), device: None, at: "/x".into(), filesystem: filesystem.into(), flags, data: String::new() };
            assert_eq!(calls(&call), expected, "{flags:?}");
        }
    }
}
