//! Claims: work that exactly one instance of a fleet does, while the others wait for it.
//!
//! A claim is one object in a store with conditional writes, such as S3. The instance that creates it holds it, renews
//! it every [`RENEWED_EVERY`], and finally records the result: done or failed. All times are the store's own, so that
//! clocks need not agree. A claim that has not been renewed for [`STALE_AFTER`] may be taken over by another instance.
//! A holder that could not renew it for [`LOST_AFTER`], a shorter time, must stop its work, so two instances never do
//! the work at the same time. Work that was interrupted is done again from the start.
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

/// How often the holder renews the claim. Three renewals in a row may be lost.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// How long a holder may continue after its last successful renewal, counted from when it sent that renewal.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(40);

/// How much later than the holder itself its watchdog ends the work. The watchdog matters only if the holder is
/// stopped, hangs or is gone.
pub(crate) const WATCHED_AFTER: Duration = Duration::from_secs(5);

/// How long after its last renewal another instance may take the claim over, by the store's times. The margin after
/// [`LOST_AFTER`] leaves time to kill the program, and covers a store whose clocks differ by seconds.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(60);

/// The limit for one call to the store.
const CALL: Duration = Duration::from_secs(8);

/// An object that is only written conditionally.
#[async_trait(?Send)]
pub(crate) trait Store {
    /// The object's name in readable form: `s3://…`.
    fn name(&self) -> String;

    /// The current object. `None` if it does not exist.
    async fn look(&self) -> Result<Option<Seen>, Explanation>;

    /// Writes the object in place of the one with the ETag `over`, or, without an ETag, if there is none. `None` if
    /// that condition does not hold. After an error the object may still be written, even later.
    async fn write(&self, body: Bytes, over: Option<&str>) -> Result<Option<String>, Explanation>;
}

/// An object as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) etag: String,
    /// When it was written, and when the store was read, both by the store's clock.
    pub(crate) modified: SystemTime,
    pub(crate) date: SystemTime,
    pub(crate) body: Bytes,
}

/// What to do, given the current object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Create the claim.
    Make,
    /// Write the claim over the object with this ETag: its holder is gone, or it failed before this boot began, or it
    /// is ours and the answer to our write was lost.
    TakeOver(String),
    /// Look again later: another instance holds the claim.
    Wait(Claim),
    Done(Claim),
    Failed(Claim, Ending),
}

/// Decides what to do. `began` is when this boot began, by the store's clock: work that has failed since then counts as
/// failed for this boot too, and work that failed earlier is tried again.
///
/// # Errors
///
/// If the current object is not a claim.
pub(crate) fn next(seen: Option<&Seen>, me: &Wanter, began: SystemTime) -> Result<Next, NotAClaim> {
    let Some(seen) = seen else { return Ok(Next::Make) };
    let claim = Claim::parse(&seen.body).ok_or(NotAClaim)?;
    let age = seen.date.duration_since(seen.modified).unwrap_or_default();
    Ok(match claim.state.clone() {
        State::Held if age >= STALE_AFTER || claim.is_of(me) => Next::TakeOver(seen.etag.clone()),
        State::Held => Next::Wait(claim),
        State::Ended(Ending::Done) => Next::Done(claim),
        // If this instance is the holder, the result comes from an earlier boot.
        State::Ended(_) if seen.modified < began || claim.holder == me.holder => Next::TakeOver(seen.etag.clone()),
        State::Ended(ending) => Next::Failed(claim, ending),
    })
}

/// The current object is not a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAClaim;
