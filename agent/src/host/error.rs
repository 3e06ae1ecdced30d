//! Errors in reading or changing this machine, and hints on how to fix them.

mod advice;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;

/// Why something on this machine could not be read or done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("cannot {operation} {}", path.display())]
    Path { operation: &'static str, path: PathBuf, source: io::Error },
    /// An operation that may wait for a disk needs a thread, and none could be started.
    #[error("cannot {operation} {}: no thread can be started for it", path.display())]
    NoThread { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("cannot run {program}")]
    Spawn { program: String, source: io::Error },
    /// `unit` is empty for a verb without a unit.
    #[error("systemctl {} failed: {said}", format!("{verb} {unit}").trim_end())]
    Systemctl { verb: &'static str, unit: String, said: String },
    #[error("systemctl {} did not finish within {waited:?}", format!("{verb} {unit}").trim_end())]
    SystemctlTimeout { verb: &'static str, unit: String, waited: Duration },
    /// A program that works on a block device or a mount, such as mkfs.xfs, failed.
    #[error("{program} failed on {}: {said}", on.display())]
    Tool { program: String, on: PathBuf, said: String },
    /// `operation` names the operation and the path; `device` and `filesystem` are empty if none was given; `said` is
    /// what the kernel log says about it.
    #[error("cannot {operation}{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Mount { operation: Box<str>, device: Box<str>, filesystem: Box<str>, said: String, source: io::Error },
    /// The node no longer refers to the device that was found there a moment ago.
    #[error("{} is now {found}, expected {wanted}", node.display())]
    Replaced { node: PathBuf, wanted: String, found: String },
    #[error("the user `{name}` is not in /etc/passwd")]
    NoUser { name: String },
    #[error("the group `{name}` is not in /etc/group")]
    NoGroup { name: String },
}

impl HostError {
    /// Replaces the program by a name that may be shown: the command line may contain a secret.
    pub(crate) fn of_program(self, shown: String) -> Self {
        match self {
            Self::Spawn { source, .. } => Self::Spawn { program: shown, source },
            other => other,
        }
    }
}

impl Failure for HostError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Path { operation, path, source } => match source.kind() {
                io::ErrorKind::Other => {
                    let link = &source.get_ref()?.downcast_ref::<ForeignLink>()?.link;
                    Some(format!("make it a directory, or a link owned by root: `chown -h root:root {}`", link.display()))
                }
                io::ErrorKind::PermissionDenied => Some(match source.get_ref().and_then(|source| source.downcast_ref::<Marked>()) {
                    Some(marked) => marked.hint(),
                    None => advice::denied(operation, path),
                }),
                io::ErrorKind::ResourceBusy if path.starts_with("/dev") => {
                    Some(format!("run `lsblk {0}` to see what uses it", path.display()))
                }
                // rename(2) and unlink(2) report this only for a mount point.
                io::ErrorKind::ResourceBusy => {
                    Some(format!("run `umount {}` to unmount what is mounted there, or name another path in the document", path.display()))
                }
                io::ErrorKind::StorageFull => Some(format!("free space on the filesystem of {}", path.display())),
                io::ErrorKind::ReadOnlyFilesystem => Some(format!("remount the filesystem of {} read-write", path.display())),
                io::ErrorKind::NotADirectory => Some(format!("a parent of {} is a file: move it away", path.display())),
                io::ErrorKind::IsADirectory if *operation == "read" => Some(format!("name a file, such as one in {}", path.display())),
                io::ErrorKind::IsADirectory => Some(format!("move the directory {} away", path.display())),
                _ => advice::limit(source).or_else(|| advice::way(source, operation, path)),
            },
            Self::NoThread { source, .. } => Some(match source.kind() {
                io::ErrorKind::WouldBlock => "allow ingot more threads: `TasksMax=` of its unit, or `ulimit -u`".into(),
                _ => "run `ps -eLo stat,wchan:32,comm | grep ^D` to find the filesystem that hangs".into(),
            }),
            Self::TooLarge { path, .. } => Some(format!("if {} is not needed, move it away", path.display())),
            Self::Spawn { program, source } => match source.kind() {
                io::ErrorKind::NotFound => Some(match advice::package(program) {
                    Some(package) => format!("install {package} in the image: it contains {program}"),
                    None => format!("install {program} in the image, or give its full path"),
                }),
                io::ErrorKind::PermissionDenied => Some(format!("make {program} executable for the user it runs as")),
                _ => advice::limit(source),
            },
            Self::Systemctl { unit, .. } | Self::SystemctlTimeout { unit, .. } if unit.is_empty() => {
                Some("run `systemctl status` and `journalctl -b -p err`".into())
            }
            Self::Systemctl { unit, .. } | Self::SystemctlTimeout { unit, .. } => Some(format!("run `systemctl status {unit}`")),
            Self::Tool { program, on, .. } => Some(format!("run `{program}` on {} to see what it reports", on.display())),
            Self::Mount { device, filesystem, source, .. } => Some(advice::mount(source, filesystem, device)),
            Self::Replaced { .. } => Some("run `ingot boot` again: disks were attached or detached in the meantime".into()),
            Self::NoUser { name } => Some(format!("create the user {name} in the image: `useradd --system {name}`")),
            Self::NoGroup { name } => Some(format!("create the group {name} in the image: `groupadd --system {name}`")),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Path { source, .. } | Self::Spawn { source, .. } if source.kind() == io::ErrorKind::Interrupted)
            || matches!(self, Self::Replaced { .. })
    }
}

/// A file or a directory that not even root can change, because of an attribute: see [`marks`](super::tree::marks).
#[derive(Debug, thiserror::Error)]
#[error("{} is {} (chattr +{})", path.display(), if *is_immutable { "immutable" } else { "append-only" }, self.letter())]
pub(crate) struct Marked {
    /// Its real path, including `--root` if there is one.
    pub(crate) path: PathBuf,
    /// `false` means append-only.
    pub(crate) is_immutable: bool,
}

impl Marked {
    fn letter(&self) -> char {
        if self.is_immutable { 'i' } else { 'a' }
    }

    fn hint(&self) -> String {
        format!("run `chattr -{} {}` to clear the attribute", self.letter(), self.path.display())
    }
}

/// A symbolic link that is not followed, because it is on the path of a change: see [`tree`](super::tree).
#[derive(Debug, thiserror::Error)]
#[error("{} is a symbolic link owned by user {owner}, {}", link.display(), match leads_to {
    None => "in a directory that users other than root can write to".to_owned(),
    Some((target, 0)) => format!("and points to {}, which belongs to root", target.display()),
    Some((target, other)) => format!("and points to {}, which belongs to user {other}", target.display()),
})]
pub(crate) struct ForeignLink {
    pub(crate) link: PathBuf,
    pub(crate) owner: u32,
    /// The target and its owner, if the target is the reason.
    pub(crate) leads_to: Option<(PathBuf, u32)>,
}
