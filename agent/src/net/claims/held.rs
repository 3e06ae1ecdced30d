//! A claim that this instance holds: it is renewed while the work is done, and then ended.

use std::pin::Pin;
use std::time::Duration;

use super::claimant::{Claimant, within};
use super::{CALL, Claim, ClaimError, Ending, LOST_AFTER, RENEWED_EVERY, State, WATCHED_AFTER};
use crate::backoff::Backoff;
use crate::failure::Explanation;

/// The pause after a renewal that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A held claim. If dropped, it is left to other instances, which may take it over once it is stale.
pub(crate) struct Held<'a> {
    by: Claimant<'a>,
    claim: Claim,
    etag: String,
    /// When the last write that the store confirmed was sent, by [`passed`](crate::host::Clock::passed).
    renewed: Duration,
}

/// The result of a write.
enum Wrote {
    Kept,
    /// The answer to an earlier write was lost: the claim is ours, and its ETag is now known.
    Again,
    /// The claim has already ended as intended.
    Ended,
    /// Another instance holds the claim.
    Not(String),
    /// The object does not exist, or is no longer a claim.
    Gone,
}

impl<'a> Held<'a> {
    pub(super) fn new(by: Claimant<'a>, claim: Claim, etag: String, renewed: Duration) -> Self {
        Self { by, claim, etag, renewed }
    }

    /// How long the work may continue if this process is stopped, hangs or dies: a little longer than the claim is
    /// ours.
    pub(crate) fn lease(&self) -> Duration {
        (self.renewed + LOST_AFTER + WATCHED_AFTER).saturating_sub(self.by.clock.passed())
    }

    /// How long the claim is still ours.
    fn left(&self) -> Duration {
        (self.renewed + LOST_AFTER).saturating_sub(self.by.clock.passed())
    }

    /// Renews the claim until `work` has ended, and passes each new lease to `extend`. After an error the caller must
    /// drop `work`.
    ///
    /// # Errors
    ///
    /// If the claim is lost.
    pub(crate) async fn during(
        &mut self,
        extend: &dyn Fn(Duration),
        work: Pin<&mut (dyn Future<Output = ()> + '_)>,
    ) -> Result<(), ClaimError> {
        // For example, after a suspension while the claim was being made.
        if self.left().is_zero() {
            return Err(self.lost(None));
        }
        tokio::select! {
            error = self.keep(extend) => Err(error),
            () = work => Ok(()),
        }
    }

    /// Runs for as long as the claim can be renewed.
    async fn keep(&mut self, extend: &dyn Fn(Duration)) -> ClaimError {
        let mut trouble = None;
        loop {
            let due = (self.renewed + RENEWED_EVERY).saturating_sub(self.by.clock.passed());
            // Sleeps only briefly at a time, because after a suspension a timer continues where it was.
            let pause = if trouble.is_some() { AGAIN } else { due.min(AGAIN) };
            self.by.clock.sleep(pause.min(self.left())).await;
            if self.left().is_zero() {
                return self.lost(trouble);
            }
            if due > AGAIN {
                continue;
            }
            match self.write(CALL.min(self.left())).await {
                Ok(Wrote::Kept) => {
                    extend(self.lease());
                    trouble = None;
                }
                Ok(Wrote::Again) => trouble = Some(answer_lost()),
                Ok(Wrote::Ended) => return self.taken_over(self.claim.holder.clone()),
                Ok(Wrote::Not(by)) => return self.taken_over(by),
                Ok(Wrote::Gone) => return self.gone(),
                Err(why) => {
                    (self.by.waiting)(format!("for {} to be renewed: {}", self.by.store.name(), why.message));
                    trouble = Some(why);
                }
            }
        }
    }

    /// Records how the work ended.
    ///
    /// # Errors
    ///
    /// If the claim is lost, or the store does not accept the result in time.
    pub(crate) async fn end(mut self, ending: Ending) -> Result<(), ClaimError> {
        // Failed work may have been stopped because the lease ended. Another instance does it again.
        let is_done = ending == Ending::Done;
        if !is_done && self.left().is_zero() {
            return Err(self.lost(None));
        }
        self.claim.state = State::Ended(ending);
        for tries in 1.. {
            let why = match self.write(CALL).await {
                Ok(Wrote::Kept | Wrote::Ended) => return Ok(()),
                Ok(Wrote::Again) => answer_lost(),
                Ok(Wrote::Not(by)) => return Err(self.taken_over(by)),
                Ok(Wrote::Gone) => return Err(self.gone()),
                Err(why) => why,
            };
            let pause = Backoff::CALL.pause(tries, why.retry_after);
            // While no other instance can take the claim over, any error is tolerated for finished work, as in a
            // renewal, because the work would otherwise be done again. Failed work is done again anyway, so its error
            // is reported.
            let is_final = !why.transient && (!is_done || self.left() <= pause);
            if is_final || self.by.clock.elapsed() + pause >= self.by.until {
                return Err(ClaimError::Untold { name: self.by.store.name(), why: why.into() });
            }
            (self.by.waiting)(format!("for {} to accept the result: {}", self.by.store.name(), why.message));
            self.by.clock.sleep(pause).await;
        }
        unreachable!("it is tried until it ends")
    }

    /// Writes the claim in its current state, within `time`, and reads it again if the condition did not hold.
    async fn write(&mut self, time: Duration) -> Result<Wrote, Explanation> {
        self.claim.renewal += 1;
        let (clock, store) = (self.by.clock, self.by.store);
        let sent = clock.passed();
        if let Some(etag) = within(time, clock, store.write(self.claim.written(), Some(&self.etag))).await? {
            self.etag = etag;
            self.renewed = sent;
            return Ok(Wrote::Kept);
        }
        let left = time.saturating_sub(clock.passed().saturating_sub(sent));
        let seen = within(left, clock, store.look()).await?;
        let Some((seen, found)) = seen.and_then(|seen| Some((Claim::parse(&seen.body)?, seen.etag))) else {
            return Ok(Wrote::Gone);
        };
        Ok(match seen.state {
            _ if !seen.is_of(&self.by.me) => Wrote::Not(seen.holder),
            State::Ended(_) => Wrote::Ended,
            State::Held => {
                self.etag = found;
                Wrote::Again
            }
        })
    }

    fn lost(&self, why: Option<Explanation>) -> ClaimError {
        let why = why.unwrap_or_else(|| Explanation::new("ingot was paused", None));
        ClaimError::Lost { name: self.by.store.name(), after: LOST_AFTER, why: why.into() }
    }

    fn gone(&self) -> ClaimError {
        ClaimError::Gone { name: self.by.store.name() }
    }

    fn taken_over(&self, by: String) -> ClaimError {
        ClaimError::TakenOver { name: self.by.store.name(), by }
    }
}

fn answer_lost() -> Explanation {
    Explanation { transient: true, ..Explanation::new("the response to an earlier write was lost", None) }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::pin;

    use super::super::stand_in::{Answer, StandIn};
    use super::super::{Taken, Wanter};
    use super::*;
    use crate::fake::suspended::SuspendedClock;
    use crate::host::Clock;

    /// A store that accepts everything until a test changes that.
    fn store() -> StandIn {
        StandIn::answering((0, Answer::Refused), Answer::Written)
    }

    async fn held<'a>(store: &'a StandIn, clock: &'a SuspendedClock) -> Held<'a> {
        let me = Wanter { holder: "i-1".into(), attempt: "a".into() };
        let claimant = Claimant { store, clock, me, release: "v1".into(), until: Duration::from_secs(600), waiting: &|_| {} };
        let Ok(Taken::Ours(held)) = claimant.take().await else { panic!("it is nobody else's") };
        held
    }

    fn failed() -> Ending {
        Ending::Failed { why: "killed".into(), exit: None, said: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspension_counts_as_soon_as_it_is_over() {
        let (store, clock) = (store(), SuspendedClock::start());
        let mut held = held(&store, &clock).await;
        let suspended = async {
            clock.sleep(Duration::from_millis(1_500)).await;
            clock.set_slept(LOST_AFTER);
            pending::<()>().await;
        };
        let lost = held.during(&|_| {}, pin!(suspended)).await.unwrap_err();
        assert!(matches!(lost, ClaimError::Lost { .. }), "{lost}");
        assert!(clock.elapsed() < Duration::from_millis(2_600), "{:?}", clock.elapsed());
    }

    /// Regression: it started, and ran five seconds longer each time that an answer came late.
    #[tokio::test(start_paused = true)]
    async fn what_was_over_before_it_began_does_not_begin() {
        let (store, clock) = (store(), SuspendedClock::start());
        let mut held = held(&store, &clock).await;
        assert_eq!(held.lease(), LOST_AFTER + WATCHED_AFTER);
        clock.set_slept(Duration::from_secs(120));
        assert_eq!(held.lease(), Duration::ZERO);
        let begun = Cell::new(false);
        let lost = held.during(&|_| {}, pin!(async { begun.set(true) })).await.unwrap_err();
        assert!(matches!(lost, ClaimError::Lost { .. }) && !begun.get(), "{lost}");
    }

    /// Regression: the others were told that the work had failed, although only its lease had ended.
    #[tokio::test(start_paused = true)]
    async fn what_was_killed_in_a_suspension_is_left_to_another() {
        let (store, clock) = (store(), SuspendedClock::start());
        let held = held(&store, &clock).await;
        clock.set_slept(LOST_AFTER);
        assert!(matches!(held.end(failed()).await, Err(ClaimError::Lost { .. })));
        assert_eq!(store.writes.get(), 1, "nothing was said of it");
    }

    /// Regression: this was reported as "someone who removed it has taken over the claim".
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_was_removed_ends_what_it_is_for() {
        let (store, clock) = (store(), SuspendedClock::start());
        let mut ours = held(&store, &clock).await;
        store.written.take();
        store.first.set((u32::MAX, Answer::NotSo));
        let gone = ours.during(&|_| {}, pin!(pending())).await.unwrap_err();
        assert_eq!(gone.to_string(), "the claim s3://bucket/claim was removed or overwritten, so the work that it protects was stopped");
        assert!(matches!(ours.end(Ending::Done).await, Err(ClaimError::Gone { .. })));
    }

    /// Regression: because of a passing error, another instance did the finished work again.
    #[tokio::test(start_paused = true)]
    async fn that_it_is_done_is_told_until_another_may_take_it_over() {
        let (store, clock) = (store(), SuspendedClock::start());
        let ours = held(&store, &clock).await;
        store.first.set((2, Answer::Refused));
        ours.end(Ending::Done).await.unwrap();
        assert_eq!(store.writes.get(), 4);
        let (store, clock) = (self::store(), SuspendedClock::start());
        let ours = held(&store, &clock).await;
        store.first.set((u32::MAX, Answer::Refused));
        assert!(matches!(ours.end(Ending::Done).await, Err(ClaimError::Untold { .. })));
        assert!(clock.elapsed() < LOST_AFTER + Duration::from_secs(1), "{:?}", clock.elapsed());
    }
}
