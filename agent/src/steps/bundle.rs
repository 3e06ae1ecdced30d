//! `bundles:` — a release of an application, downloaded from S3 or a web server, unpacked, and made the current one.
//!
//! ```yaml
//! bundles:
//!   app:
//!     s3: "s3://shop-releases/shop-{{values.version}}.tar.zst"   # tar, tar.gz, tar.zst or zip, detected by content
//!     sha256: "9f86d081…"      # default: the checksum stored in S3; required with `url`
//!     into: /opt/shop          # /opt/shop/releases/shop-1.2.3-9f86d081, and the link /opt/shop/current
//!     owner: shop
//!     keep: 3
//!   worker: { s3: "s3://shop-releases/worker-2.0.jar", into: /opt/worker, unpack: false, file: worker.jar }
//! # or { s3: …, version_id: … }, { parameter: /shop/release } with the location in it,
//! # { url: https://…, sha256: … }
//! ```
//!
//! The archive is unpacked as it arrives, in a hidden directory. The release gets its name once all of it is verified
//! and on disk, and then `current` is switched atomically: by the bundle, or by the application that runs it. A release
//! that was once complete is only switched to. A complete and current release needs no network: a mark next to each
//! release describes it.
//!
//! [`s3`](crate::aws::s3) fetches archives, and [`unpack`](crate::host::unpack) restricts their contents.

mod change;
mod fields;
mod find;
mod release;
mod trouble;
mod wanted;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use self::change::Change;
use self::fields::Fields;
use self::release::{Layout, Mark, Release};
use self::trouble::BundleError;
use crate::aws::s3::{Piece, Source};
use crate::failure::{Explanation, Objection};
use crate::host::unpack::{Form, Links, Unpacked, Unpacking};
use crate::host::{Attributes, HostError};
use crate::step::amount::Gauge;
use crate::step::{Context, Outputs, Progress, Shape, Step};
use crate::steps::install;
use crate::text::Text;

/// Enough for a large archive over a slow network, with pauses.
const PATIENCE: Duration = Duration::from_secs(1200);

const GIB: u64 = 1 << 30;

/// A release of an application, unpacked from an archive.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct Bundle {
    fields: Fields,
}

impl TryFrom<Fields> for Bundle {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        fields.check().map(|fields| Self { fields })
    }
}

impl Step for Bundle {
    type Change = Change;
    type Error = BundleError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let source = shown(self.fields.source());
        match &self.fields.parameter {
            Some(_) => format!("what the parameter {source} names, into {}", self.fields.into.display()),
            None => format!("{}, into {}", Source::parse(&source).map_or(source, |place| place.to_string()), self.fields.into.display()),
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.fields.texts(),
            offers: Some(match self.fields.is_file() {
                true => &["path", "release", "version", "sha256", "file"],
                false => &["path", "release", "version", "sha256"],
            }),
            paths: vec![Cow::Borrowed(&self.fields.into)],
            mounts_at: Some(self.layout().current().into()),
            patience: PATIENCE,
            asks_aws: self.fields.asks_aws(),
            owner: self.fields.owner.as_deref(),
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        self.fields.objections(secret)
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, BundleError> {
        let wanted = self.wanted(cx).await?;
        let found = find::find(self.layout(), &wanted, cx).await?;
        let leads = cx.siblings.leader(cx.address).is_none_or(|leader| !leader.switches);
        find::changes(self.layout(), &wanted, self.attributes(cx).await?, self.fields.keep(), leads, &found)
    }

    async fn stage(&self, change: &Change, cx: &Context<'_>) -> Result<(), BundleError> {
        let Change::Fetch { release, attributes, unpacked, .. } = change else { return Ok(()) };
        let fetched = self.fetch(release, *attributes, cx).await?;
        for warning in &fetched.warnings {
            cx.progress(Progress::Warning(warning.clone()));
        }
        *unpacked.borrow_mut() = Some(fetched);
        Ok(())
    }

    async fn abandon(&self, change: &Change, cx: &Context<'_>) {
        if let Change::Fetch { release, .. } = change
            && let Err(error) = cx.host().directories.remove(&self.layout().staged(&release.version)).await
        {
            cx.progress(Progress::Warning(error.to_string()));
        }
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), BundleError> {
        let directories = &cx.host().directories;
        let done = match change {
            Change::RemoveStaged(path) => directories.remove(&path).await,
            Change::Fetch { release, unpacked, .. } => match unpacked.into_inner() {
                Some(unpacked) => self.install(&release, &unpacked, cx).await,
                None => Ok(()),
            },
            Change::HandOver { release, attributes, file } => match (directories.hand_over(&release, attributes).await, file) {
                (Ok(()), Some((path, own))) => cx.host().files.set_attributes(&path, own).await,
                (done, _) => done,
            },
            Change::Switch { link, to, .. } => directories.switch(&link, &to).await,
            Change::RemoveRelease { release, mark } => {
                // The new release is complete and current; an old one that could not be removed is left to the next
                // boot.
                if let Err(error) = remove(&release, &mark, cx).await {
                    cx.progress(Progress::Warning(error.to_string()));
                }
                Ok(())
            }
        };
        done.map_err(BundleError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, BundleError> {
        let layout = self.layout();
        let wanted = self.wanted(cx).await?;
        let found = find::find(layout, &wanted, cx).await?;
        let release = layout.release(&wanted.version);
        let stat = cx.host().files.stat(&release).await.map_err(BundleError::Host)?;
        let sha256 = found.marks.get(&wanted.version).map(|marked| marked.mark.sha256.clone());
        let mut value = json!({ "path": layout.current(), "release": release, "version": wanted.version, "sha256": sha256 });
        if let Some(file) = &wanted.file {
            value["file"] = json!(layout.current().join(&file.name));
        }
        Ok(Outputs { value, stamp: stat.map(|stat| format!("{}:{}", wanted.version, stat.inode)) })
    }
}

impl Bundle {
    fn layout(&self) -> Layout<'_> {
        Layout(&self.fields.into)
    }

    /// Unpacks a release as it arrives, in a hidden directory.
    async fn fetch(&self, release: &Release, attributes: Attributes, cx: &Context<'_>) -> Result<Unpacked, BundleError> {
        let (layout, host, from) = (self.layout(), cx.host(), release.source.to_string());
        cx.asking(format!("for {from}"));
        let mut object = cx.world.aws.objects.open(&release.source, release.sha256.is_none()).await.map_err(BundleError::Fetch)?;
        let about = object.about().clone();
        host.files.create_directory(&layout.releases(), 0o755).await.map_err(BundleError::Host)?;
        self.check_room(release, about.length, cx).await?;
        let sha256 = release.sha256.or(about.sha256);
        if sha256.is_none() {
            let warning = format!("the digest of {from} is not given, so only its length is checked: give the bundle its `sha256`");
            cx.progress(Progress::Warning(warning));
        }
        let unpack = |source| BundleError::Unpack { from: from.clone(), source };
        let wanted = Unpacking {
            into: layout.staged(&release.version),
            attributes,
            form: match &release.file {
                Some(file) => Form::File { name: file.name.clone(), mode: file.mode, compression: file.compression },
                None => Form::Archive {
                    strip_components: release.strip_components.into(),
                    links: Links::new(layout.release(&release.version), release.links.clone()),
                },
            },
            sha256,
            length: about.length,
            limit: self.fields.max_size_gib.map(|gib| u64::from(gib) * GIB),
        };
        let mut unpacking = host.directories.unpack(wanted).await.map_err(unpack)?;
        let mut gauge = Gauge::begin(host.clock.elapsed());
        let mut come = 0;
        while let Some(piece) = object.next().await.map_err(BundleError::Fetch)? {
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes,
                Piece::Refused(error) => {
                    cx.progress(Progress::Refused(Explanation::of(&error)));
                    continue;
                }
            };
            come += bytes.len() as u64;
            unpacking.push(bytes).await.map_err(unpack)?;
            if let Some(amount) = gauge.note(host.clock.elapsed(), come, about.length.unwrap_or(come)) {
                cx.progress(Progress::Advanced(amount));
            }
        }
        cx.waiting("for all data to be on disk");
        unpacking.finish().await.map_err(unpack)
    }

    /// Checks whether there is enough free space for the unpacked release, as far as that can be estimated.
    async fn check_room(&self, release: &Release, length: Option<u64>, cx: &Context<'_>) -> Result<(), BundleError> {
        let Some(length) = length else { return Ok(()) };
        let found = find::find(self.layout(), release, cx).await?;
        let free = cx.host().directories.free(&self.layout().releases()).await.map_err(BundleError::Host)?;
        match length as f64 * find::ratio(&found) > free as f64 {
            true => Err(BundleError::NoRoom { from: release.source.to_string(), length, free, at: self.fields.into.clone() }),
            false => Ok(()),
        }
    }

    /// Gives a staged release its name. The first mark makes the directory ingot's; only the second one declares it
    /// complete.
    async fn install(&self, release: &Release, unpacked: &Unpacked, cx: &Context<'_>) -> Result<(), HostError> {
        let layout = self.layout();
        let mut mark = Mark {
            whole: false,
            source: release.source.to_string(),
            sha256: unpacked.sha256.to_string(),
            bytes: unpacked.bytes,
            unpacked: unpacked.unpacked,
            strip_components: release.strip_components,
            links: release.links.clone(),
            file: release.file.as_ref().map(|file| file.name.clone()),
        };
        self.mark(&release.version, &mark, cx).await?;
        cx.host().directories.put(&layout.staged(&release.version), &layout.release(&release.version)).await?;
        mark.whole = true;
        self.mark(&release.version, &mark, cx).await
    }

    async fn mark(&self, version: &str, mark: &Mark, cx: &Context<'_>) -> Result<(), HostError> {
        let (path, files) = (self.layout().mark(version), &cx.host().files);
        let staged = install::staged(&path);
        let mut content = serde_json::to_vec(mark).expect("it is plain data");
        content.push(b'\n');
        let (uid, gid) = cx.host().users.own();
        files.stage(&staged, &content, Attributes { mode: 0o644, uid, gid }).await?;
        files.install(&staged, &path).await
    }
}

/// The directory is removed first: a mark without a directory has no effect, but a directory without a mark would
/// belong to nobody.
async fn remove(release: &Path, mark: &Path, cx: &Context<'_>) -> Result<(), HostError> {
    cx.host().directories.remove(release).await?;
    cx.host().files.remove(mark).await
}
