//! Takes a claim, or waits for its holder.

use std::time::{Duration, SystemTime};

use super::claimant::{Claimant, within};
use super::held::Held;
use super::{CALL, Claim, ClaimError, Ending, Next, State, next};
use crate::backoff::Backoff;
use crate::failure::Explanation;

/// The result of taking a claim.
pub(crate) enum Taken<'a> {
    /// This instance has to do the work.
    Ours(Held<'a>),
    /// Another instance has done the work.
    Done(Claim),
    /// The work failed on another instance.
    Failed(Claim, Ending),
}

impl<'a> Claimant<'a> {
    /// Takes the claim, or waits until its holder has ended the work or is gone.
    ///
    /// # Errors
    ///
    /// If the store refuses, or the time runs out.
    pub(crate) async fn take(self) -> Result<Taken<'a>, ClaimError> {
        let mut claim = Claim {
            holder: self.me.holder.clone(),
            attempt: self.me.attempt.clone(),
            renewal: 0,
            release: self.release.clone(),
            state: State::Held,
        };
        let (mut looks, mut tries) = (0, 0);
        let began = self.clock.elapsed();
        loop {
            let over = match self.found(looks > 0).await {
                Ok(Next::Done(claim)) => return Ok(Taken::Done(claim)),
                Ok(Next::Failed(claim, ending)) => return Ok(Taken::Failed(claim, ending)),
                Ok(Next::Make) => None,
                Ok(Next::TakeOver(etag)) => Some(etag),
                Ok(Next::Wait(other)) => {
                    looks += 1;
                    (self.waiting)(format!("for {}, which holds {}", other.holder, self.store.name()));
                    let pause = Backoff::CLAIM.pause(looks, None);
                    if !self.paused(pause).await {
                        let waited = Duration::from_secs(self.clock.elapsed().saturating_sub(began).as_secs());
                        return Err(ClaimError::Held { name: self.store.name(), holder: other.holder, waited });
                    }
                    continue;
                }
                Err(stop) => {
                    tries += 1;
                    self.bear(stop, tries).await?;
                    continue;
                }
            };
            claim.renewal += 1;
            let sent = self.clock.passed();
            match within(CALL, self.clock, self.store.write(claim.written(), over.as_deref())).await {
                Ok(Some(etag)) => return Ok(Taken::Ours(Held::new(self, claim, etag, sent))),
                // Another instance was faster, or the answer to an earlier try was lost. Reading the claim tells which.
                Ok(None) => {
                    tries += 1;
                    self.bear(Stop::Until(not_taken()), tries).await?;
                }
                Err(why) => {
                    tries += 1;
                    self.bear(self.stop(why), tries).await?;
                }
            }
        }
    }

    /// Waits before another try, unless the error is final or the time runs out.
    async fn bear(&self, stop: Stop, tries: u32) -> Result<(), ClaimError> {
        match stop {
            Stop::For(error) => Err(error),
            Stop::Until(why) => {
                (self.waiting)(format!("for {}: {}", self.store.name(), why.message));
                let pause = Backoff::CALL.pause(tries, why.retry_after);
                if self.paused(pause).await { Ok(()) } else { Err(self.refused(why)) }
            }
        }
    }

    /// What to do now. An instance that has `waited` for a holder shares its failure.
    async fn found(&self, waited: bool) -> Result<Next, Stop> {
        let seen = within(CALL, self.clock, self.store.look()).await.map_err(|why| self.stop(why))?;
        let began = seen.as_ref().filter(|_| !waited).map_or(SystemTime::UNIX_EPOCH, |seen| seen.date - self.clock.passed());
        next(seen.as_ref(), &self.me, began).map_err(|_| Stop::For(ClaimError::NotAClaim { name: self.store.name() }))
    }

    /// Sleeps for `pause` if the time allows it. Returns whether it did.
    async fn paused(&self, pause: Duration) -> bool {
        let is_in_time = self.clock.elapsed() + pause < self.until;
        if is_in_time {
            self.clock.sleep(pause).await;
        }
        is_in_time
    }

    fn stop(&self, why: Explanation) -> Stop {
        if why.transient { Stop::Until(why) } else { Stop::For(self.refused(why)) }
    }

    fn refused(&self, why: Explanation) -> ClaimError {
        ClaimError::Refused { name: self.store.name(), why: why.into() }
    }
}

fn not_taken() -> Explanation {
    let hint = "look up PutObject in the CloudTrail data events of its bucket to see what else writes to it; a store other than S3 \
                must support If-None-Match and If-Match";
    Explanation { transient: true, ..Explanation::new("it was changed in the meantime", Some(hint.into())) }
}

/// Why an attempt to take the claim stopped.
enum Stop {
    For(ClaimError),
    /// The reason may pass.
    Until(Explanation),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock::SystemClock;
    use crate::net::claims::Wanter;
    use crate::net::claims::stand_in::{Answer, StandIn};

    async fn taken(store: &StandIn) -> Result<(), ClaimError> {
        let clock = SystemClock::start();
        let me = Wanter { holder: "i-1".into(), attempt: "a".into() };
        let until = Duration::from_secs(120);
        let claimant = Claimant { store, clock: &clock, me, release: "v1".into(), until, waiting: &|_| {} };
        let Taken::Ours(held) = claimant.take().await? else { panic!("it is nobody else's") };
        held.end(Ending::Done).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_contradicts_itself_is_not_asked_without_an_end() {
        for takes in [0, 1] {
            let store = StandIn::answering((takes, Answer::Written), Answer::NotSo);
            let error = taken(&store).await.unwrap_err();
            let expected = if takes == 0 { "cannot claim" } else { "the work has finished, but the claim" };
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(store.writes.get() < 60, "{}", store.writes.get());
        }
    }
}
