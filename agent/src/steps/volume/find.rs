//! Determines which volume is meant, and what has to be done next until its disk appears.
//!
//! Candidates, in this order: the recorded volume; a volume that an earlier boot of this instance created but could not
//! record (its tags identify it); a volume to reuse; the source in the document.

use std::collections::BTreeMap;

use super::change::{Change, Found};
use super::fields::{Existing, Snapshot as Wished, Source, Volume, WithTags};
use super::known::{ADDRESS, INSTANCE, describe, render, tags, volumes, with};
use super::memory::{self, Memory};
use super::trouble::{Unsuitable, VolumeError};
use crate::aws::ec2::{self, Here, NewVolume, Snapshot, SnapshotQuery, VolumeQuery};
use crate::digest::Sha256;
use crate::host::disks::Wanted;
use crate::sorting::Sort as _;
use crate::step::Context;

impl Volume {
    /// The disk, or the next change on the way to it.
    pub(super) async fn find(&self, cx: &Context<'_>) -> Result<Found, VolumeError> {
        let mut memory = Memory::of(cx);
        // If the document now names another volume, that one is meant.
        if let (Source::Volume(Existing::Id(id)), Some(volume)) = (&self.from, &memory.volume)
            && render(id, cx)? != *volume
        {
            memory = Memory::default();
        }
        if let Some(volume) = &memory.volume
            && !cx.world.claims.volume(volume, cx.address.as_str())
        {
            memory = Memory::default();
        }
        if let Some(volume) = &memory.volume {
            let disk = cx.host().disks.find(&Wanted::Volume(volume.clone())).await.map_err(VolumeError::Host)?;
            if let Some(disk) = disk {
                return if self.is_settled(&memory, cx)? { Ok(Found::Disk(disk)) } else { self.settle(volume, disk, cx).await };
            }
        }
        if let Some(volume) = memory.volume.as_ref().filter(|volume| cx.world.claims.is_ready(volume)) {
            return Ok(Found::Next(Next::Attach { ready: true }.change(volume, memory.reused)));
        }
        cx.asking("for EC2 to say which volumes and snapshots there are");
        let here = cx.world.aws.ec2.here().await.map_err(VolumeError::Ec2)?;
        if let Some(volume) = &memory.volume {
            let known = describe(volume, cx).await?;
            match known.as_ref().map(|known| (known, judge(known, &here))) {
                Some((_, Ok(next))) => return Ok(Found::Next(next.change(volume, memory.reused))),
                // It was available a moment ago, and another instance was faster.
                Some((known, Err(Unsuitable::InUse { .. }))) if !memory.settled() && (memory.reused || self.is_made()) => {
                    cx.world.claims.lost(&known.id);
                }
                Some((known, Err(why))) if memory.settled() || !self.is_made() || !is_over(known) => return Err(why.into()),
                None if memory.settled() || !self.is_made() => {
                    return Err(Unsuitable::Gone { volume: volume.clone(), state: "no longer there".into() }.into());
                }
                // Either it could not be created, or EC2 does not show it yet.
                None if !memory.reused => return Ok(Found::Next(Next::Attach { ready: false }.change(volume, false))),
                Some(_) | None => {}
            }
        }
        self.choose(&memory, &here, cx).await.map(Found::Next)
    }

    /// Chooses a volume if none is recorded, or the recorded one cannot be used.
    async fn choose(&self, memory: &Memory, here: &Here, cx: &Context<'_>) -> Result<Change, VolumeError> {
        match &self.from {
            Source::Volume(Existing::Id(id)) => {
                let id = render(id, cx)?;
                let known = describe(&id, cx).await?;
                let known = known.ok_or(Unsuitable::Gone { volume: id.clone(), state: "not there".into() })?;
                if !cx.world.claims.volume(&id, cx.address.as_str()) {
                    return Err(Unsuitable::Taken { volume: id }.into());
                }
                return Ok(judge(&known, here)?.change(&id, false));
            }
            Source::Volume(Existing::Tagged(tagged)) => return self.tagged(tagged, here, cx).await,
            _ => {}
        }
        let mut ours = BTreeMap::new();
        ours.insert(INSTANCE.into(), here.instance.clone());
        ours.insert(ADDRESS.into(), cx.address.to_string());
        for volume in volumes(VolumeQuery { tags: ours, ..VolumeQuery::default() }, cx).await? {
            if let Ok(next) = judge(&volume, here)
                && cx.world.claims.volume(&volume.id, cx.address.as_str())
            {
                return Ok(next.change(&volume.id, false));
            }
        }
        // A request to EC2 without a known result is repeated before anything else is taken.
        if let (Some(reuse), false) = (&self.reuse, memory.making)
            && let Some(volume) = self.reusable(reuse, here, cx).await?
        {
            return Ok(Change::Attach { volume, reused: true, ready: true });
        }
        self.make(memory, here, cx).await
    }

    /// An available volume of this zone that neither another step nor a faster instance has taken.
    async fn reusable(&self, reuse: &WithTags, here: &Here, cx: &Context<'_>) -> Result<Option<String>, VolumeError> {
        let query = VolumeQuery {
            tags: tags(&reuse.with_tags, cx)?,
            zone: Some(here.zone.clone()),
            state: Some("available".into()),
            ..VolumeQuery::default()
        };
        let mut found = volumes(query, cx).await?;
        let others = memory::of_others(cx);
        let encrypted = self.encrypted == Some(true) || self.kms_key.is_some();
        found.retain(|volume| {
            let fits = self.size_gib.is_none_or(|wanted| volume.size_gib >= wanted) && (volume.encrypted || !encrypted);
            fits && !volume.multi_attach && !others.contains(&volume.id)
        });
        found.order_by(|a, b| a.id.cmp(&b.id));
        // Instances that start at the same time should not all try the same volume first.
        let first = here.instance.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let count = found.len();
        let mut in_turn = (0..count).map(|offset| &found[(first.wrapping_add(offset)) % count].id);
        Ok(in_turn.find(|id| cx.world.claims.volume(id, cx.address.as_str())).cloned())
    }

    /// The only volume of this zone with the tags.
    async fn tagged(&self, tagged: &WithTags, here: &Here, cx: &Context<'_>) -> Result<Change, VolumeError> {
        let tags = tags(&tagged.with_tags, cx)?;
        let which = with(&tags);
        let all = volumes(VolumeQuery { tags, ..VolumeQuery::default() }, cx).await?;
        let (fit, unfit): (Vec<_>, Vec<_>) = all.iter().map(|volume| (volume, judge(volume, here))).partition(|(_, judged)| judged.is_ok());
        let attached = fit.iter().filter(|(volume, _)| volume.attachments.iter().any(|attachment| attachment.instance == here.instance));
        let attached: Vec<_> = attached.collect();
        let (volume, next) = match (attached.as_slice(), fit.as_slice()) {
            ([one], _) => one,
            ([], [one]) => one,
            ([], []) => {
                let elsewhere = unfit.iter().filter_map(|(_, judged)| judged.as_ref().err().map(ToString::to_string)).collect();
                return Err(Unsuitable::NoVolume { which, zone: here.zone.clone(), elsewhere }.into());
            }
            _ => return Err(Unsuitable::Several { which, found: fit.iter().map(|(volume, _)| volume.id.clone()).collect() }.into()),
        };
        if !cx.world.claims.volume(&volume.id, cx.address.as_str()) {
            return Err(Unsuitable::Taken { volume: volume.id.clone() }.into());
        }
        next.clone().map(|next| next.change(&volume.id, false)).map_err(VolumeError::from)
    }

    /// The request for a new volume.
    async fn make(&self, memory: &Memory, here: &Here, cx: &Context<'_>) -> Result<Change, VolumeError> {
        // After an interrupted boot, the request is repeated with the same parameters, as its client token requires.
        let source = self.described(cx)?;
        let again = (memory.volume.is_none() && memory.source == source).then(|| memory.snapshot.clone()).flatten();
        let snapshot = match &self.from {
            Source::Snapshot(wished) => Some(self.snapshot(wished, again, cx).await?),
            _ => None,
        };
        if let (Some(snapshot), Some(wanted_gib)) = (&snapshot, self.size_gib)
            && snapshot.size_gib > wanted_gib
        {
            return Err(Unsuitable::TooSmall { snapshot: snapshot.id.clone(), of_gib: snapshot.size_gib, wanted_gib }.into());
        }
        let failed = memory.failed + u32::from(memory.volume.is_some() && !memory.reused);
        let from = snapshot.as_ref().map_or("blank", |snapshot| snapshot.id.as_str());
        Ok(Change::Make {
            failed,
            source,
            request: Box::new(NewVolume {
                client_token: token(&here.instance, cx.address.as_str(), failed),
                zone: here.zone.clone(),
                size_gib: self.size_gib.or(snapshot.as_ref().map(|snapshot| snapshot.size_gib)),
                kind: self.kind.map(|kind| kind.name().to_owned()),
                iops: self.iops,
                throughput_mib_s: self.throughput_mib_s,
                initialization_rate_mib_s: self.initialization_rate_mib_s,
                encrypted: self.encrypted.or(self.kms_key.is_some().then_some(true)),
                kms_key: self.kms_key.as_ref().map(|key| render(key, cx)).transpose()?,
                tags: self.tags_of_new(here, cx, from)?,
                snapshot: snapshot.map(|snapshot| snapshot.id),
            }),
        })
    }

    async fn snapshot(&self, wished: &Wished, again: Option<String>, cx: &Context<'_>) -> Result<Snapshot, VolumeError> {
        let query = match (wished, again) {
            (_, Some(id)) => SnapshotQuery { id: Some(id), ..SnapshotQuery::default() },
            (Wished::Id(id), None) => SnapshotQuery { id: Some(render(id, cx)?), ..SnapshotQuery::default() },
            (Wished::Newest(newest), None) => SnapshotQuery {
                tags: tags(&newest.newest_with_tags, cx)?,
                owner: newest.owner.as_ref().map(|owner| render(owner, cx)).transpose()?,
                id: None,
            },
        };
        let found = cx.unthrottled(|| cx.world.aws.ec2.snapshots(&query)).await.map_err(VolumeError::Ec2)?;
        newest(&query, found).map_err(VolumeError::from)
    }

    /// A description of its source.
    pub(super) fn described(&self, cx: &Context<'_>) -> Result<String, VolumeError> {
        Ok(match &self.from {
            Source::Snapshot(Wished::Id(id)) => format!("from {}", render(id, cx)?),
            Source::Snapshot(Wished::Newest(newest)) => format!("from the newest snapshot {}", with(&tags(&newest.newest_with_tags, cx)?)),
            Source::Volume(Existing::Tagged(tagged)) => format!("the volume {}", with(&tags(&tagged.with_tags, cx)?)),
            Source::Blank => "blank".into(),
            Source::Volume(Existing::Id(_)) | Source::Device(_) | Source::InstanceStore(_) => String::new(),
        })
    }
}

/// What has to be done with a volume whose disk has not appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is available: now if it is `ready`, otherwise soon.
    Attach { ready: bool },
    /// EC2 reports that it is attached to this instance, or about to be.
    Await,
}

impl Next {
    fn change(self, volume: &str, reused: bool) -> Change {
        match self {
            Self::Attach { ready } => Change::Attach { volume: volume.to_owned(), reused, ready },
            Self::Await => Change::Adopt { volume: volume.to_owned(), reused },
        }
    }
}

/// Judges whether a volume can be attached to this instance.
fn judge(volume: &ec2::Volume, here: &Here) -> Result<Next, Unsuitable> {
    let id = volume.id.clone();
    if volume.zone != here.zone {
        return Err(Unsuitable::OtherZone { volume: id, zone: volume.zone.clone(), here: here.zone.clone() });
    }
    let held = |attachment: &&ec2::Attachment| attachment.state != "detached";
    let (own, others): (Vec<_>, Vec<_>) =
        volume.attachments.iter().filter(held).partition(|attachment| attachment.instance == here.instance);
    let by = others.iter().map(|attachment| attachment.instance.as_str()).collect::<Vec<_>>().join(", ");
    match volume.state.as_str() {
        _ if volume.multi_attach && !others.is_empty() => Err(Unsuitable::Shared { volume: id, by }),
        "creating" => Ok(Next::Attach { ready: false }),
        "available" => Ok(Next::Attach { ready: true }),
        "in-use" if own.iter().any(|attachment| attachment.state == "detaching") => Ok(Next::Attach { ready: false }),
        "in-use" if !own.is_empty() => Ok(Next::Await),
        "in-use" => Err(Unsuitable::InUse { volume: id, by: if by.is_empty() { "another instance".into() } else { by } }),
        "error" => Err(Unsuitable::NotMade { volume: id, encrypted: volume.encrypted }),
        state => Err(Unsuitable::Gone { volume: id, state: state.to_owned() }),
    }
}

/// Whether this volume can never be used.
fn is_over(volume: &ec2::Volume) -> bool {
    matches!(volume.state.as_str(), "error" | "deleting" | "deleted")
}

/// The newest completed snapshot among those found.
fn newest(query: &SnapshotQuery, found: Vec<Snapshot>) -> Result<Snapshot, Unsuitable> {
    let others = found.len();
    if let (Some(_), [one]) = (&query.id, found.as_slice())
        && one.state != "completed"
    {
        return Err(Unsuitable::SnapshotNotReady { snapshot: one.id.clone(), state: one.state.clone() });
    }
    let completed = found.into_iter().filter(|snapshot| snapshot.state == "completed");
    let newest = completed.max_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id)));
    newest.ok_or_else(|| Unsuitable::NoSnapshot { which: query.id.clone().unwrap_or_else(|| with(&query.tags)), others })
}

/// The client token. It is the same for the same volume of the same instance, so a repeated request never creates a
/// second one.
fn token(instance: &str, address: &str, failed: u32) -> String {
    let digest = Sha256::of(format!("{instance}\n{address}\n{failed}").as_bytes());
    format!("ingot-{}", digest.short(20))
}
