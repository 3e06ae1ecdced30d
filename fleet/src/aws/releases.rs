//! Releases in a bucket: `NAME.tar.zst`, whatever kind of archive that is, and `NAME.json` beside it, which makes it a release.
//!
//! Neither is ever overwritten. Killed between the two, the next run with the same content goes on.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::objects::{Condition, Objects, Put};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::release::content::Content;
use crate::release::manifest::Manifest;
use crate::release::name::Name;

const ARCHIVE: &str = ".tar.zst";
const MANIFEST: &str = ".json";

/// How many descriptions are read at a time.
const PARALLEL: usize = 8;

/// What came of publishing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Made(Manifest),
    /// The same content under the same name, made before.
    AlreadyThere(Manifest),
}

/// One release in a bucket, or what is left of one.
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
    /// An upload that goes on, or was given up.
    NotYet,
    /// The description cannot be read, and why.
    Badly(String),
}

pub(crate) fn archive_key(place: &Place, name: &Name) -> String {
    format!("{}{name}{ARCHIVE}", place.releases())
}

fn manifest_key(place: &Place, name: &Name) -> String {
    format!("{}{name}{MANIFEST}", place.releases())
}

/// Makes a release of an archive, once.
pub(crate) async fn publish(
    objects: &impl Objects,
    place: &Place,
    manifest: Manifest,
    content: &Content,
    progress: &dyn Fn(u64),
) -> Result<Published, Failure> {
    let (archive, described) = (archive_key(place, &manifest.name), manifest_key(place, &manifest.name));
    let before = described_before(objects, place, &manifest).await?;
    // Also below a description: somebody may have deleted the archive alone.
    let is_there = match objects.compare(&archive, content).await? {
        Some(same) => same,
        None => match objects.upload(&archive, content, progress).await? {
            Put::Done { .. } => true,
            // By somebody else, or by a call of ours whose answer got lost.
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
            None => {
                Err(Failure::new(Exit::Failed, format!("{} came and went", place.url(&described))).hint("find out who deletes releases"))
            }
        },
    }
}

fn other_content(name: &Name, archive: &str, is_described: bool) -> Failure {
    let failure = |message: String| Failure::new(Exit::Failed, message);
    match is_described {
        true => failure(format!("{name} is broken"))
            .why(format!("{archive} is not the archive that was released"))
            .hint("find out who has replaced it; give another name with --name"),
        false => failure(format!("{name} is taken"))
            .why(format!("{archive} has other content, and is not described yet: its upload goes on somewhere, or was given up"))
            .hint("give another name with --name; `ingot-fleet releases prune` removes what was given up more than a day ago"),
    }
}

/// The description of a release of this name, which must be of the same content.
async fn described_before(objects: &impl Objects, place: &Place, manifest: &Manifest) -> Result<Option<Manifest>, Failure> {
    let key = manifest_key(place, &manifest.name);
    let Some(object) = objects.get(&key).await? else { return Ok(None) };
    let found = Manifest::read(&object.content, &place.application, &manifest.name).map_err(|error| {
        Failure::new(Exit::Failed, format!("{} is taken, and {} is not understood", manifest.name, place.url(&key)))
            .because(&error)
            .hint("give another name with --name, or update ingot-fleet if it says so")
    })?;
    if found.sha256 != manifest.sha256 {
        return Err(Failure::new(Exit::Failed, format!("{} is another release", manifest.name))
            .why(format!("it was made {} by {} with SHA-256 {}, and this is {}", found.at, found.by, found.sha256, manifest.sha256))
            .hint("a release never changes: give this one another name with --name"));
    }
    Ok(Some(found))
}

/// One release by its name.
pub(crate) async fn find(objects: &impl Objects, place: &Place, name: &Name) -> Result<Manifest, Failure> {
    match describe(objects, place, name).await? {
        Described::By(manifest) => Ok(*manifest),
        Described::NotYet => Err(Failure::new(Exit::Usage, format!("there is no release {name} of {}", place.application))
            .hint("see `ingot-fleet releases`, or make it: `ingot-fleet release DIR --name NAME`")),
        Described::Badly(why) => Err(Failure::new(Exit::Failed, format!("the release {name} is not understood"))
            .why(why)
            .hint("update ingot-fleet if it says so; otherwise make the release again under another name")),
    }
}

/// All releases of an application, the newest first.
pub(crate) async fn list(objects: &impl Objects, place: &Place) -> Result<Vec<Found>, Failure> {
    let prefix = place.releases();
    let mut all: BTreeMap<Name, (Timestamp, Option<u64>, bool)> = BTreeMap::new();
    for object in objects.list(&prefix).await? {
        let file = object.key.strip_prefix(&prefix).unwrap_or(&object.key);
        let (name, bytes) = match (file.strip_suffix(ARCHIVE), file.strip_suffix(MANIFEST)) {
            (Some(name), _) => (name, Some(object.bytes)),
            (None, Some(name)) => (name, None),
            // Nothing of ours.
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

/// Whether there is a description by now.
pub(crate) async fn is_described(objects: &impl Objects, place: &Place, name: &Name) -> Result<bool, Failure> {
    Ok(objects.get(&manifest_key(place, name)).await?.is_some())
}

impl Found {
    /// When it was made, as far as that is known.
    pub(crate) fn at(&self) -> Timestamp {
        if let Described::By(manifest) = &self.described { manifest.at } else { self.modified }
    }
}

/// Removes a release: first what makes it one, so that nobody deploys half of it.
pub(crate) async fn remove(objects: &impl Objects, place: &Place, name: &Name) -> Result<(), Failure> {
    objects.remove(&manifest_key(place, name)).await?;
    objects.remove(&archive_key(place, name)).await
}

#[cfg(test)]
mod tests;
