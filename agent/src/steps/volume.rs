//! `volumes:` — a disk: an EBS volume restored from a snapshot, reused or created, or one already attached.
//!
//! ```yaml
//! volumes:
//!   data:
//!     from: { snapshot: { newest_with_tags: { app: shop, role: data } } }   # or one of
//!           # { snapshot: snap-… }, { volume: vol-… }, { volume: { with_tags: … } },
//!           # { device: /dev/sdf }, { device: vol-… },
//!           # { instance_store: 0 }, { blank: {} }
//!     reuse: { with_tags: { app: shop, role: data } }   # attach an available one of these before restoring anything
//!     size_gib: 200
//!     type: gp3
//!     filesystem: xfs       # created on a blank device only; anything else on it is an error
//! ```
//!
//! Each change determines the next one: a volume is created, then attached, and only then can its contents be read.
//! This step therefore unfolds: after each change everything is inspected again, EC2 included, which also lets an
//! interrupted boot resume. [`find`] decides which volume is meant, and [`content`] what happens with its contents;
//! [`make`], [`attach`], [`settle`] and [`format`](mod@format) do the work. [`mount`](super::mount) mounts it and grows
//! its filesystem.

mod attach;
mod change;
mod content;
mod fields;
mod find;
mod format;
mod kind;
mod known;
mod look;
mod make;
mod memory;
mod settle;
mod trouble;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use self::change::{Change, Found};
use self::content::{Asked, Verdict};
use self::fields::{Existing, Snapshot, Source};
use self::known::render;
use self::memory::Memory;
use crate::failure::Objection;
use crate::host::disks::{Content, Device, Disk, NewFilesystem, Wanted};
use crate::step::{AsksAws, Context, Outputs, Progress, Shape, Step};
use crate::text::Text;

pub(crate) use self::fields::Volume;
pub(crate) use self::trouble::VolumeError;

/// Normally EC2 creates a volume within a minute and attaches it within seconds; 15 minutes cover its worst days.
const PATIENCE: Duration = Duration::from_secs(900);

impl Step for Volume {
    type Change = Change;
    type Error = VolumeError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let listed = |tags: &BTreeMap<String, Text>| {
            tags.iter().map(|(key, value)| format!("{key}={}", shown(value))).collect::<Vec<_>>().join(", ")
        };
        match &self.from {
            Source::Snapshot(Snapshot::Id(id)) => format!("from {}", shown(id)),
            Source::Snapshot(Snapshot::Newest(newest)) => format!("from the newest snapshot with {}", listed(&newest.newest_with_tags)),
            Source::Volume(Existing::Id(id)) => shown(id),
            Source::Volume(Existing::Tagged(tagged)) => format!("the volume with {}", listed(&tagged.with_tags)),
            Source::Device(device) => shown(device),
            Source::InstanceStore(number) => format!("instance store {number}"),
            Source::Blank => "blank".into(),
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.strings(),
            offers: Some(&["device", "filesystem", "id", "size_gib"]),
            unfolds: true,
            patience: PATIENCE,
            asks_aws: if self.is_managed() { AsksAws::UnlessDone } else { AsksAws::Never },
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        let mut objections = self.contradictions();
        if secret {
            objections.push(Objection {
                message: "the source of a volume must not come from a secret: EC2 shows it in tags and descriptions".into(),
                hint: "write it literally, or keep it in `values:`".into(),
            });
        }
        objections
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, VolumeError> {
        let disk = match self.disk(cx).await? {
            Found::Disk(disk) => disk,
            Found::Next(change) => return Ok(vec![change]),
        };
        let device = self.device(&disk, cx).await?;
        let Some(filesystem) = self.filesystem else { return Ok(Vec::new()) };
        let new = NewFilesystem { kind: filesystem, label: self.label.clone(), uuid: self.uuid.clone() };
        let asked = Asked { filesystem, label: self.label.as_deref(), uuid: self.uuid.as_deref() };
        let content = cx.host().disks.content(&device.node).await.map_err(VolumeError::Host)?;
        let is_begun = Memory::of(cx).formatting.as_deref() == Some(format::identity(&device, cx).as_str());
        if is_begun && content::is_half_made(filesystem, &content) {
            return Ok(vec![Change::MakeFilesystem { device, new }]);
        }
        match content::judge(&asked, &content, &device.node, disk.read_only).map_err(VolumeError::Content)? {
            Verdict::Good => Ok(Vec::new()),
            Verdict::Make => Ok(vec![Change::MakeFilesystem { device, new }]),
        }
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), VolumeError> {
        match change {
            Change::Await(wanted) => attach::wait(&wanted, cx).await.map(|_| ()),
            Change::Make { request, failed, source } => make::make(&request, failed, &source, cx).await,
            Change::Attach { volume, reused, ready } => attach::attach(&volume, reused, ready, cx).await,
            Change::Adopt { volume, reused } => attach::adopt(&volume, reused, cx).await,
            Change::Settle(settlement) => settle::settle(&settlement, self.settings(cx)?, cx).await,
            Change::MakeFilesystem { device, new } => format::make_filesystem(&device, &new, cx).await,
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, VolumeError> {
        let Found::Disk(disk) = self.disk(cx).await? else {
            return Err(VolumeError::Late {
                what: "its disk".into(),
                waited: Duration::ZERO,
                hint: "run `ingot boot` again: it was detached in the meantime".into(),
            });
        };
        let device = self.device(&disk, cx).await?;
        let memory = Memory::of(cx);
        let now = self.described(cx)?;
        if !memory.source.is_empty() && memory.source != now {
            let kept = memory.volume.as_deref().unwrap_or("the volume");
            let warning = format!(
                "{kept} was created {}, and the document now says: {now}. It is kept; a step with another name creates a new one",
                memory.source
            );
            cx.progress(Progress::Warning(warning));
        }
        let settled = if self.is_managed() { Some(self.settings(cx)?) } else { memory.settled.clone() };
        // The current content is complete, whoever created it, so ingot must not overwrite it any more.
        let ended = Memory { settled, formatting: None, ..memory.clone() };
        if ended != memory {
            ended.keep(cx).await.map_err(VolumeError::Host)?;
        }
        let value = json!({ "device": device.node, "id": device.volume, "filesystem": self.filesystem, "size_gib": disk.size >> 30 });
        Ok(Outputs { value, stamp: None })
    }
}

impl Volume {
    /// Whether ingot attaches it, so that EC2 has to be involved.
    fn is_managed(&self) -> bool {
        !matches!(self.from, Source::Device(_) | Source::InstanceStore(_))
    }

    async fn disk(&self, cx: &Context<'_>) -> Result<Found, VolumeError> {
        let wanted = match &self.from {
            Source::Device(device) => {
                let device = render(device, cx)?;
                if device.starts_with("vol-") { Wanted::Volume(device) } else { Wanted::AttachedAs(device) }
            }
            Source::InstanceStore(number) => Wanted::InstanceStore(*number),
            _ => return self.find(cx).await,
        };
        let found = cx.host().disks.find(&wanted).await.map_err(VolumeError::Host)?;
        Ok(found.map_or(Found::Next(Change::Await(wanted)), Found::Disk))
    }

    /// The disk or partition that is meant.
    async fn device(&self, disk: &Disk, cx: &Context<'_>) -> Result<Device, VolumeError> {
        let content = match disk.partitions.is_empty() {
            true => Content::Unspecified,
            false => cx.host().disks.content(&disk.node).await.map_err(VolumeError::Host)?,
        };
        content::part(disk, self.partition, &content).map(|partition| Device::of(disk, partition)).map_err(VolumeError::Part)
    }
}
