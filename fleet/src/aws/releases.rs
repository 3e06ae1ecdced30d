//! Releases in a bucket: `NAME.tar.zst`, an archive of any format, and its description `NAME.json`, which makes it a
//! release.
//!
//! Neither is ever overwritten. If a run is killed between the two writes, the next run with the same content completes
//! it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::objects::{Condition, Objects, Put};
use super::trouble::who_deleted;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::release::content::Content;
use crate::release::manifest::Manifest;
use crate::release::name::Name;

const ARCHIVE: &str = ".tar.zst";
const MANIFEST: &str = ".json";

/// How many descriptions are read in parallel.
const PARALLEL: usize = 8;

/// Result of publishing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Made(Manifest),
    /// The same content already existed under the same name.
    AlreadyThere(Manifest),
}

/// A release in a bucket, complete or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Name,
    /// When the newest of its objects was written.
    pub(crate) modified: Timestamp,
    /// Length of the archive, if there is one.
    pub(crate) bytes: Option<u64>,
    pub(crate) described: Described,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Described {
    By(Box<Manifest>),
    /// The upload is still running, or was abandoned.
    NotYet,
    /// The description cannot be read, for this reason.
    Badly(String),
}

pub(crate) fn archive_key(place: &Place, name: &Name) -> String {
    format!("{}{name}{ARCHIVE}", place.releases())
}

fn manifest_key(place: &Place, name: &Name) -> String {
    format!("{}{name}{MANIFEST}", place.releases())
}

/// Publishes an archive as a release, once.
pub(crate) async fn publish(
    objects: &impl Objects,
    place: &Place,
    manifest: Manifest,
    content: &Content,
    progress: &dyn Fn(u64),
) -> Result<Published, Failure> {
    let (archive, described) = (archive_key(place, &manifest.name), manifest_key(place, &manifest.name));
    let before = described_before(objects, place, &manifest).await?;
    // Even if there is a description: the archive alone may have been deleted.
    let is_there = match objects.compare(&archive, content).await? {
        Some(same) => same,
        None => match objects.upload(&archive, content, progress).await? {
            Put::Done { .. } => true,
            // Another process uploaded it, or our call succeeded and its answer was lost.
            Put::Refused => objects.compare(&archive, content).await?.unwrap_or(false),
        },
    };
    if !is_there {
        return Err(other_content(&manifest.name, &place.url(&archive), before.is_some()));
    }
    if let Some(before) = before {
        return Ok(Published::AlreadyThere(before));
    }
    match objects.put(&described, manifest.write(), Condition::Absent).await? {
        Put::Done { .. } => Ok(Published::Made(manifest)),
        Put::Refused => match described_before(objects, place, &manifest).await? {
            Some(found) if found == manifest => Ok(Published::Made(found)),
            Some(found) => Ok(Published::AlreadyThere(found)),
            None => Err(Failure::new(Exit::Failed, format!("{} was deleted right after it was written", place.url(&described)))
                .hint(format!("{}; then run the same command again", who_deleted(&place.bucket)))),
        },
    }
}

fn other_content(name: &Name, archive: &str, is_described: bool) -> Failure {
    let failure = |message: String| Failure::new(Exit::Failed, message);
    match is_described {
        true => failure(format!("the release {name} is damaged"))
            .why(format!("{archive} is not the archive that was released"))
            .hint("choose another name with --name; PutObject in the CloudTrail data events of the bucket shows who replaced the archive"),
        false => failure(format!("the name {name} is taken"))
            .why(format!("{archive} has other content and no description: its upload is still running elsewhere, or was abandoned"))
            .hint("choose another name with --name; `ingot-fleet releases prune` removes uploads abandoned more than a day ago"),
    }
}

/// Reads the description of a release of this name, which must have the same content.
async fn described_before(objects: &impl Objects, place: &Place, manifest: &Manifest) -> Result<Option<Manifest>, Failure> {
    let key = manifest_key(place, &manifest.name);
    let Some(object) = objects.get(&key).await? else { return Ok(None) };
    let found = Manifest::read(&object.content, &place.application, &manifest.name).map_err(|error| {
        Failure::new(Exit::Failed, format!("the name {} is taken, and {} cannot be read", manifest.name, place.url(&key)))
            .because(&error)
            .hint("choose another name with --name, or update ingot-fleet if it is too old")
    })?;
    if found.sha256 != manifest.sha256 {
        return Err(Failure::new(Exit::Failed, format!("the release {} exists with other content", manifest.name))
            .why(format!(
                "it was made {} by {} with SHA-256 {}, and this content has {}",
                found.at, found.by, found.sha256, manifest.sha256
            ))
            .hint("choose another name with --name: a release never changes"));
    }
    Ok(Some(found))
}

/// Finds a release by its name.
pub(crate) async fn find(objects: &impl Objects, place: &Place, name: &Name) -> Result<Manifest, Failure> {
    match describe(objects, place, name).await? {
        Described::By(manifest) => Ok(*manifest),
        Described::NotYet => Err(Failure::new(Exit::Usage, format!("there is no release {name} of {}", place.application))
            .hint("choose one that `ingot-fleet releases` lists, or make it with `ingot-fleet release DIR --name NAME`")),
        Described::Badly(why) => Err(Failure::new(Exit::Failed, format!("cannot read the description of the release {name}"))
            .why(why)
            .hint("update ingot-fleet if it is too old; otherwise make the release again under another name")),
    }
}

/// Lists all releases of an application, newest first.
pub(crate) async fn list(objects: &impl Objects, place: &Place) -> Result<Vec<Found>, Failure> {
    let prefix = place.releases();
    let mut all: BTreeMap<Name, (Timestamp, Option<u64>, bool)> = BTreeMap::new();
    for object in objects.list(&prefix).await? {
        let file = object.key.strip_prefix(&prefix).unwrap_or(&object.key);
        let (name, bytes) = match (file.strip_suffix(ARCHIVE), file.strip_suffix(MANIFEST)) {
            (Some(name), _) => (name, Some(object.bytes)),
            (None, Some(name)) => (name, None),
            // Not written by ingot-fleet.
            (None, None) => continue,
        };
        let Ok(name) = name.parse() else { continue };
        let entry = all.entry(name).or_insert((object.modified, None, false));
        *entry = (entry.0.max(object.modified), entry.1.or(bytes), entry.2 || bytes.is_none());
    }
    let found = stream::iter(all).map(async |(name, (modified, bytes, is_described))| {
        let described = if is_described { describe(objects, place, &name).await? } else { Described::NotYet };
        Ok::<_, Failure>(Found { name, modified, bytes, described })
    });
    let mut found: Vec<Found> = found.buffered(PARALLEL).try_collect().await?;
    found.sort_by_key(|found| std::cmp::Reverse(found.at()));
    Ok(found)
}

async fn describe(objects: &impl Objects, place: &Place, name: &Name) -> Result<Described, Failure> {
    let Some(object) = objects.get(&manifest_key(place, name)).await? else { return Ok(Described::NotYet) };
    Ok(match Manifest::read(&object.content, &place.application, name) {
        Ok(manifest) => Described::By(Box::new(manifest)),
        Err(error) => Described::Badly(crate::failure::chain(&error)),
    })
}

/// Returns whether the release has a description by now.
pub(crate) async fn is_described(objects: &impl Objects, place: &Place, name: &Name) -> Result<bool, Failure> {
    Ok(objects.get(&manifest_key(place, name)).await?.is_some())
}

impl Found {
    /// Returns when it was made or, without a description, last written.
    pub(crate) fn at(&self) -> Timestamp {
        if let Described::By(manifest) = &self.described { manifest.at } else { self.modified }
    }
}

/// Removes a release. The description goes first, so that an incomplete release cannot be deployed.
pub(crate) async fn remove(objects: &impl Objects, place: &Place, name: &Name) -> Result<(), Failure> {
    objects.remove(&manifest_key(place, name)).await?;
    objects.remove(&archive_key(place, name)).await
}

#[cfg(test)]
mod tests;
