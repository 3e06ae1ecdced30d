//! The end of an environment: its stack is deleted, and nobody makes it anew by a deployment that was under way.

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

/// How often the stack is looked at.
const PAUSE: Duration = Duration::from_secs(2);

/// How long it may be described as it was before.
const SETTLED: Duration = Duration::from_secs(60);

/// How long AWS may give no answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Whoever ends an environment.
#[derive(Debug)]
pub(crate) struct Terminate<'a, O, S> {
    pub(crate) records: Records<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) environment: &'a str,
    pub(crate) stack: &'a str,
    /// The role of CloudFormation; `None` for that of the stack.
    pub(crate) role: Option<&'a str>,
    pub(crate) tell: fn(&str),
    /// The number of the newest record when it was agreed on; 0 if there was none.
    pub(crate) agreed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terminated {
    Deleted,
    NothingThere,
}

impl<O: Objects, S: Stacks> Terminate<'_, O, S> {
    /// Deletes the stack, if there is one, and ends the deployment that was under way.
    pub(crate) async fn run(&self) -> Result<Terminated, Failure> {
        let (mut late, mut terminated, mut waits) = (Late::default(), Terminated::NothingThere, false);
        loop {
            // In this order: what was ordered before is on the stack by now, or late.
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
                    (self.tell)("its creation was ordered and has not arrived yet: it is waited for, for 2 minutes at the most");
                }
                waits = true;
            } else {
                // Somebody may have ordered an operation since.
                let why = Some("the environment was terminated".to_owned());
                if self.records.end(&kept, State::Undone, Timestamp::now(), why).await?.is_some() {
                    return Ok(terminated);
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Whoever has agreed did not know of this deployment.
    fn stop(&self, terminated: Terminated, newer: &Record) -> Result<Terminated, Failure> {
        match terminated {
            Terminated::Deleted => Ok(terminated),
            Terminated::NothingThere => {
                Err(Failure::new(Exit::Failed, format!("nothing was deleted: {} has changed meanwhile", self.environment))
                    .why(newer.told())
                    .hint("run it again"))
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
                    // How it stood before may be described for some seconds.
                    let is_over = !standing.is_busy() && (standing.token.as_deref() == Some(token) || begun.elapsed() > SETTLED);
                    if is_over {
                        return Err(self.not_deleted(&standing, token).await);
                    }
                }
                Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                    (self.tell)(&format!("{}; the stack is looked at again", failure.sentence()));
                }
                Err(failure) => return Err(failure),
            }
            sleep(PAUSE).await;
        }
    }

    async fn not_deleted(&self, standing: &Standing, token: &str) -> Failure {
        let stack = self.stack;
        // The whole story of a stack may be long: what is wanted is of this minute or of this deletion.
        let events = self.stacks.events(stack, Timestamp::UNIX_EPOCH).await.unwrap_or_default();
        let failed = |event: &&Event| event.status == "DELETE_FAILED" && event.resource != stack;
        let why = events.iter().filter(|event| event.token.as_deref() == Some(token)).find(failed).or_else(|| events.iter().rfind(failed));
        let why = why.map(|event| format!("{}: {}", event.resource, plain(event.reason.as_deref().unwrap_or_default())));
        let (_, hint) = Stuck::HalfDeleted.way_out(stack, self.environment);
        Failure::new(Exit::Failed, format!("{stack} is not deleted"))
            .why(why.unwrap_or_else(|| format!("it is in {}", standing.status)))
            .hint(hint)
    }
}
