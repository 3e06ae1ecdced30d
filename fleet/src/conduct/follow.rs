//! Follows a deployment to its end, and carries it on where nobody else does.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::order::Plan;
use super::tell::Tell;
use crate::aws::objects::Objects;
use crate::aws::records::{Kept, Records};
use crate::aws::stacks::Stacks;
use crate::deployment::course::{Next, Operation, Standing, next};
use crate::deployment::record::{Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Cause, Evidence, cause};

/// How often it is looked at.
const PAUSE: Duration = Duration::from_secs(2);

/// How a deployment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is good, failed or undone, as its record says.
    With(Box<Record>),
    /// It goes on: there was no more time.
    StillRunning,
}

/// Who looks for the evidence of the instances that a deployment launched.
pub(crate) trait Witness {
    async fn evidence(&self, since: Timestamp) -> Vec<Evidence>;
}

/// Whoever sees a deployment through.
#[derive(Debug)]
pub(crate) struct Conductor<'a, O, S, W, T> {
    pub(crate) records: Records<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) witness: &'a W,
    pub(crate) tell: &'a T,
    pub(crate) environment: &'a str,
}

impl<O: Objects, S: Stacks, W: Witness, T: Tell> Conductor<'_, O, S, W, T> {
    /// Carries a deployment on until it has ended, or until then.
    pub(crate) async fn follow(&self, kept: Kept, plan: &Plan<'_>, until: Option<Instant>) -> Result<Ended, Failure> {
        let record = &kept.record;
        let (mut told, mut waited) = (record.began, false);
        loop {
            let standing = self.stacks.standing(&plan.stack).await?;
            if standing.is_some() {
                told = self.tell_events(&plan.stack, told).await?;
            }
            match next(record, &plan.wanted, standing.as_ref()) {
                Next::Begin(operation) => self.begin(operation, &kept, plan, standing.as_ref()).await?,
                Next::Wait => waited = false,
                Next::WaitForOthers if !waited => {
                    waited = true;
                    self.tell.waits_for_others(standing.as_ref().map_or("", |standing| standing.status.as_str()));
                }
                Next::WaitForOthers => {}
                Next::Good => return self.end(&kept, State::Good, None).await,
                Next::Failed => match self.cause(record, &plan.stack).await? {
                    Some(Cause::Aborted) => return self.end(&kept, State::Undone, None).await,
                    Some(Cause::Failure(why)) => return self.end(&kept, State::Failed, Some(why)).await,
                    None => return self.end(&kept, State::Failed, None).await,
                },
                Next::Stuck(stuck) => {
                    let (what, hint) = stuck.way_out(&plan.stack, self.environment);
                    return Err(Failure::new(Exit::Failed, format!("the stack {} cannot be updated", plan.stack)).why(what).hint(hint));
                }
            }
            self.tell.look().await;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Ended::StillRunning);
            }
            sleep(left.map_or(PAUSE, |left| left.min(PAUSE))).await;
        }
    }

    async fn begin(&self, operation: Operation, kept: &Kept, plan: &Plan<'_>, standing: Option<&Standing>) -> Result<(), Failure> {
        self.tell.begins(operation);
        let order = plan.order(operation, &kept.record, standing);
        let begun = match operation {
            Operation::Create => self.stacks.create(&order, plan.guard).await,
            Operation::SetPolicy | Operation::SetRelease => self.stacks.update(&order).await.map(|_| ()),
        };
        match begun {
            // It may have arrived: whoever goes on sees.
            Err(failure) if failure.exit == Exit::Unreachable => Err(failure),
            // Refused, so nothing goes on, and nothing was replaced.
            Err(failure) => {
                self.end(kept, State::Failed, Some(failure.to_string())).await?;
                Err(failure)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn tell_events(&self, stack: &str, since: Timestamp) -> Result<Timestamp, Failure> {
        let mut last = since;
        for event in self.stacks.events(stack, since).await? {
            if event.at > since {
                self.tell.event(&event);
            }
            last = last.max(event.at);
        }
        Ok(last)
    }

    async fn cause(&self, record: &Record, stack: &str) -> Result<Option<Cause>, Failure> {
        let tokens: Vec<String> =
            [Operation::Create, Operation::SetPolicy, Operation::SetRelease].map(|operation| operation.token(record)).into();
        let events = self.stacks.events(stack, record.began).await?;
        let evidence = self.witness.evidence(record.began).await;
        Ok(cause(&events, &evidence, &tokens))
    }

    async fn end(&self, kept: &Kept, state: State, why: Option<String>) -> Result<Ended, Failure> {
        let ended = self.records.finish(kept, state, Timestamp::now(), why).await?;
        Ok(Ended::With(Box::new(ended.record)))
    }
}
