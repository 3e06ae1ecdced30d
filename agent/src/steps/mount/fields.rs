//! The fields of a mount, and their validation before anything is contacted.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::options::Options;
use super::trouble::MountError;
use crate::failure::Objection;
use crate::step::Context;
use crate::step::fields::Mode;
use crate::steps::preload::Preload;
use crate::text::Text;

/// Paths at which a mount would hide the running system, or ingot's own records.
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
    pub(super) device: Option<Text>,
    /// Filesystem type, such as `nfs4`, `efs`, `tmpfs` or `swap`. Default: what is on the device.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// Mount options, as in mount(8).
    #[serde(default)]
    pub(super) options: Vec<Text>,
    /// Owner of the mounted directory: a user name or ID. Default: unchanged.
    pub(super) owner: Option<String>,
    /// Group of the mounted directory: a name or ID. Default: the primary group of `owner`, or unchanged.
    pub(super) group: Option<String>,
    /// Permissions of the mounted directory. Default: unchanged.
    pub(super) mode: Option<Mode>,
    /// Whether the filesystem is grown to the size of its device. Default: true for `volumes`, otherwise false.
    pub(super) grow: Option<bool>,
    /// What to read ahead, since a volume restored from a snapshot is loaded while it is used.
    pub(super) preload: Option<Preload>,
}

/// The kind of object that is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Block,
    Swap,
    Bind,
    /// Mounted by a program, mount.TYPE, because the kernel does not resolve host names.
    Network,
    /// A virtual filesystem of the kernel, such as tmpfs.
    Virtual,
}

impl Mount {
    pub(super) fn what(&self) -> What {
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

    pub(super) fn parsed(&self, cx: &Context<'_>) -> Result<Options, MountError> {
        let options = self.options.iter().map(|option| render(option, cx)).collect::<Result<Vec<_>, _>>()?;
        Options::parse(&options).map_err(|(message, hint)| MountError::Option { message, hint })
    }

    /// Contradictions between the fields.
    pub(super) fn contradictions(&self, key: &str, secret: bool) -> Vec<Objection> {
        let mut wrong: Vec<(String, &str)> = Vec::new();
        let what = self.what();
        if what == What::Swap {
            if self.owner.is_some() || self.group.is_some() || self.mode.is_some() || self.grow.is_some() || self.preload.is_some() {
                wrong.push((
                    "a swap area has neither owner, group nor mode, and is neither grown nor preloaded".into(),
                    "remove these fields",
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
                format!("`{key}` exists before ingot runs, and ingot needs its content"),
                "leave it to the image, or mount below it",
            ));
        }
        match &self.device {
            None if what != What::Virtual => {
                wrong.push(("`device` is missing here".into(), "add `device:`, such as \"{{volumes.NAME.device}}\""))
            }
            Some(device) if what == What::Block && device.is_plain() && device.raw().contains(':') => {
                wrong.push((
                    format!("`{device}` looks like a network filesystem, and `type` is missing"),
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
            wrong.push(("only a filesystem on its own device can grow".into(), "remove `grow`"));
        }
        let plain: Vec<String> = self.options.iter().filter(|option| option.is_plain()).map(|option| option.raw().to_owned()).collect();
        if let Err((message, hint)) = Options::parse(&plain) {
            wrong.push((message, hint));
        }
        if secret {
            wrong.push((
                "a mount must not hold a secret: every user of the machine can read it there".into(),
                "put it into a file, and name that: `credentials=/etc/…`",
            ));
        }
        wrong.into_iter().map(|(message, hint)| Objection { message, hint: hint.into() }).collect()
    }
}

/// Renders a string of the document.
pub(super) fn render(text: &Text, cx: &Context<'_>) -> Result<String, MountError> {
    cx.render(text).map(|rendered| rendered.expose().to_owned()).map_err(MountError::Render)
}
