//! Terminates an environment: deletes its stack, and keeps a deployment under way from creating it again.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::late::Late;
use crate::aws::objects::Objects;
use crate::aws::records::Records;
use crate::aws::stacks::Stacks;
use crate::deployment::course::{Operation, Standing, Stuck};
use crate::deployment::record::{Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Event, plain};

/// Polling interval of the stack.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the description of the stack may be stale.
const SETTLED: Duration = Duration::from_secs(60);

/// How long AWS may fail to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Terminates one environment.
#[derive(Debug)]
pub(crate) struct Terminate<'a, O, S> {
    pub(crate) records: Records<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) environment: &'a str,
    pub(crate) stack: &'a str,
    /// The service role that CloudFormation assumes; `None` for the stack's own role.
    pub(crate) role: Option<&'a str>,
    pub(crate) tell: fn(&str),
    /// Number of the newest record when the user confirmed; 0 if there was none.
    pub(crate) agreed: u64,
}

/// Result of terminating an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminated {
    Deleted,
    NothingThere,
}

impl<O: Objects, S: Stacks> Terminate<'_, O, S> {
    /// Deletes the stack, if it exists, and ends the deployment under way, if any.
    pub(crate) async fn run(&self) -> Result<Terminated, Failure> {
        let (mut late, mut terminated, mut waits) = (Late::default(), Terminated::NothingThere, false);
        loop {
            // In this order, so that a request recorded before either shows on the stack or is late.
            let newest = self.records.newest().await?;
            if let Some(newer) = newest.as_ref().filter(|kept| kept.record.number > self.agreed) {
                return self.stop(terminated, &newer.record);
            }
            let standing = self.stacks.standing(self.stack).await?;
            if standing.is_some() {
                self.delete().await?;
                terminated = Terminated::Deleted;
            }
            let Some(kept) = newest.filter(|kept| kept.record.state == State::UnderWay) else { return Ok(terminated) };
            let (creates, number) = (Operation::Create.token(&kept.record), kept.record.number.to_string());
            let had_its_own = standing.is_some_and(|standing| standing.parameter("Deployment") == Some(&number));
            let may_arrive = kept.record.ordered.as_ref().is_some_and(|ordered| {
                let has_arrived = if had_its_own { ordered.is_of_the_past(&creates) } else { ordered.token != creates };
                !has_arrived && late.may_arrive(ordered)
            });
            if may_arrive {
                if !waits {
                    (self.tell)("its creation was requested but has not reached CloudFormation yet: waiting up to 2 minutes for it");
                }
                waits = true;
            } else {
                // Fails if another process has requested an operation since.
                let why = Some("the environment was terminated".to_owned());
                if self.records.end(&kept, State::Undone, Timestamp::now(), why).await?.is_some() {
                    return Ok(terminated);
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Stops because of a deployment that the user did not know about when confirming.
    fn stop(&self, terminated: Terminated, newer: &Record) -> Result<Terminated, Failure> {
        match terminated {
            Terminated::Deleted => Ok(terminated),
            Terminated::NothingThere => {
                Err(Failure::new(Exit::Failed, format!("nothing was deleted: {} has changed in the meantime", self.environment))
                    .why(newer.told())
                    .hint("run the same command again"))
            }
        }
    }

    async fn delete(&self) -> Result<(), Failure> {
        let token = format!("ingot-terminate-{:016x}", fastrand::u64(..));
        self.stacks.delete(self.stack, &token, self.role).await?;
        self.see_deleted(&token).await
    }

    /// Waits until the stack is gone.
    async fn see_deleted(&self, token: &str) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut answered = begun;
        loop {
            match self.stacks.standing(self.stack).await {
                Ok(None) => return Ok(()),
                Ok(Some(standing)) => {
                    answered = Instant::now();
                    // The description may be stale for some seconds.
                    let is_over = !standing.is_busy() && (standing.token.as_deref() == Some(token) || begun.elapsed() > SETTLED);
                    if is_over {
                        return Err(self.not_deleted(&standing, token).await);
                    }
                }
                Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                    (self.tell)(&format!("{}; retrying", failure.sentence()));
                }
                Err(failure) => return Err(failure),
            }
            sleep(PAUSE).await;
        }
    }

    async fn not_deleted(&self, standing: &Standing, token: &str) -> Failure {
        let stack = self.stack;
        // Prefer the events of this deletion, and fall back to the latest failure of any deletion.
        let events = self.stacks.events(stack, Timestamp::UNIX_EPOCH).await.unwrap_or_default();
        let failed = |event: &&Event| event.status == "DELETE_FAILED" && event.resource != stack;
        let why = events.iter().filter(|event| event.token.as_deref() == Some(token)).find(failed).or_else(|| events.iter().rfind(failed));
        let why = why.map(|event| format!("{}: {}", event.resource, plain(event.reason.as_deref().unwrap_or_default())));
        let (_, hint) = Stuck::HalfDeleted.way_out(stack, self.environment);
        Failure::new(Exit::Failed, format!("the stack {stack} was not deleted"))
            .why(why.unwrap_or_else(|| format!("its status is {}", standing.status)))
            .hint(hint)
    }
}
