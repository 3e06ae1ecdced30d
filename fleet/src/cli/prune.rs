//! `ingot-fleet releases prune`: removes old releases, but never one that an environment may still need.

use std::io::IsTerminal as _;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::consent::is_agreed;
use super::output::{data, json, talk};
use super::progress::size;
use super::uses::{Use, uses, uses_of};
use crate::aws::Aws;
use crate::aws::objects::Objects;
use crate::aws::releases::{self, Described, Found};
use crate::aws::s3::Bucket;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;

/// Remove old releases that no environment uses
///
/// Keeps the releases of deployments that are in force, under way or last good, and the newest releases. Also removes
/// what is left of uploads that were abandoned more than a day ago. Deletes all versions permanently.
///
/// Needs permission for s3:ListBucket, s3:GetObject, s3:ListBucketVersions and s3:DeleteObjectVersion.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of releases to keep, besides those in use
    #[arg(long, value_name = "N", default_value_t = 10)]
    keep: usize,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// How long an upload may take.
const GIVEN_UP: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn run(args: &Args, place: &Place, as_json: bool) -> Result<(), Failure> {
    let aws = Aws::connect().await?;
    let bucket = Bucket::new(&aws, &place.bucket);
    let found = releases::list(&bucket, place).await?;
    let doomed = doomed(&found, &in_use(&bucket, place).await?, args.keep, Timestamp::now());
    if doomed.is_empty() {
        talk("nothing to remove");
        told(&[], as_json);
        return Ok(());
    }
    confirm(&doomed, args.yes)?;
    let mut removed = Vec::new();
    let ended = remove(&doomed, (&bucket, place), &mut removed).await;
    // What was removed before a failure is reported as well.
    told(&removed, as_json);
    ended
}

/// Removes the releases one by one, except those that came into use, or were completed, while the user was asked.
async fn remove<'a>(doomed: &[&'a Found], (objects, place): (&impl Objects, &Place), removed: &mut Vec<&'a Found>) -> Result<(), Failure> {
    for &one in doomed {
        if let Some(one) = uses_of(&in_use(objects, place).await?, one).first() {
            talk(&format!("kept {}, which {} uses now", one.release.name, one.environment));
            continue;
        }
        if one.described == Described::NotYet && releases::is_described(objects, place, &one.name).await? {
            talk(&format!("kept {}, whose upload was completed", one.name));
            continue;
        }
        releases::remove(objects, place, &one.name).await?;
        talk(&format!("removed {}", one.name));
        removed.push(one);
    }
    Ok(())
}

/// What the environments use. If that is unknown for one of them, nothing is removed.
async fn in_use(objects: &impl Objects, place: &Place) -> Result<Vec<Use>, Failure> {
    let (uses, unread) = uses(objects, place).await?;
    match unread.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(uses),
    }
}

/// What to remove, oldest first; `found` is newest first.
fn doomed<'a>(found: &'a [Found], uses: &[Use], keep: usize, now: Timestamp) -> Vec<&'a Found> {
    let mut kept = 0;
    let mut doomed: Vec<&Found> = found
        .iter()
        .filter(|one| match &one.described {
            _ if !uses_of(uses, one).is_empty() => false,
            Described::By(_) => {
                kept += 1;
                kept > keep
            }
            Described::NotYet => now.duration_since(one.modified) > GIVEN_UP,
            // A newer ingot-fleet may have written it.
            Described::Badly(_) => false,
        })
        .collect();
    doomed.reverse();
    doomed
}

fn confirm(doomed: &[&Found], yes: bool) -> Result<(), Failure> {
    let names: Vec<String> = doomed.iter().map(|one| one.name.to_string()).collect();
    let bytes = doomed.iter().filter_map(|one| one.bytes).sum();
    let question = format!("permanently remove {}, {} in total", names.join(", "), size(bytes));
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(
            Failure::new(Exit::Usage, format!("would {question}")).hint("add --yes: there is no terminal to ask for confirmation on")
        );
    }
    match is_agreed(&question) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, "nothing was removed")),
        Err(error) => Err(Failure::new(Exit::Failed, "nothing was removed").because(&error)),
    }
}

#[derive(Serialize)]
struct Removed {
    removed: Vec<String>,
}

fn told(removed: &[&Found], as_json: bool) {
    let removed: Vec<String> = removed.iter().map(|one| one.name.to_string()).collect();
    match as_json {
        true => json(&Removed { removed }),
        false if removed.is_empty() => {}
        false => data(&removed.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::Directory;
    use crate::deployment::history::Role;
    use crate::deployment::record::Release;
    use crate::digest::Sha256;
    use crate::release::manifest::{Maker, Manifest};

    const NOW: &str = "2026-11-30T12:00:00Z";

    fn found(name: &str, at: &str, is_described: bool) -> Found {
        let (name, at): (_, Timestamp) = (name.parse().unwrap(), at.parse().unwrap());
        let maker = Maker { by: "ann".into(), at, attempt: "1".into() };
        let manifest = Manifest::new("shop", name, Sha256::of(b""), 1, "tar", maker);
        let name = manifest.name.clone();
        let described = if is_described { Described::By(Box::new(manifest)) } else { Described::NotYet };
        Found { name, modified: at, bytes: Some(1), described }
    }

    fn names(found: &[Found], used: &[&str], keep: usize) -> Vec<String> {
        let uses = used.iter().map(|name| Use {
            environment: "prod".into(),
            role: Role::LastGood,
            release: Release { name: name.parse().unwrap(), sha256: Sha256::of(b"") },
        });
        doomed(found, &uses.collect::<Vec<_>>(), keep, NOW.parse().unwrap()).iter().map(|one| one.name.to_string()).collect()
    }

    #[test]
    fn the_newest_and_the_used_stay() {
        let day = |number: u32| format!("2026-11-{number:02}T12:00:00Z");
        let all: Vec<Found> = (1..=5).rev().map(|number| found(&format!("v{number}"), &day(number), true)).collect();
        assert_eq!(names(&all, &[], 10), [""; 0]);
        assert_eq!(names(&all, &[], 2), ["v1", "v2", "v3"], "the oldest first");
        assert_eq!(names(&all, &["v1"], 2), ["v2", "v3"]);
        assert_eq!(names(&all, &["v5", "v1"], 2), ["v2"], "those in use do not count among those that are kept");
        assert_eq!(names(&all, &["v1"], 0), ["v2", "v3", "v4", "v5"]);
    }

    #[test]
    fn an_upload_has_a_day() {
        let all = [found("new", "2026-11-30T11:00:00Z", false), found("old", "2026-11-29T11:00:00Z", false)];
        assert_eq!(names(&all, &[], 0), ["old"]);
        assert_eq!(names(&all, &["old"], 0), [""; 0]);
        let odd = Found { described: Described::Badly("newer".into()), ..found("odd", "2020-01-01T00:00:00Z", true) };
        assert_eq!(names(&[odd], &[], 0), [""; 0], "it may be a newer ingot-fleet's");
    }

    #[test]
    fn an_upload_that_was_completed_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let objects = Directory::new(root.path());
        let old = found("v1", "2026-11-29T11:00:00Z", false);
        let removed = || {
            let (mut removed, doomed, place) = (Vec::new(), [&old], Place::of_shop());
            let work = remove(&doomed, (&objects, &place), &mut removed);
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work).unwrap();
            removed.len()
        };
        objects.place("shop/releases/v1.tar.zst", b"one");
        objects.place("shop/releases/v1.json", b"{}");
        assert_eq!((removed(), objects.keys().len()), (0, 2));
        std::fs::remove_file(root.path().join("shop/releases/v1.json")).unwrap();
        assert_eq!((removed(), objects.keys().len()), (1, 0));
    }
}
