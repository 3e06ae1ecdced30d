//! `ingot-fleet release`: uploads an archive with its digest and its manifest, as a release.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::output::{data, json, talk};
use super::progress::{bar, size};
use crate::aws::Aws;
use crate::aws::releases::{self, Published};
use crate::aws::s3::Bucket;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::release::content::Content;
use crate::release::manifest::{Maker, Manifest};
use crate::release::name::Name;
use crate::release::revision::{self, Found};
use crate::release::{archive, pack};

/// Make a release from a directory or an archive
///
/// A directory is packed as tar.zst, with the same bytes for the same content. .git is left out, and so is what
/// .ebignore names, or, if there is none, .gitignore. An archive (tar, tar.gz, tar.zst, zip) is uploaded as it is. A
/// release never changes: uploading the same content again succeeds, and other content under the same name is refused.
///
/// Needs permission for s3:GetObject, s3:ListBucket and s3:PutObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory to pack, or archive
    #[arg(value_name = "DIR|ARCHIVE")]
    from: PathBuf,
    /// Name of the release [default: git describe]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
}

/// What to upload.
struct Prepared {
    content: Content,
    format: &'static str,
    name: Name,
    revision: Option<Found>,
}

pub(crate) async fn run(args: Args, place: &Place, as_json: bool) -> Result<(), Failure> {
    let prepared = prepare(&args)?;
    let aws = Aws::connect().await?;
    let by = aws.caller().await?;
    let Prepared { content, format, name, revision } = prepared;
    let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let maker = Maker { by, at, attempt: format!("{:016x}", fastrand::u64(..)) };
    let mut manifest = Manifest::new(&place.application, name, content.sha256, content.bytes, format, maker);
    manifest.revision = revision.map(|found| found.revision);
    let progress = bar("uploading", content.bytes);
    let published =
        releases::publish(&Bucket::new(&aws, &place.bucket), place, manifest, &content, &|bytes| progress.set_position(bytes)).await;
    progress.finish_and_clear();
    told(place, published?, as_json)
}

/// Packs or opens what is to be released, and names it.
fn prepare(args: &Args) -> Result<Prepared, Failure> {
    let found = std::fs::metadata(&args.from).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read {}", args.from.display())).because(&error).hint("name a directory or an archive")
    })?;
    let is_directory = found.is_dir();
    if !is_directory && !found.is_file() {
        let message = format!("{} is neither a directory nor a file", args.from.display());
        return Err(Failure::new(Exit::Usage, message).hint("write the archive to a file, and release that"));
    }
    let revision = revision_of(&args.from, is_directory);
    let mut file = match is_directory {
        true => packed(&args.from, revision.as_ref().ok())?,
        false => File::open(&args.from)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot read {}", args.from.display())).because(&error))?,
    };
    let (format, warnings) = archive::judge(&mut file, &args.from)?;
    warnings.iter().for_each(|warning| talk(&format!("warning: {warning}")));
    let unread = |error| Failure::new(Exit::Failed, format!("cannot read {}", args.from.display())).because(&error);
    let progress = bar("reading", file.metadata().map_err(unread)?.len());
    let content = Content::of(file, |at| progress.set_position(at)).map_err(unread)?;
    progress.finish_and_clear();
    let name = match (&args.name, &revision) {
        (Some(name), _) => name.clone(),
        (None, Ok(found)) => Name::of_revision(&found.described, found.revision.dirty, content.sha256),
        (None, Err(why)) => {
            let message = format!("cannot name the release of {}", args.from.display());
            return Err(Failure::new(Exit::Usage, message).why(why.clone()).hint("name it with --name"));
        }
    };
    if revision.as_ref().is_ok_and(|found| found.revision.dirty) {
        talk("warning: the working tree has uncommitted changes; the release of a directory includes them");
    }
    Ok(Prepared { content, format, name, revision: revision.ok() })
}

/// The revision of a directory; for an archive, that of the current directory.
fn revision_of(from: &Path, is_directory: bool) -> Result<Found, String> {
    let here = Path::new(".");
    match is_directory {
        true => revision::of(from).or_else(|why| revision::of(here).map_err(|_| why)),
        false => revision::of(here),
    }
}

fn packed(directory: &Path, revision: Option<&Found>) -> Result<File, Failure> {
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().map_err(|_| {
            Failure::new(Exit::Usage, format!("SOURCE_DATE_EPOCH is {text:?}, expected a number of seconds"))
                .hint("set it to seconds since 1970, or unset it")
        })?,
        Err(_) => revision.map_or(pack::NO_TIME, |found| found.committed),
    };
    let progress = bar("packing", 0);
    let packed = pack::pack(directory, time, |done, total| {
        progress.set_length(total);
        progress.set_position(done);
    });
    progress.finish_and_clear();
    packed
}

/// A release, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    location: String,
    created: bool,
}

fn told(place: &Place, published: Published, as_json: bool) -> Result<(), Failure> {
    let (manifest, created) = match published {
        Published::Made(manifest) => (manifest, true),
        Published::AlreadyThere(manifest) => (manifest, false),
    };
    let location = place.url(&releases::archive_key(place, &manifest.name));
    match created {
        true => talk(&format!("released {}: {} at {location}", manifest.name, size(manifest.bytes))),
        false => talk(&format!("{} already exists: made {} by {}, with the same content", manifest.name, manifest.at, manifest.by)),
    }
    match as_json {
        true => json(&Told { manifest: &manifest, location, created }),
        false => data(&manifest.pinned()),
    }
    Ok(())
}
