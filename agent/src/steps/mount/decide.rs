//! Compares what is mounted with what is asked for.

use std::path::Path;

use super::change::Change;
use super::fields::{Mount, What, render};
use super::options::Options;
use super::trouble::MountError;
use crate::host::disks::{Content, Device, Filesystem, Signature, State};
use crate::host::mounts::{self, MountCall, Mounted, MsFlags};
use crate::host::{Attributes, FileKind, HostError, Stat};
use crate::step::Context;

/// Minimum difference, in bytes, for a filesystem to count as smaller than its device. The end of a device stays unused
/// if it is too small for a whole block group.
const GROW_FROM: u64 = 64 << 20;

/// Contents of a device that cannot be mounted.
const NOT_FILESYSTEMS: &[&str] = &[
    "LVM2_member",
    "linux_raid_member",
    "ddf_raid_member",
    "isw_raid_member",
    "crypto_LUKS",
    "BitLocker",
    "zfs_member",
    "bcache",
    "drbd",
    "gpt",
    "dos",
    "swap",
    "swsuspend",
];

impl Mount {
    pub(super) async fn inspect_block(&self, options: Options, cx: &Context<'_>) -> Result<Vec<Change>, MountError> {
        let at = &cx.host().files.mount_point(Path::new(cx.key())).await.map_err(MountError::Host)?;
        let (disk, device) = self.block(cx).await?;
        let table = cx.host().mounts.table().await.map_err(MountError::Host)?;
        let content = cx.host().disks.content(&device.node).await.map_err(MountError::Host)?;
        let size = disk.partitions.iter().find(|part| Some(part.number) == device.partition).map_or(disk.size, |part| part.size);
        if let Some(mounted) = mounts::at(&table, at) {
            if mounted.device != device.number {
                if let Some(volume) = self.was_ours(mounted, cx).await? {
                    return Ok(vec![Change::Unmount { at: at.to_owned(), volume }]);
                }
                return Err(MountError::InUse { at: at.to_owned(), by: mounted.source.clone() });
            }
            let options = Options { writable: options.writable || self.was_read_only(cx), ..options };
            let mut changes = self.remount(&options, mounted);
            changes.extend(self.attributes(at, cx).await?);
            changes.extend(self.growth(&options, &content, size, &device, at, cx));
            return Ok(changes);
        }
        let made = self.volumes(cx).into_iter().find_map(|address| cx.world.known.text(&address, "filesystem"));
        let asked = self.kind.as_deref().filter(|kind| *kind != "auto");
        let filesystem = mountable(asked.or(made.as_deref()), &content, &device.node)?;
        let mut changes = self.directory(at, cx).await?;
        let mut data = options.data.clone();
        if let Content::Holds(signatures) = &content
            && let [one] = signatures.as_slice()
        {
            if one.state == State::Unchecked && !options.flags.contains(MsFlags::MS_RDONLY) {
                changes.push(Change::Check { device: device.clone() });
            }
            if one.kind == "xfs" && !data.iter().any(|word| word == "nouuid") && self.has_twin(one, &device, &table, cx).await {
                data.push("nouuid".into());
            }
        }
        changes.push(Change::Mount(MountCall {
            source: device.node.display().to_string(),
            device: Some(device.clone()),
            at: at.to_owned(),
            filesystem,
            flags: options.flags,
            data: data.join(","),
        }));
        changes.extend(self.growth(&options, &content, size, &device, at, cx));
        Ok(changes)
    }

    pub(super) async fn inspect_swap(&self, options: &Options, cx: &Context<'_>) -> Result<Vec<Change>, MountError> {
        let (_, device) = self.block(cx).await?;
        let on = cx.host().mounts.swaps().await.map_err(MountError::Host)?;
        if on.contains(&device.number) {
            return Ok(Vec::new());
        }
        match cx.host().disks.content(&device.node).await.map_err(MountError::Host)? {
            Content::Unspecified => {}
            Content::Holds(signatures) if matches!(signatures.as_slice(), [one] if one.kind == "swap") => {}
            other => {
                return Err(MountError::NotMountable { node: device.node, found: other.to_string(), wanted: Some("swap".into()) });
            }
        }
        Ok(vec![Change::SwapOn { device, priority: options.priority }])
    }

    /// Inspects a bind mount, a network filesystem, or a virtual filesystem of the kernel.
    pub(super) async fn inspect_other(&self, options: Options, cx: &Context<'_>) -> Result<Vec<Change>, MountError> {
        let at = &cx.host().files.mount_point(Path::new(cx.key())).await.map_err(MountError::Host)?;
        let kind = self.kind.clone().unwrap_or_default();
        let source = match &self.device {
            Some(device) => render(device, cx)?,
            None => kind.clone(),
        };
        let table = cx.host().mounts.table().await.map_err(MountError::Host)?;
        if let Some(mounted) = mounts::at(&table, at) {
            let shown = match self.what() {
                What::Bind => cx.host().files.resolved(Path::new(&source)).await.map_err(MountError::Host)?.display().to_string(),
                What::Network | What::Virtual | What::Block | What::Swap => source,
            };
            if !is_same(self.what(), mounted, &shown, &kind, &table) {
                return Err(MountError::InUse { at: at.to_owned(), by: format!("{} ({})", mounted.source, mounted.filesystem) });
            }
            let mut changes = if self.what() == What::Network { Vec::new() } else { self.remount(&options, mounted) };
            changes.extend(self.attributes(at, cx).await?);
            return Ok(changes);
        }
        let mut changes = self.directory(at, cx).await?;
        let network = self.what() == What::Network;
        let filesystem = if options.is_bind() { String::new() } else { kind.clone() };
        let data = if network { words(&options) } else { options.data.join(",") };
        let call = MountCall { source, device: None, at: at.to_owned(), filesystem, flags: options.flags, data };
        changes.push(match network {
            true => Change::MountBy { program: format!("mount.{kind}"), call },
            false => Change::Mount(call),
        });
        Ok(changes)
    }

    async fn directory(&self, at: &Path, cx: &Context<'_>) -> Result<Vec<Change>, MountError> {
        match cx.host().files.stat(at).await.map_err(MountError::Host)? {
            Some(Stat { kind: FileKind::Directory, .. }) => Ok(Vec::new()),
            None => Ok(vec![Change::CreateDirectory(at.to_owned())]),
            Some(_) => {
                let source = std::io::ErrorKind::NotADirectory.into();
                Err(MountError::Host(HostError::Path { operation: "mount at", path: at.to_owned(), source }))
            }
        }
    }

    /// Owner and mode of the mounted directory, if the document sets them.
    async fn attributes(&self, at: &Path, cx: &Context<'_>) -> Result<Option<Change>, MountError> {
        let users = &cx.host().users;
        let Some(Stat { attributes: found, .. }) = cx.host().files.stat(at).await.map_err(MountError::Host)? else { return Ok(None) };
        let owner = match self.owner.as_deref() {
            Some(owner) => Some(users.user(owner).await.map_err(MountError::Host)?),
            None => None,
        };
        let group = match self.group.as_deref() {
            Some(group) => Some(users.group(group).await.map_err(MountError::Host)?),
            None => None,
        };
        let wanted = Attributes {
            mode: self.mode.map_or(found.mode, |mode| mode.0),
            uid: owner.as_ref().map_or(found.uid, |owner| owner.uid),
            gid: group.or(owner.map(|owner| owner.gid)).unwrap_or(found.gid),
        };
        Ok((wanted != found).then(|| Change::SetAttributes { at: at.to_owned(), attributes: wanted }))
    }

    /// Sets the options that a mount lacks, and keeps those it has.
    fn remount(&self, options: &Options, mounted: &Mounted) -> Vec<Change> {
        let set = options.missing(&mounted.options);
        if set.is_empty() {
            return Vec::new();
        }
        let present: Vec<String> = mounted.options.iter().filter(|word| !(set.contains(&"rw") && *word == "ro")).cloned().collect();
        let present = Options::parse(&present).map_or(MsFlags::empty(), |present| present.flags);
        // Without MS_BIND the call applies to the whole filesystem, which is necessary to make a read-only filesystem
        // writable again.
        let scope = if set.contains(&"rw") { MsFlags::MS_REMOUNT } else { MsFlags::MS_REMOUNT | MsFlags::MS_BIND };
        let call = MountCall {
            source: mounted.source.clone(),
            device: None,
            at: mounted.at.clone(),
            filesystem: String::new(),
            flags: scope | (options.flags & !MsFlags::MS_BIND & !MsFlags::MS_REC) | present,
            data: String::new(),
        };
        vec![Change::Remount { call, set }]
    }

    /// The change that grows the filesystem, if that is wanted and possible.
    fn growth(&self, options: &Options, content: &Content, size: u64, device: &Device, at: &Path, cx: &Context<'_>) -> Option<Change> {
        let asked = self.grow.unwrap_or_else(|| !self.volumes(cx).is_empty());
        let Content::Holds(signatures) = content else { return None };
        let one = signatures.first()?;
        let filesystem = Filesystem::named(&one.kind).filter(|filesystem| *filesystem != Filesystem::Swap)?;
        let writable = !options.flags.contains(MsFlags::MS_RDONLY);
        let grows = asked && writable && size.saturating_sub(one.size?) >= GROW_FROM;
        grows.then(|| Change::Grow { device: device.clone(), filesystem, at: at.to_owned(), to: size })
    }

    /// Whether another mounted XFS has the same UUID, as two volumes from one snapshot do: the kernel refuses to mount
    /// the second one without `nouuid`.
    async fn has_twin(&self, one: &Signature, device: &Device, table: &[Mounted], cx: &Context<'_>) -> bool {
        let Some(uuid) = &one.uuid else { return false };
        // The other one may be about to be mounted by a step that runs at the same time.
        if !cx.world.claims.filesystem(uuid, device.number) {
            return true;
        }
        let others = table.iter().filter(|mounted| mounted.filesystem == "xfs" && mounted.device != device.number);
        for other in others {
            // A filesystem whose device is gone does not count as a twin.
            let Ok(Content::Holds(signatures)) = cx.host().disks.content(Path::new(&other.source)).await else { continue };
            if signatures.iter().any(|signature| signature.uuid.as_ref() == Some(uuid)) {
                return true;
            }
        }
        false
    }
}

/// The filesystem type for mount(2), according to the content of the device.
fn mountable(asked: Option<&str>, content: &Content, node: &Path) -> Result<String, MountError> {
    let found = match content {
        Content::Unspecified => return Ok(asked.unwrap_or("auto").to_owned()),
        Content::Holds(signatures) => match signatures.as_slice() {
            [one] if !NOT_FILESYSTEMS.contains(&one.kind.as_str()) && !matches!(one.state, State::Damaged(_)) => Some(one.kind.clone()),
            _ => None,
        },
        Content::Blank | Content::Unknown { .. } => None,
    };
    match found {
        Some(found) if asked.is_none_or(|asked| asked == found) => Ok(found),
        _ => {
            let damage = match content {
                Content::Holds(signatures) => signatures.iter().find_map(|signature| match &signature.state {
                    State::Damaged(why) => Some(format!("{} that is damaged ({why})", signature.kind)),
                    _ => None,
                }),
                _ => None,
            };
            let found = damage.unwrap_or_else(|| content.to_string());
            Err(MountError::NotMountable { node: node.to_owned(), found, wanted: asked.map(str::to_owned) })
        }
    }
}

/// Whether an existing mount is the wanted one.
fn is_same(what: What, mounted: &Mounted, source: &str, kind: &str, table: &[Mounted]) -> bool {
    match what {
        What::Bind => {
            // The bound directory is on the filesystem that is visible at `source`.
            let below = table.iter().filter(|other| Path::new(source).starts_with(&other.at) && other.at != mounted.at);
            let Some(holder) = below.max_by_key(|other| other.at.components().count()) else { return mounted.root == Path::new(source) };
            let rest = Path::new(source).strip_prefix(&holder.at).unwrap_or(Path::new(""));
            mounted.device == holder.device && mounted.root == holder.root.join(rest)
        }
        // Their mount programs show another source than the one they were given.
        What::Network if kind == "efs" => mounted.filesystem.starts_with("nfs"),
        What::Network if kind.starts_with("fuse") => mounted.filesystem.starts_with("fuse"),
        What::Network => mounted.source == source || mounted.source.trim_end_matches('/') == source.trim_end_matches('/'),
        _ => mounted.filesystem == kind && (kind == "tmpfs" || mounted.source == source),
    }
}

/// All options as one string, for a mount program.
fn words(options: &Options) -> String {
    let flags = Options::names(options.flags);
    flags.into_iter().map(str::to_owned).chain(options.data.iter().cloned()).collect::<Vec<_>>().join(",")
}
