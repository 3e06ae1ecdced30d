//! Follows a deployment to its end and takes its next steps.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::hand::Turned;
use super::in_place::InPlace;
use super::late::{SKEW, is_fresh};
use super::listen::{Heard, Witness, listen, why};
use super::order::Plan;
use super::seen::{LAST, LONG, Seen, Way};
use super::tell::Tell;
use crate::aws::boots::Instances;
use crate::aws::objects::Objects;
use crate::aws::records::{Kept, Records};
use crate::aws::stacks::Stacks;
use crate::deployment::course::{Next, Operation, Standing, Tokens, Wanted, next};
use crate::deployment::in_place::{Before, Heading, Turn};
use crate::deployment::record::{Ordered, Policy, Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Cause, Deployment};

/// How long AWS may fail to answer before following ends.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How a deployment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The deployment has ended; its record says whether it is good, failed or undone.
    With(Box<Record>),
    /// Following has ended, but the deployment has not.
    StillRunning {
        /// Whether it continues unattended: the update that sets the release, or the creation, has begun.
        goes_on: bool,
    },
}

/// How long a deployment is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Ended,
    /// Until CloudFormation can finish it unattended.
    Begun,
    At(Instant),
}

/// Follows deployments of one environment.
#[derive(Debug)]
pub(crate) struct Conductor<'a, O, S, W, T, I> {
    pub(crate) records: Records<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) witness: &'a W,
    pub(crate) tell: &'a T,
    pub(crate) instances: &'a I,
    pub(crate) environment: &'a str,
}

impl<O: Objects, S: Stacks, W: Witness, T: Tell, I: Instances> Conductor<'_, O, S, W, T, I> {
    fn in_place(&self) -> InPlace<'_, O, W, T, I> {
        let Self { records, witness, tell, instances, .. } = self;
        InPlace { records, witness: *witness, tell: *tell, instances: *instances }
    }

    /// Follows a deployment and carries it out.
    pub(crate) async fn follow(&self, kept: Kept, plan: &Plan<'_>, until: Until) -> Result<Ended, Failure> {
        self.attend(&kept, Way::On(plan), until).await
    }

    /// Undoes a deployment. If it is too late for that, the deployment ends as good.
    pub(crate) async fn undo(&self, kept: Kept, stack: &str) -> Result<Ended, Failure> {
        self.attend(&kept, Way::Back { stack }, Until::Ended).await
    }

    /// Records the outcome of a deployment that ended unobserved. Returns `None` if it is still running, or had not
    /// fully begun.
    pub(crate) async fn settle(&self, kept: &Kept, stack: &str) -> Result<Option<Record>, Failure> {
        let mut seen = Seen::of(kept);
        let standing = self.look(stack, &mut seen).await?;
        let next = next(&kept.record, &Wanted::of(&kept.record), standing.as_ref(), &seen.begun);
        if !self.is_whole(&kept.record, next, standing.as_ref()).await? {
            return Ok(None);
        }
        match next {
            Next::Good => self.end(kept, State::Good, None).await.map(Some),
            Next::Failed => self.failed(kept, stack, &Heard::default()).await.map(Some),
            Next::Gone => self.gone(kept, &mut seen).await,
            _ => Ok(None),
        }
    }

    /// Returns whether the instances match this outcome. An in-place deployment may have stopped halfway.
    async fn is_whole(&self, record: &Record, next: Next, standing: Option<&Standing>) -> Result<bool, Failure> {
        if record.goal.policy != Policy::InPlace || !matches!(next, Next::Good | Next::Failed) {
            return Ok(true);
        }
        let standees = self.instances.standees().await?;
        let in_group = standees.iter().filter(|one| !one.lifecycle.starts_with("Terminat"));
        Ok(match (next, standing.and_then(Before::of)) {
            (Next::Good, _) => in_group.clone().all(|one| one.has(record)),
            (_, Some(before)) => !in_group.clone().any(|one| one.is_reached(record, &before)),
            (_, None) => false,
        })
    }

    /// Watches the stack while listening to the instances. Showing progress never delays either.
    async fn attend(&self, kept: &Kept, way: Way<'_>, until: Until) -> Result<Ended, Failure> {
        let heard = Heard::default();
        tokio::select! {
            biased;
            ended = self.watch(kept, way, until, &heard) => ended,
            never = listen(self.witness, self.tell, &kept.record, &heard) => match never {},
            never = self.show() => match never {},
        }
    }

    async fn show(&self) -> Infallible {
        loop {
            self.tell.look().await;
            sleep(LONG).await;
        }
    }

    async fn watch(&self, kept: &Kept, way: Way<'_>, until: Until, heard: &Heard) -> Result<Ended, Failure> {
        let mut seen = Seen::of(kept);
        loop {
            match self.step(kept, way, &mut seen, heard).await {
                Ok(Some(record)) => return Ok(Ended::With(Box::new(record))),
                Ok(None) => seen.silent_since = None,
                Err(failure) if failure.may_pass() => {
                    if seen.silent_since.is_none() {
                        self.tell.silent(&failure);
                    }
                    if seen.silent_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
            let goes_on = seen.goes_on(&kept.record);
            let pause = match until {
                Until::Ended => seen.pause(),
                Until::Begun if goes_on => return Ok(Ended::StillRunning { goes_on }),
                Until::Begun => seen.pause(),
                Until::At(end) => match end.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => return Ok(Ended::StillRunning { goes_on }),
                    left => left.min(seen.pause()),
                },
            };
            sleep(pause).await;
        }
    }

    /// Looks at the stack once and takes the next step. Returns the record if the deployment has ended.
    async fn step(&self, kept: &Kept, way: Way<'_>, seen: &mut Seen, heard: &Heard) -> Result<Option<Record>, Failure> {
        let (record, stack) = (&kept.record, way.stack());
        if self.in_place().still_boots(record, &mut seen.hand).await? {
            return Ok(None);
        }
        let standing = self.look(stack, seen).await?;
        if standing.is_none() && seen.had_stack {
            return self.gone(kept, seen).await;
        }
        seen.had_stack |= standing.is_some();
        let next = way.next(record, standing.as_ref(), &seen.begun);
        if let Some(standing) = standing.as_ref().filter(|_| record.goal.policy == Policy::InPlace) {
            match self.in_place().turn(next, kept, way.whither(record, seen), standing, &mut seen.hand).await? {
                Turned::Ended(record) => return Ok(Some(*record)),
                Turned::Again => return Ok(None),
                Turned::Cancel => return self.cancel(record, stack).await,
                Turned::Through => {}
            }
        }
        match (next, way) {
            (Next::Begin(operation), Way::On(plan)) => return self.begin(operation, kept, plan, standing.as_ref(), seen).await,
            (Next::Begin(_), Way::Back { .. }) => return self.undone(kept, standing.as_ref(), seen).await,
            (Next::WaitForOthers, Way::Back { .. }) if !seen.begun.contains(&Operation::SetRelease.token(record)) => {
                return self.undone(kept, standing.as_ref(), seen).await;
            }
            (Next::Wait, _) => {
                seen.waits = false;
                // Another process may have ended the deployment while a request was in flight, or have begun the next
                // operation.
                let is_update = standing.is_some_and(|standing| standing.status == "UPDATE_IN_PROGRESS");
                let is_undone = |ended: Record| ended.state != State::Good;
                if is_update && (matches!(way, Way::Back { .. }) || self.ended(record).await?.is_some_and(is_undone)) {
                    return self.cancel(record, stack).await;
                }
            }
            (Next::WaitForOthers, _) => {
                // Another process may have recorded the end; the running operation then belongs to another deployment.
                if let Some(ended) = self.ended(record).await? {
                    return Ok(Some(ended));
                }
                if !seen.waits {
                    self.tell.waits_for_others(standing.as_ref().map_or("", |standing| standing.status.as_str()));
                }
                seen.waits = true;
            }
            (Next::Good, _) => return self.end(&seen.kept, State::Good, None).await.map(Some),
            (Next::Failed, _) => return self.failed(&seen.kept, stack, heard).await.map(Some),
            (Next::Gone, _) => return self.gone(kept, seen).await,
            (Next::Stuck(stuck), _) => {
                let (what, hint) = stuck.way_out(stack, self.environment);
                let is_ours = Deployment::of(record).tokens.iter().any(|token| seen.begun.contains(token));
                let what = match is_ours {
                    true => format!("{what}: {}", self.why(kept, stack, heard).await?.sentence()),
                    false => what.to_owned(),
                };
                return Err(Failure::new(Exit::Failed, format!("the stack {stack} cannot be updated")).why(what).hint(hint));
            }
        }
        Ok(None)
    }

    /// Cancels the running update if it belongs to this deployment. The status may be newer than the token next to it
    /// and belong to the next deployment, which has a record by then.
    async fn cancel(&self, record: &Record, stack: &str) -> Result<Option<Record>, Failure> {
        if self.records.newest().await?.is_some_and(|newest| newest.record.number != record.number) {
            return self.ended(record).await;
        }
        let standing = self.stacks.standing(stack).await?.filter(|standing| standing.status == "UPDATE_IN_PROGRESS");
        if standing.and_then(|standing| standing.token).is_some_and(|token| Operation::is_of(&token, record)) {
            self.stacks.cancel(stack).await?;
        }
        Ok(None)
    }

    /// Returns the record if another process has ended the deployment.
    async fn ended(&self, record: &Record) -> Result<Option<Record>, Failure> {
        let found = self.records.read(record.number).await?;
        Ok(found.map(|found| found.record).filter(|found| found.state != State::UnderWay))
    }

    /// Begins an operation, unless another process has ended the deployment.
    async fn begin(
        &self,
        operation: Operation,
        kept: &Kept,
        plan: &Plan<'_>,
        standing: Option<&Standing>,
        seen: &mut Seen,
    ) -> Result<Option<Record>, Failure> {
        let found = self.records.read(kept.record.number).await?.unwrap_or_else(|| kept.clone());
        if found.record.state != State::UnderWay {
            return Ok(Some(found.record));
        }
        if Turn::of(&found.record).heading != Heading::On {
            return Ok(None);
        }
        let order = plan.order(operation, &kept.record, standing);
        let since = Instant::now();
        // From here on, ending the deployment waits for this request. If another process was faster, look again.
        let Some(ordered) = self.records.order(&found, &order.token).await? else { return Ok(None) };
        seen.kept = ordered.clone();
        if !is_fresh(&ordered.record, since) {
            return Ok(None);
        }
        self.tell.begins(operation);
        let begun = match operation {
            Operation::Create => self.stacks.create(&order, plan.guard).await.map(|()| true),
            Operation::SetPolicy | Operation::SetRelease => self.stacks.update(&order).await,
        };
        let why = match begun {
            Ok(true) => {
                seen.is_ordered |= LAST.contains(&operation);
                return Ok(None);
            }
            // The stack already deploys this way, whatever its parameters say.
            Ok(false) if operation == Operation::SetPolicy => {
                return Box::pin(self.begin(Operation::SetRelease, kept, plan, standing, seen)).await;
            }
            Ok(false) => Failure::new(Exit::Failed, format!("CloudFormation found nothing to change in {}", plan.stack)),
            // The request may have arrived, which the next look shows. Or the operator logs in again.
            Err(failure) if failure.may_pass() => return Err(failure),
            // Another operation has begun that not every look shows yet.
            Err(failure) if failure.sentence().contains("_IN_PROGRESS state") => return Ok(None),
            // The operator who began the deployment may have the permission.
            Err(failure) if failure.is_of_rights() && !plan.is_own => return Err(failure),
            Err(failure) => failure,
        };
        // An earlier call whose answer was lost, or another process, may have begun this operation or another one.
        let standing = self.stacks.standing(&plan.stack).await?;
        if standing.is_some_and(|standing| standing.is_busy() || standing.token.as_ref() == Some(&order.token)) {
            return Ok(None);
        }
        if plan.is_in_place() && operation == Operation::SetRelease {
            self.in_place().turn_back(&kept.record, &why, &mut seen.hand).await?;
            return Ok(None);
        }
        // It was refused: nothing was replaced, unless another follower has requested something since.
        match self.records.end(&ordered, State::Failed, Timestamp::now(), Some(why.sentence())).await? {
            Some(_) => Err(why),
            None => Ok(None),
        }
    }

    /// Ends a deployment that is to be undone and has no running operation.
    async fn undone(&self, kept: &Kept, standing: Option<&Standing>, seen: &mut Seen) -> Result<Option<Record>, Failure> {
        let has_arrived = |ordered: &Ordered, begun: &Tokens| {
            begun.contains(&ordered.token) || standing.is_some_and(|standing| standing.token.as_ref() == Some(&ordered.token))
        };
        self.end_unless_ordered(kept, None, seen, has_arrived).await
    }

    /// Ends a deployment whose stack is gone.
    async fn gone(&self, kept: &Kept, seen: &mut Seen) -> Result<Option<Record>, Failure> {
        let creates = Operation::Create.token(&kept.record);
        let has_arrived = |ordered: &Ordered, _: &Tokens| ordered.is_of_the_past(&creates);
        self.end_unless_ordered(kept, Some("the stack was deleted in the meantime"), seen, has_arrived).await
    }

    /// Ends a deployment as undone, unless one of its requests may still arrive, or another process sends one now.
    async fn end_unless_ordered(
        &self,
        kept: &Kept,
        why: Option<&str>,
        seen: &mut Seen,
        has_arrived: impl Fn(&Ordered, &Tokens) -> bool,
    ) -> Result<Option<Record>, Failure> {
        let found = self.records.read(kept.record.number).await?.unwrap_or_else(|| kept.clone());
        if found.record.state != State::UnderWay {
            return Ok(Some(found.record));
        }
        let release = Operation::SetRelease.token(&found.record);
        if found.record.orders_without_a_word() && !seen.begun.contains(&release) {
            // From here on the older version that began it cannot read the record; wait for what it has already sent.
            self.records.order(&found, &release).await?;
            return Ok(None);
        }
        if let Some(ordered) = found.record.ordered.as_ref().filter(|ordered| !has_arrived(ordered, &seen.begun))
            && seen.late.may_arrive(ordered)
        {
            if !seen.waits {
                self.tell.news("an update was requested but has not reached CloudFormation yet: waiting up to 2 minutes for it");
            }
            seen.waits = true;
            return Ok(None);
        }
        let ended = self.records.end(&found, State::Undone, Timestamp::now(), why.map(str::to_owned)).await?;
        Ok(ended.map(|ended| ended.record))
    }

    /// Returns the state of the stack and reports new events.
    async fn look(&self, stack: &str, seen: &mut Seen) -> Result<Option<Standing>, Failure> {
        let (events, standing) = self.stacks.look(stack, seen.since).await?;
        // Several events may have the same timestamp.
        let told = seen.told;
        for event in events {
            seen.begun.extend(event.token.clone());
            seen.since = seen.since.max(event.at);
            if event.at > told {
                self.tell.event(&event);
                seen.told = seen.told.max(event.at);
            }
        }
        Ok(standing)
    }

    async fn failed(&self, kept: &Kept, stack: &str, heard: &Heard) -> Result<Record, Failure> {
        match self.why(kept, stack, heard).await? {
            Cause::Aborted(why) => self.end(kept, State::Undone, Some(why)).await,
            Cause::Failure(why) => self.end(kept, State::Failed, Some(why)).await,
        }
    }

    async fn why(&self, kept: &Kept, stack: &str, heard: &Heard) -> Result<Cause, Failure> {
        let began = kept.record.began;
        let events = self.stacks.events(stack, began.checked_sub(SKEW).unwrap_or(began)).await?;
        Ok(why(self.witness, &kept.record, events, heard).await)
    }

    async fn end(&self, kept: &Kept, state: State, why: Option<String>) -> Result<Record, Failure> {
        Ok(self.records.finish(kept, state, Timestamp::now(), why).await?.record)
    }
}
