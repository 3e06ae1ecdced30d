//! Hints for a missing program, a broken path, and a mount that the kernel refused.

use std::io;
use std::path::Path;

use nix::errno::Errno;

// For `EUCLEAN`.
#[cfg(not(target_os = "linux"))]
use crate::host::calls::OfLinux as _;

/// The package that contains a program; its name is the same in all distributions.
pub(super) fn package(program: &str) -> Option<&'static str> {
    Some(match program {
        "mkfs.xfs" | "xfs_growfs" => "xfsprogs",
        "mkfs.ext4" | "e2fsck" | "resize2fs" => "e2fsprogs",
        "mkfs.btrfs" | "btrfs" => "btrfs-progs",
        "mkswap" => "util-linux",
        "nginx" | "/usr/sbin/nginx" => "nginx",
        _ => return None,
    })
}

/// The hint for a path that this process may not read or change.
pub(super) fn denied(operation: &str, path: &Path) -> String {
    match nix::unistd::geteuid().is_root() {
        false if ["read", "list", "inspect", "open"].contains(&operation) => {
            format!("run as root, or let this user read it: `ls -l {}`", path.display())
        }
        false => "run as root, or name a directory that this user may write to".into(),
        // NFS restricts root, and so does SELinux.
        true => format!(
            "run `findmnt -T {}` to see which filesystem refuses root, and `dmesg | grep denied` to see whether SELinux or AppArmor does",
            path.parent().unwrap_or(path).display()
        ),
    }
}

/// The hint for a limit that was reached.
pub(super) fn limit(refusal: &io::Error) -> Option<String> {
    match refusal.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => Some("raise `ulimit -n`, or `LimitNOFILE=` of the unit".into()),
        Some(Errno::ENFILE) => Some("raise it with `sysctl -w fs.file-max=NUMBER`, or run `lsof` to find what keeps files open".into()),
        _ => None,
    }
}

/// The hint for a path that cannot be resolved, because of a symlink loop or a link to a missing file.
pub(super) fn way(refusal: &io::Error, operation: &str, path: &Path) -> Option<String> {
    match (refusal.raw_os_error().map(Errno::from_raw), operation) {
        (Some(Errno::ELOOP), _) | (Some(Errno::ENOENT), "create directory") => {
            Some(format!("run `namei {}` to see where the links in its path point", path.display()))
        }
        _ => None,
    }
}

/// The hint for a mount(2) or a swapon(2) that was refused; `device` is empty for a remount.
pub(super) fn mount(refusal: &io::Error, filesystem: &str, device: &str) -> String {
    let device = if device.is_empty() { "DEVICE" } else { device };
    let errno = refusal.raw_os_error().map(Errno::from_raw);
    match (errno, filesystem) {
        (Some(Errno::EPERM), _) => "run as root, in the machine's own mount namespace".into(),
        (Some(Errno::EBUSY), _) => "run `lsblk` and `findmnt` to see what uses it".into(),
        (Some(Errno::ENODEV), "") => "name a filesystem that this kernel supports: `cat /proc/filesystems` lists them".into(),
        (Some(Errno::ENODEV), name) => format!("load its kernel module with `modprobe {name}`, or use an image that contains it"),
        (Some(Errno::EROFS | Errno::EACCES), "xfs") => unwritable("norecovery"),
        (Some(Errno::EROFS | Errno::EACCES), "ext3" | "ext4") => unwritable("noload"),
        (Some(Errno::EROFS | Errno::EACCES), _) => "mount it with `ro`: it is read-only".into(),
        (Some(Errno::EIO), "btrfs") => "restore an older snapshot; if it is read-only, mount it with `ro` and `rescue=nologreplay`".into(),
        (Some(Errno::EIO), "xfs") => format!("check it with `xfs_repair -n {device}`, or restore an older snapshot"),
        (Some(Errno::EIO), _) => format!("check it with `fsck -n {device}`, or restore an older snapshot"),
        (Some(Errno::EUCLEAN | Errno::EBADMSG), "xfs") => format!("repair it with `xfs_repair {device}`, or restore an older snapshot"),
        (Some(Errno::EUCLEAN | Errno::EBADMSG), "btrfs") => {
            format!("check it with `btrfs check --readonly {device}`, or restore an older snapshot")
        }
        (Some(Errno::EUCLEAN | Errno::EBADMSG), _) => format!("repair it with `fsck {device}`, or restore an older snapshot"),
        (Some(Errno::ENOENT | Errno::ENOTDIR), _) => "check that the device and the mount point exist".into(),
        (Some(Errno::EINVAL), "xfs") => "see `dmesg | tail`; a second copy of an XFS filesystem needs the option `nouuid`".into(),
        (Some(Errno::EINVAL), "swap") => format!("run `mkswap {device}`: it may have been made for another page size"),
        (Some(Errno::EINVAL), _) => "see `dmesg | tail`: an option may be unknown, or the superblock invalid".into(),
        _ => "see `dmesg | tail`".into(),
    }
}

/// The hint for a read-only device with a log that may have to be replayed, unless `option` prevents that.
fn unwritable(option: &str) -> String {
    format!("mount it with `ro`, and with `{option}` too if it was in use when it was copied: it is read-only")
}
