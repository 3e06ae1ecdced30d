//! Claims: what exactly one instance of a fleet does, while the others wait for it.
//!
//! A claim is one object in a store that writes on conditions, such as S3. Who makes it holds it, renews it every
//! [`RENEWED_EVERY`], and at last says how it ended: done, or failed. All time is the store's own, so that clocks need not
//! agree. One that was not renewed for [`STALE_AFTER`] may be taken over by another; who could not renew it for [`LOST_AFTER`]
//! has to stop what it does before that: so it is never done by two at a time. What died in the middle is done again from the
//! start.
//!
//! [`next`] decides, and is pure. [`take`](mod@take) and [`held`] carry it out.

mod claimant;
pub(crate) mod held;
mod object;
#[cfg(test)]
mod stand_in;
mod take;
#[cfg(test)]
mod tests;
mod trouble;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::failure::Explanation;

pub(crate) use claimant::Claimant;
pub(crate) use object::{Claim, Ending, State, Wanter};
pub(crate) use take::Taken;
pub(crate) use trouble::ClaimError;

/// How often the holder writes again. Three of them may be lost.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// How long after its last renewal a holder may go on, from the moment in which it sent that.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(40);

/// How much later than the holder itself whoever watches over it ends what it does: only if it is stopped, hangs or is gone.
pub(crate) const WATCHED_AFTER: Duration = Duration::from_secs(5);

/// How long after its last renewal another may take it over, by the times of the store. What is between the two is for a program
/// that is being killed, and for a store whose clocks differ by seconds.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(60);

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(8);

/// One object that is written on conditions only.
#[async_trait(?Send)]
pub(crate) trait Store {
    /// What it is called, for people: `s3://…`.
    fn name(&self) -> String;

    /// What is there.
    async fn look(&self) -> Result<Option<Seen>, Explanation>;

    /// Writes it in the place of the one with this ETag, or, without one, if there is none. `None` if it is not so. After
    /// any error it may be written all the same, later even.
    async fn write(&self, body: Bytes, over: Option<&str>) -> Result<Option<String>, Explanation>;
}

/// An object as it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) etag: String,
    /// When it was written, and when this was asked, by the clock of the store.
    pub(crate) modified: SystemTime,
    pub(crate) date: SystemTime,
    pub(crate) body: Bytes,
}

/// What to do about what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Make it.
    Make,
    /// Write it over the one with this ETag: its holder is gone, it failed before we began, or it is ours and the answer to our
    /// write was lost.
    TakeOver(String),
    /// Look again: this one holds it.
    Wait(Claim),
    Done(Claim),
    Failed(Claim, Ending),
}

/// Decides. `began` is when this boot began, by the clock of the store: what failed since then failed for this boot too, and
/// what failed before is tried again.
///
/// # Errors
///
/// If what is there is not a claim.
pub(crate) fn next(seen: Option<&Seen>, me: &Wanter, began: SystemTime) -> Result<Next, NotAClaim> {
    let Some(seen) = seen else { return Ok(Next::Make) };
    let claim = Claim::parse(&seen.body).ok_or(NotAClaim)?;
    let age = seen.date.duration_since(seen.modified).unwrap_or_default();
    Ok(match claim.state.clone() {
        State::Held if age >= STALE_AFTER || claim.is_of(me) => Next::TakeOver(seen.etag.clone()),
        State::Held => Next::Wait(claim),
        State::Ended(Ending::Done) => Next::Done(claim),
        // Of this instance, it was an earlier boot.
        State::Ended(_) if seen.modified < began || claim.holder == me.holder => Next::TakeOver(seen.etag.clone()),
        State::Ended(ending) => Next::Failed(claim, ending),
    })
}

/// What is there is not a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAClaim;
