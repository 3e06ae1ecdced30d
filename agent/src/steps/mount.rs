//! `mounts:` — a filesystem at a path, or a swap area that is on.
//!
//! ```yaml
//! mounts:
//!   /srv/shop:
//!     device: "{{volumes.data.device}}"   # or a path such as /dev/xvdf
//!     options: [noatime]                  # as in mount(8)
//!     owner: shop                         # of the directory that is mounted; default: as it is
//!     mode: "0750"
//!     preload: [db]                         # read these first: see [`preload`](super::preload)
//!   /mnt/shared: { device: "fs-0a1b.efs.eu-central-1.amazonaws.com:/", type: nfs4 }
//!   /tmp/fast:   { type: tmpfs, options: [size=1g] }
//!   /var/www:    { device: /srv/shop/www, options: [bind] }
//!   swap:        { device: "{{volumes.swap.device}}", type: swap }
//! ```
//!
//! Mounts by mount(2): systemd sees it by itself, `RequiresMountsFor=` works, and no unit is written and no daemon
//! reloaded at boot. What is mounted is known by device number, and an EBS volume by what the disk itself says it is, in
//! the moment in which it is mounted. After a reboot [`remembered`] mounts come back before IMDS is asked for anything.
//! Which disk is meant, and which filesystem is made on it, is the business of [`volume`](super::volume).

mod decide;
mod options;
pub(crate) mod remembered;
mod trouble;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use self::options::Options;
use self::trouble::MountError;
use crate::failure::Objection;
use crate::host::disks::{Device, Filesystem};
use crate::host::mounts::MountCall;
use crate::host::{Attributes, HostError};
use crate::step::fields::Mode;
use crate::step::{Companion, Context, Outputs, Step};
use crate::steps::preload::{self, Preload};
use crate::text::Text;

/// A large journal is replayed, and a dirty filesystem checked, in minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Places that a mount would hide the running system by, or the memory of ingot.
const OF_THE_IMAGE: [&str; 15] = [
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/root",
    "/run",
    "/run/ingot",
    "/sys",
    "/usr",
    "/usr/bin",
    "/var",
    "/var/lib",
    "/var/lib/ingot",
    "/var/lib/ingot/instances",
];

/// A filesystem at a path, or an active swap area.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    /// What to mount: a reference to a volume, the path of a device, `host:/path`, or a directory with option `bind`.
    device: Option<Text>,
    /// Filesystem type, such as `nfs4`, `efs`, `tmpfs` or `swap`. Default: what is on the device.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Mount options, as in mount(8).
    #[serde(default)]
    options: Vec<Text>,
    /// Owner of the mounted directory: a user name or ID. Default: unchanged.
    owner: Option<String>,
    /// Group of the mounted directory: a name or ID. Default: the primary group of `owner`, or unchanged.
    group: Option<String>,
    /// Permissions of the mounted directory. Default: unchanged.
    mode: Option<Mode>,
    /// Whether the filesystem is grown to the size of its device. Default: true for `volumes`, otherwise false.
    grow: Option<bool>,
    /// What to read ahead, since a volume restored from a snapshot is loaded while it is used.
    preload: Option<Preload>,
}

/// What kind of thing is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Block,
    Swap,
    Bind,
    /// By a program, mount.TYPE, since the kernel does not look up names.
    Network,
    /// Something of the kernel's own, such as tmpfs.
    Virtual,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    CreateDirectory(PathBuf),
    /// What an earlier document had mounted here.
    Unmount {
        at: PathBuf,
        volume: String,
    },
    Check {
        device: Device,
    },
    Mount(MountCall),
    MountBy {
        program: String,
        call: MountCall,
    },
    Remount {
        call: MountCall,
        set: Vec<&'static str>,
    },
    Grow {
        device: Device,
        filesystem: Filesystem,
        at: PathBuf,
        to: u64,
    },
    SetAttributes {
        at: PathBuf,
        attributes: Attributes,
    },
    SwapOn {
        device: Device,
        priority: Option<u16>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectory(path) => write!(f, "create directory {}", path.display()),
            Self::Unmount { at, volume } => write!(f, "unmount {volume}, which was mounted at {} before", at.display()),
            Self::Check { device } => write!(f, "check the filesystem on {}", device.node.display()),
            Self::Mount(call) => {
                write!(f, "mount {} at {}", call.source, call.at.display())?;
                if call.filesystem.is_empty() { Ok(()) } else { write!(f, " ({})", call.filesystem) }
            }
            Self::MountBy { program, call } => write!(f, "mount {} at {} by {program}", call.source, call.at.display()),
            Self::Remount { call, set } => write!(f, "remount at {}: {}", call.at.display(), set.join(",")),
            Self::Grow { filesystem, at, to, .. } => write!(f, "grow {filesystem} at {} to {} GiB", at.display(), to >> 30),
            Self::SetAttributes { at, attributes: Attributes { mode, uid, gid } } => {
                write!(f, "set mode {mode:04o} and owner {uid}:{gid} of {}", at.display())
            }
            Self::SwapOn { device, .. } => write!(f, "swap on {}", device.node.display()),
        }
    }
}

impl Step for Mount {
    type Change = Change;
    type Error = MountError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let device = self.device.as_ref().map(shown).or_else(|| self.kind.clone()).unwrap_or_default();
        let options: Vec<String> = self.options.iter().map(shown).collect();
        if options.is_empty() { device } else { format!("{device} ({})", options.join(",")) }
    }

    fn texts(&self) -> Vec<&Text> {
        self.device.iter().chain(&self.options).collect()
    }

    fn offers(&self) -> Option<&'static [&'static str]> {
        Some(&["device", "path"])
    }

    fn unfolds(&self) -> bool {
        true
    }

    fn companions(&self, key: &str) -> Vec<Companion> {
        self.preload.iter().flat_map(|preload| preload::companions(preload, key)).collect()
    }

    fn mounts_at(&self, key: &str) -> Option<PathBuf> {
        (self.what() != What::Swap).then(|| key.into())
    }

    fn paths(&self, key: &str) -> Vec<PathBuf> {
        let source = self.device.as_ref().filter(|device| self.what() == What::Bind && device.is_plain());
        source.map(|source| source.raw().into()).into_iter().chain(self.mounts_at(key)).collect()
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        self.contradictions(key, secret)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, MountError> {
        let options = self.parsed(cx)?;
        match self.what() {
            What::Swap => self.inspect_swap(&options, cx).await,
            What::Block => self.inspect_block(options, cx).await,
            What::Bind | What::Network | What::Virtual => self.inspect_other(options, cx).await,
        }
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), MountError> {
        let (host, left) = (cx.host(), cx.time_left());
        match change {
            Change::CreateDirectory(path) => host.files.create_directory(&path, 0o755).await,
            Change::Unmount { at, .. } => host.mounts.unmount(&at).await,
            Change::Check { device } => {
                cx.waiting(format!("for e2fsck to check {}", device.node.display()));
                host.disks.check(&device, Filesystem::Ext4, left).await
            }
            Change::Mount(call) | Change::Remount { call, .. } => {
                cx.waiting(format!("for the kernel to mount {} at {}", call.source, call.at.display()));
                host.mounts.mount(&call).await
            }
            Change::MountBy { program, call } => {
                cx.waiting(format!("for {program} to mount {}", call.source));
                let mounted = host.mounts.mount_by(&program, &call, left).await;
                return mounted.map_err(|source| match source {
                    HostError::Spawn { .. } => MountError::NoHelper { program, kind: call.filesystem },
                    source => MountError::Network { source },
                });
            }
            Change::Grow { device, filesystem, at, .. } => {
                cx.waiting(format!("for {filesystem} to grow at {}", at.display()));
                host.disks.grow(&device, filesystem, &host.files.located(&at), left).await
            }
            Change::SetAttributes { at, attributes } => host.files.set_attributes(&at, attributes).await,
            Change::SwapOn { device, priority } => host.mounts.swap_on(&device, priority).await,
        }
        .map_err(MountError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, MountError> {
        self.remember(cx).await?;
        let device = self.device.as_ref().map(|device| render(device, cx)).transpose()?;
        Ok(Outputs { value: json!({ "device": device, "path": cx.key() }), stamp: None })
    }
}

impl Mount {
    fn what(&self) -> What {
        let options: Vec<&str> = self.options.iter().flat_map(|option| option.raw().split(',')).map(str::trim).collect();
        let kind = self.kind.as_deref().unwrap_or_default();
        match kind {
            "swap" => What::Swap,
            _ if options.iter().any(|option| matches!(*option, "bind" | "rbind")) => What::Bind,
            "nfs" | "nfs4" | "efs" | "cifs" | "smb3" | "smbfs" | "lustre" | "ceph" | "glusterfs" | "9p" => What::Network,
            kind if kind.starts_with("fuse") => What::Network,
            "tmpfs" | "ramfs" | "overlay" | "proc" | "sysfs" | "devtmpfs" | "devpts" | "cgroup2" | "bpf" | "debugfs" | "tracefs"
            | "securityfs" | "configfs" | "hugetlbfs" | "mqueue" | "pstore" | "efivarfs" => What::Virtual,
            _ => What::Block,
        }
    }

    fn parsed(&self, cx: &Context<'_>) -> Result<Options, MountError> {
        let options = self.options.iter().map(|option| render(option, cx)).collect::<Result<Vec<_>, _>>()?;
        Options::parse(&options).map_err(|(message, hint)| MountError::Option { message, hint })
    }

    /// What contradicts itself.
    fn contradictions(&self, key: &str, secret: bool) -> Vec<Objection> {
        let mut wrong: Vec<(String, &str)> = Vec::new();
        let what = self.what();
        if what == What::Swap {
            if self.owner.is_some() || self.group.is_some() || self.mode.is_some() || self.grow.is_some() || self.preload.is_some() {
                wrong.push((
                    "a swap area has neither owner, group nor mode, and is neither grown nor preloaded".into(),
                    "take these fields away",
                ));
            }
        } else if !Path::new(key).is_absolute() {
            wrong.push((format!("`{key}` is not an absolute path"), "write the whole path, or `type: swap` for a swap area"));
        } else if key != "/"
            && (key.ends_with('/') || key.contains("//") || Path::new(key).components().any(|part| part.as_os_str() == ".."))
        {
            wrong.push((format!("`{key}` is not the plain form of a path"), "write it without a slash at its end, `//` and `..`"));
        } else if OF_THE_IMAGE.contains(&key) {
            wrong.push((
                format!("`{key}` is there before ingot runs, and ingot itself needs what lies in it"),
                "leave it to the image, or mount below it",
            ));
        }
        match &self.device {
            None if what != What::Virtual => {
                wrong.push(("`device` is missing here".into(), "add `device:`, such as \"{{volumes.NAME.device}}\""))
            }
            Some(device) if what == What::Block && device.is_plain() && device.raw().contains(':') => {
                wrong.push((
                    format!("`{device}` looks like a network filesystem, and no `type` says so"),
                    "add `type: nfs4`, or whichever it is",
                ));
            }
            Some(device)
                if matches!(what, What::Block | What::Bind | What::Swap) && device.is_plain() && !Path::new(device.raw()).is_absolute() =>
            {
                wrong.push((format!("`{device}` is not an absolute path"), "write the whole path, or refer to a volume"));
            }
            _ => {}
        }
        if self.grow == Some(true) && what != What::Block {
            wrong.push(("only a filesystem on a device of its own can grow".into(), "take `grow` away"));
        }
        let plain: Vec<String> = self.options.iter().filter(|option| option.is_plain()).map(|option| option.raw().to_owned()).collect();
        if let Err((message, hint)) = Options::parse(&plain) {
            wrong.push((message, hint));
        }
        if secret {
            wrong.push((
                "a mount may not hold a secret: every user of the machine can read it there".into(),
                "put it into a file, and name that: `credentials=/etc/…`",
            ));
        }
        wrong.into_iter().map(|(message, hint)| Objection { message, hint: hint.into() }).collect()
    }
}

fn render(text: &Text, cx: &Context<'_>) -> Result<String, MountError> {
    cx.render(text).map(|rendered| rendered.expose().to_owned()).map_err(MountError::Render)
}
