//! `mounts:` — a filesystem mounted at a path, or an active swap area.
//!
//! ```yaml
//! mounts:
//!   /srv/shop:
//!     device: "{{volumes.data.device}}"   # or a path such as /dev/xvdf
//!     options: [noatime]                  # as in mount(8)
//!     owner: shop                         # of the mounted directory; default: unchanged
//!     mode: "0750"
//!     preload: [db]                         # read these first: see [`preload`](super::preload)
//!   /mnt/shared: { device: "fs-0a1b.efs.eu-central-1.amazonaws.com:/", type: nfs4 }
//!   /tmp/fast:   { type: tmpfs, options: [size=1g] }
//!   /var/www:    { device: /srv/shop/www, options: [bind] }
//!   swap:        { device: "{{volumes.swap.device}}", type: swap }
//! ```
//!
//! Mounts by mount(2): systemd notices it by itself, `RequiresMountsFor=` works, no unit is written, and no daemon is
//! reloaded at boot. A mount is identified by its device number, and an EBS volume by the ID that the disk itself
//! reports at the moment of mounting. After a reboot, [`remembered`] mounts are restored before IMDS is used.
//! [`volume`](super::volume) determines the disk, and creates its filesystem.

mod change;
mod decide;
mod device;
mod fields;
mod options;
pub(crate) mod remembered;
mod trouble;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use self::change::Change;
use self::fields::{What, render};
use self::trouble::MountError;
use crate::failure::Objection;
use crate::host::HostError;
use crate::host::disks::Filesystem;
use crate::step::{Companion, Context, Outputs, Shape, Step};
use crate::steps::preload;
use crate::text::Text;

pub(crate) use self::fields::Mount;

/// Replaying a large journal or checking a dirty filesystem takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

impl Step for Mount {
    type Change = Change;
    type Error = MountError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let device = self.device.as_ref().map(shown).or_else(|| self.kind.clone()).unwrap_or_default();
        let options: Vec<String> = self.options.iter().map(shown).collect();
        if options.is_empty() { device } else { format!("{device} ({})", options.join(",")) }
    }

    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a> {
        let what = self.what();
        let mounts_at = (what != What::Swap).then(|| Cow::Borrowed(Path::new(key)));
        let source = self.device.as_ref().filter(|device| what == What::Bind && device.is_plain());
        let source = source.map(|source| Cow::Borrowed(Path::new(source.raw())));
        Shape {
            texts: self.device.iter().chain(&self.options).collect(),
            offers: Some(&["device", "path"]),
            unfolds: true,
            paths: source.into_iter().chain(mounts_at.clone()).collect(),
            mounts_at,
            patience: PATIENCE,
            ..Shape::default()
        }
    }

    fn companions(&self, key: &str) -> Vec<Companion> {
        self.preload.iter().flat_map(|preload| preload::companions(preload, key)).collect()
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        self.contradictions(key, secret)
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
