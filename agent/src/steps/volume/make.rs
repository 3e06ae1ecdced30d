//! Creates a volume, and waits until it can be attached.

use super::known::{ADDRESS, INSTANCE, describe};
use super::look::{Availability, Look};
use super::memory::Memory;
use super::trouble::{Unsuitable, VolumeError};
use super::waiting::{UNSEEN, still};
use crate::aws::ec2::{NewVolume, VolumeQuery};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::gather::Gather as _;
use crate::step::Context;

/// Creates a volume, and waits until it can be attached.
pub(super) async fn make(request: &NewVolume, failed: u32, source: &str, cx: &Context<'_>) -> Result<(), VolumeError> {
    let before = Memory::of(cx);
    let snapshot = request.snapshot.clone();
    let mut memory = Memory { snapshot, failed, making: true, source: source.to_owned(), burnt: before.burnt, ..Memory::default() };
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    cx.asking("for EC2 to accept the volume");
    let made = match cx.unthrottled(|| cx.world.aws.ec2.create_volume(request)).await {
        Ok(made) => made.id,
        // The token was used before with other parameters, by a document that has changed since. The volume from that
        // request has tags and is eventually found by them; if it is gone, the next client token is a different one.
        Err(error) if error.code == "IdempotentParameterMismatch" => match earlier(request, cx).await? {
            Some(earlier) => earlier,
            None => {
                (memory.failed, memory.making) = (memory.failed + 1, false);
                return memory.keep(cx).await.map_err(VolumeError::Host);
            }
        },
        Err(error) => {
            // This refusal is final, so the next boot chooses again.
            if !error.is_transient() {
                Memory { snapshot: None, making: false, ..memory }.keep(cx).await.map_err(VolumeError::Host)?;
            }
            return Err(VolumeError::Ec2(error));
        }
    };
    cx.world.claims.volume(&made, cx.address.as_str());
    (memory.volume, memory.making) = (Some(made.clone()), false);
    memory.keep(cx).await.map_err(VolumeError::Host)?;
    if available(&made, false, cx).await? {
        cx.world.claims.ready(&made);
    }
    Ok(())
}

/// The volume from an earlier request for this step, once EC2 shows it.
async fn earlier(request: &NewVolume, cx: &Context<'_>) -> Result<Option<String>, VolumeError> {
    let own = [INSTANCE, ADDRESS].into_iter().filter_map(|tag| Some((tag.to_owned(), request.tags.get(tag)?.clone())));
    let query = VolumeQuery { tags: own.gather(), ..VolumeQuery::default() };
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let found = cx.unthrottled(|| cx.world.aws.ec2.volumes(&query)).await.map_err(VolumeError::Ec2)?;
        if let Some(volume) = found.into_iter().find(|volume| matches!(volume.state.as_str(), "creating" | "available" | "in-use")) {
            return Ok(Some(volume.id));
        }
        if cx.host().clock.elapsed().saturating_sub(begun) >= UNSEEN {
            return Ok(None);
        }
        let left = still("EC2 to show the volume of an earlier request", begun, "see its state with `aws ec2 describe-volumes`", cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// Waits until a volume is `available`, and returns whether it is. Otherwise another instance was faster, or it is
/// already attached, and the volume is chosen again.
///
/// A volume to be reused that no longer exists is not an error either; it leads to a new choice.
pub(super) async fn available(volume: &str, reused: bool, cx: &Context<'_>) -> Result<bool, VolumeError> {
    let begun = cx.host().clock.elapsed();
    let mut pauses = Backoff::VOLUME.pauses();
    loop {
        let look = Look::of(describe(volume, cx).await?);
        match look.availability(reused, cx.host().clock.elapsed().saturating_sub(begun)) {
            Availability::Ready => return Ok(true),
            Availability::Elsewhere => return Ok(false),
            Availability::NotMade { encrypted } => return Err(not_made(volume, encrypted, cx).await),
            Availability::Wait => {}
        }
        let what = format!("{volume} to be available ({})", look.state);
        let hint = format!("check the volume with `aws ec2 describe-volumes --volume-ids {volume}`, or give it a longer `timeout:`");
        let left = still(&what, begun, hint, cx)?;
        cx.host().clock.sleep(pauses.next().min(left)).await;
    }
}

/// A volume was not created: the next boot requests another one, with another client token.
async fn not_made(volume: &str, encrypted: bool, cx: &Context<'_>) -> VolumeError {
    let memory = Memory::of(cx);
    match (Memory { volume: None, failed: memory.failed + 1, ..memory }).keep(cx).await {
        Ok(()) => Unsuitable::NotMade { volume: volume.to_owned(), encrypted }.into(),
        Err(error) => VolumeError::Host(error),
    }
}
