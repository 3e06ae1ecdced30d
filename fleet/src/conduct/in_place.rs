//! In-place deployments: the release is sent to the running instances, a batch at a time, between the update that sets
//! the policy and the one that sets the release. The record holds the direction, so that several followers act alike.
//!
//! Instances launched in between run the previous release. They get the new one once the stack has it, because from
//! then on no instance is launched with the previous one.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::hand::{Batch, Hand, RARELY, Turned, Way, Whither};
use super::late::is_fresh;
use super::listen::Witness;
use super::tell::Tell;
use crate::aws::boots::{Boot, Instances, Sent};
use crate::aws::objects::Objects;
use crate::aws::records::{Kept, Records};
use crate::deployment::course::{Next, Operation, Standing};
use crate::deployment::in_place::{Before, Heading, Pace, Turn, comment, next_back, next_on};
use crate::deployment::record::{Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long a required instance may be unreachable, for example while it restarts.
const REACHABLE: Duration = Duration::from_secs(60);

/// How often a release is sent to an instance whose boot is cut off.
const TIMES: usize = 2;

/// Moves the instances of a deployment.
#[derive(Debug)]
pub(super) struct InPlace<'a, O, W, T, I> {
    pub(super) records: &'a Records<'a, O>,
    pub(super) witness: &'a W,
    pub(super) tell: &'a T,
    pub(super) instances: &'a I,
}

impl<O: Objects, W: Witness, T: Tell, I: Instances> InPlace<'_, O, W, T, I> {
    /// Brings the instances to what they should run, before the state of the stack is acted upon.
    pub(super) async fn turn(
        &self,
        next: Next,
        kept: &Kept,
        whither: Whither,
        standing: &Standing,
        hand: &mut Hand,
    ) -> Result<Turned, Failure> {
        let found = self.records.read(kept.record.number).await?.unwrap_or_else(|| kept.clone());
        if found.record.state != State::UnderWay {
            return Ok(Turned::Ended(Box::new(found.record)));
        }
        let Whither { has_begun, is_own, .. } = whither;
        let goes_back = whither.goes_back || Turn::of(&found.record).heading != Heading::On;
        match next {
            Next::Begin(_) if goes_back => self.go_back(&found, standing, hand).await,
            Next::WaitForOthers if goes_back && !has_begun => self.go_back(&found, standing, hand).await,
            Next::Begin(Operation::SetRelease) => self.go_on(&found, is_own, standing, hand).await,
            Next::Wait if goes_back => Ok(Turned::Cancel),
            Next::Good => self.bring_along(&found, standing, hand).await,
            Next::Failed => match self.take_back(&found, standing, hand).await? {
                true => Ok(Turned::Through),
                false => Ok(Turned::Again),
            },
            _ => Ok(Turned::Through),
        }
    }

    /// Sends the release to the next batch.
    async fn go_on(&self, found: &Kept, is_own: bool, standing: &Standing, hand: &mut Hand) -> Result<Turned, Failure> {
        let (record, pace) = (&found.record, Pace::of(standing));
        let standees = self.instances.standees().await?;
        let ids = next_on(&standees, record, pace);
        if ids.is_empty() {
            return Ok(Turned::Through);
        }
        let since = Instant::now();
        let turn = Turn { heading: Heading::On, sent: ids.clone() };
        // From here on, a process that ends the deployment knows which instances may still get the release.
        let Some(ordered) = self.records.order(found, &turn.token(record)).await? else { return Ok(Turned::Again) };
        if !is_fresh(&ordered.record, since) {
            return Ok(Turned::Again);
        }
        hand.kept = Some(ordered);
        let sent = match self.instances.mark(&ids, record.number, None).await {
            Ok(()) => self.instances.send(&record.goal.release, &ids, &comment(record)).await,
            Err(failure) => Err(failure),
        };
        let failure = match sent {
            Ok(Sent::Command(command)) => {
                self.await_batch(hand, Way::On, command, ids, (record.number, record.goal.release.clone()), pace);
                return Ok(Turned::Again);
            }
            // The command may have arrived; the next look sends it again if needed.
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(failure) | Ok(Sent::OutOfReach(failure)) => failure,
        };
        // Instances not tagged by this deployment before have received nothing.
        let untouched: Vec<String> = standees
            .iter()
            .filter(|one| ids.contains(&one.id) && one.deployment != Some(record.number))
            .map(|one| one.id.clone())
            .collect();
        if let Some(before) = Before::of(standing).filter(|_| !untouched.is_empty()) {
            // If this fails too, they are taken back like the others.
            let _ = self.instances.mark(&untouched, before.number, Some(&before.release)).await;
        }
        if failure.is_of_rights() && !is_own {
            return Err(failure);
        }
        // An instance that has left the group in the meantime need not be reached.
        let now = self.instances.standees().await?;
        if ids.iter().any(|id| !now.iter().any(|one| one.id == *id && one.serves())) {
            return Ok(Turned::Again);
        }
        self.turn_back(record, &failure, hand).await?;
        Ok(Turned::Again)
    }

    /// Sends the release to instances that were launched with the previous one, until none is left.
    async fn bring_along(&self, found: &Kept, standing: &Standing, hand: &mut Hand) -> Result<Turned, Failure> {
        let (record, pace) = (&found.record, Pace::of(standing));
        let mut standees = self.instances.standees().await?;
        standees.retain(|one| !hand.replaced.contains(&one.id));
        let ids = next_on(&standees, record, pace);
        if ids.is_empty() {
            let is_one_on_its_way = standees.iter().any(|one| one.comes() && !one.has(record));
            return Ok(if is_one_on_its_way { Turned::Again } else { Turned::Through });
        }
        self.instances.mark(&ids, record.number, None).await?;
        self.press(Way::Along, ids, (record.number, record.goal.release.clone()), &comment(record), (hand, pace)).await?;
        Ok(Turned::Again)
    }

    /// Takes the instances back, then ends the deployment.
    async fn go_back(&self, found: &Kept, standing: &Standing, hand: &mut Hand) -> Result<Turned, Failure> {
        let (record, turn) = (&found.record, Turn::of(&found.record));
        if turn.heading == Heading::On {
            let is_of_release = record.ordered.as_ref().filter(|ordered| ordered.token == Operation::SetRelease.token(record));
            if is_of_release.is_some_and(|ordered| hand.late.may_arrive(ordered)) {
                self.wait_for_late(hand);
                return Ok(Turned::Again);
            }
            // From here on, every follower goes back.
            let turn = Turn { heading: Heading::Undone, ..turn };
            self.records.turn(found, &turn.token(record), None).await?;
            return Ok(Turned::Again);
        }
        if !self.take_back(found, standing, hand).await? {
            return Ok(Turned::Again);
        }
        let (state, cause) = match turn.heading {
            Heading::Failed => (State::Failed, record.cause.clone()),
            Heading::On | Heading::Undone => (State::Undone, None),
        };
        let ended = self.records.end(found, state, Timestamp::now(), cause).await?;
        Ok(ended.map_or(Turned::Again, |ended| Turned::Ended(Box::new(ended.record))))
    }

    /// Sends the previous release to the next batch of reached instances. Returns whether none is left.
    async fn take_back(&self, found: &Kept, standing: &Standing, hand: &mut Hand) -> Result<bool, Failure> {
        let (record, pace) = (&found.record, Pace::of(standing));
        let Some(before) = Before::of(standing) else {
            return Err(Failure::new(Exit::Failed, format!("cannot determine which release ran before deployment {}", record.number))
                .why("the stack has no parameters Release, ReleaseSha256 and Deployment")
                .hint("update ingot-fleet, or deploy a good release with `--policy rolling_with_batch`"));
        };
        let mut standees = self.instances.standees().await?;
        standees.retain(|one| !hand.replaced.contains(&one.id));
        let ids = next_back(&standees, record, &before, pace);
        if ids.is_empty() {
            let is_one_on_its_way = standees.iter().any(|one| one.comes() && one.is_reached(record, &before));
            return Ok(!is_one_on_its_way && self.has_arrived(found, hand).await?);
        }
        let comment = format!("ingot-{}-back", record.number);
        self.press(Way::Back, ids, (before.number, before.release), &comment, (hand, pace)).await?;
        Ok(false)
    }

    /// Sends a release to instances that must run it. An unreachable instance is replaced.
    async fn press(
        &self,
        way: Way,
        mut ids: Vec<String>,
        (number, release): (u64, Release),
        comment: &str,
        (hand, pace): (&mut Hand, Pace),
    ) -> Result<(), Failure> {
        ids.truncate(if hand.is_one_by_one { 1 } else { ids.len() });
        match (self.instances.send(&release, &ids, comment).await?, ids.as_slice()) {
            (Sent::Command(command), _) => {
                hand.out_of_reach = None;
                self.await_batch(hand, way, command, ids, (number, release), pace);
            }
            (Sent::OutOfReach(failure), [id]) => {
                if hand.out_of_reach.get_or_insert_with(Instant::now).elapsed() >= REACHABLE {
                    hand.out_of_reach = None;
                    self.replace(id, &failure.sentence(), hand).await?;
                }
            }
            (Sent::OutOfReach(_), _) => hand.is_one_by_one = true,
        }
        Ok(())
    }

    /// Replaces an instance, which may run anything by now, with one that runs what the stack says.
    async fn replace(&self, id: &str, why: &str, hand: &mut Hand) -> Result<(), Failure> {
        self.tell.news(&format!("{why}; replacing {id}"));
        self.instances.replace(id).await?;
        hand.replaced.insert(id.to_owned());
        Ok(())
    }

    /// Returns whether no command of a killed process is still on its way to an instance.
    async fn has_arrived(&self, found: &Kept, hand: &mut Hand) -> Result<bool, Failure> {
        let Some(ordered) = &found.record.ordered else { return Ok(true) };
        for id in &Turn::of(&found.record).sent {
            if !self.instances.was_sent(id, &comment(&found.record)).await? && hand.late.may_arrive(ordered) {
                self.wait_for_late(hand);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wait_for_late(&self, hand: &mut Hand) {
        if !hand.waits {
            self.tell.news("a request was sent but has not arrived yet: waiting up to 2 minutes for it");
        }
        hand.waits = true;
    }

    fn await_batch(
        &self,
        hand: &mut Hand,
        way: Way,
        command: String,
        ids: Vec<String>,
        (number, release): (u64, Release),
        Pace { patience, .. }: Pace,
    ) {
        self.tell.sends(&release.name, &ids, way == Way::Back);
        hand.waits = false;
        let since = Instant::now();
        hand.batch = Some(Batch { command, ids, number, release, way, since, patience, looked: since });
    }

    /// Checks the running command, if any. Returns whether it is still running.
    pub(super) async fn still_boots(&self, record: &Record, hand: &mut Hand) -> Result<bool, Failure> {
        let Some(batch) = &mut hand.batch else { return Ok(false) };
        let boots = self.instances.look(&batch.command, &batch.ids).await?;
        if self.is_awaited(&boots, batch).await? {
            return Ok(true);
        }
        let done: Vec<String> = boots.iter().filter(|(_, boot)| *boot == Boot::Done).map(|(id, _)| id.clone()).collect();
        // Instances that another process is taking back will have another release in a moment.
        if !done.is_empty() && (batch.way != Way::On || self.goes_on(record).await?) {
            self.instances.mark(&done, batch.number, Some(&batch.release)).await?;
        }
        // Instances that have left the group do not count.
        let has_gone_well = boots.iter().all(|(_, boot)| matches!(boot, Boot::Done | Boot::Overtaken));
        let standees = if has_gone_well { Vec::new() } else { self.instances.standees().await? };
        let (way, patience) = (batch.way, batch.patience);
        hand.batch = None;
        let mut failed = Vec::new();
        for (id, boot) in boots.into_iter().filter(|(id, _)| standees.iter().any(|one| one.id == *id && one.serves())) {
            let why = match boot {
                Boot::Done | Boot::Overtaken => continue,
                Boot::GoesOn => format!("the boot did not finish within {} s", patience.as_secs()),
                Boot::CutOff(why) => {
                    hand.cut_off.push(id.clone());
                    if hand.cut_off.iter().filter(|other| **other == id).count() < TIMES {
                        continue;
                    }
                    why
                }
                Boot::Failed(why) => why,
            };
            failed.push((id, why));
        }
        match way {
            Way::On => {
                if let Some((id, why)) = failed.first() {
                    let url = self.evidence_of(record, id).await;
                    self.turn_back(record, &Failure::new(Exit::Failed, format!("{id}: {why}{url}")), hand).await?;
                }
            }
            Way::Along | Way::Back => {
                for (id, why) in failed {
                    self.replace(&id, &format!("{id}: {why}"), hand).await?;
                }
            }
        }
        Ok(false)
    }

    /// Returns whether an instance may still answer. The command of one that has left the group stays open for an hour.
    async fn is_awaited(&self, boots: &[(String, Boot)], batch: &mut Batch) -> Result<bool, Failure> {
        let mut going = boots.iter().filter(|(_, boot)| *boot == Boot::GoesOn).peekable();
        if going.peek().is_none() || batch.since.elapsed() > batch.patience {
            return Ok(false);
        }
        if batch.looked.elapsed() < RARELY {
            return Ok(true);
        }
        batch.looked = Instant::now();
        let standees = self.instances.standees().await?;
        Ok(going.any(|(id, _)| standees.iter().any(|one| one.id == *id && one.serves())))
    }

    /// Returns whether the deployment is still under way and going forward.
    async fn goes_on(&self, record: &Record) -> Result<bool, Failure> {
        let found = self.records.read(record.number).await?;
        Ok(found.is_some_and(|found| found.record.state == State::UnderWay && Turn::of(&found.record).heading == Heading::On))
    }

    /// Returns the URL of the evidence that a failed instance left, in parentheses, or nothing.
    async fn evidence_of(&self, record: &Record, id: &str) -> String {
        let found = self.witness.evidence(record).await.unwrap_or_default();
        found.iter().rfind(|one| one.instance == id).map(|one| format!(" ({})", one.url)).unwrap_or_default()
    }

    /// Records that the deployment goes back, and why, unless it has ended or already goes back.
    pub(super) async fn turn_back(&self, record: &Record, why: &Failure, hand: &mut Hand) -> Result<(), Failure> {
        self.tell.news(&why.to_string());
        loop {
            let Some(found) = self.records.read(record.number).await? else { return Ok(()) };
            let turn = Turn::of(&found.record);
            if found.record.state != State::UnderWay || turn.heading != Heading::On {
                return Ok(());
            }
            // Commands sent by this process have arrived, or never will.
            let is_own = hand.kept.as_ref() == Some(&found);
            let turn = Turn { heading: Heading::Failed, sent: if is_own { Vec::new() } else { turn.sent } };
            if self.records.turn(&found, &turn.token(record), Some(why.sentence())).await?.is_some() {
                return Ok(());
            }
        }
    }
}
