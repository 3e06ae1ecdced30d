//! Going back to the generation before, and stopping the one that is done with.

use std::time::Duration;

use super::change::Change;
use super::fed;
use super::fields::Application;
use super::front;
use super::generation::Placed;
use super::ground::{Ground, KILLED_WITHIN};
use super::procfile::WEB;
use super::prove;
use super::slot::Slot;
use super::trouble::ApplicationError;
use crate::failure::Explanation;
use crate::host::HostError;
use crate::step::{Context, Progress};
use crate::steps::health::{Health, health};

/// How long requests are waited for where no proxy says how long one may take.
const DRAIN: Duration = Duration::from_secs(60);

/// The slot that is freed if a change fails, for what is in the other to keep serving.
pub(super) fn fails_in(change: &Change, ground: &Ground<'_>) -> Option<Slot> {
    let unless_it_serves = |slot: Slot| Some(slot).filter(|slot| ground.memory.current() != Some(*slot));
    match change {
        Change::Prepare { slot, .. } | Change::Launch { slot, .. } | Change::Prove { slot, .. } => Some(*slot),
        Change::Settle { slot, .. } | Change::Switch { slot, .. } | Change::Point { slot, .. } | Change::Hooks { slot, .. } => Some(*slot),
        // What is stopped is what was before.
        Change::Stop { slot, .. } => Some(slot.other()),
        Change::Configure { site, .. } => unless_it_serves(site.slot),
        Change::Serve { slot, .. } | Change::Withdraw { slot, .. } => unless_it_serves(*slot),
        Change::Refuse { .. } | Change::Pull { .. } | Change::Check { .. } | Change::Build { .. } | Change::Extend { .. } => {
            Some(ground.serving().map_or(Slot::A, |(slot, _)| slot.other()))
        }
        Change::Resume { .. } | Change::Provide { .. } | Change::Retire { .. } => None,
        Change::Depart { .. } | Change::Watch { .. } | Change::Unwatch { .. } => None,
    }
}

/// The version that serves, if its `web` is up.
pub(super) async fn serving(ground: &Ground<'_>) -> Option<String> {
    let (_, placed) = ground.serving()?;
    let states = ground.states(&placed).await.ok()?;
    let is_up = states.get(WEB).is_some_and(|web| health(web) == Health::Sound);
    is_up.then_some(placed.generation.version)
}

impl Application {
    /// Waits for the requests in a slot that serves no new ones, and stops what is there.
    pub(super) async fn retire(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), HostError> {
        let mut held = Vec::new();
        // Of one that does not run, the connections are those of another on the same port.
        if ground.states(placed).await?.get(WEB).is_some_and(|web| health(web) == Health::Sound) {
            let (limit, left) = (self.proxy.timeout().unwrap_or(DRAIN), || cx.time_left().saturating_sub(self.stop.grace()));
            // One that has failed may have failed in the middle of a message.
            let is_proven = ground.memory.slot(slot).is_some_and(|(_, proven)| proven);
            let of_messages = if is_proven { left() / 2 } else { limit.min(left()) };
            held = fed::held(placed, &self.reached(slot, placed), of_messages, cx).await;
            cx.waiting(format!("for the requests that {placed} still answers"));
            let limit = limit.min(left());
            if !ground.drained(slot, placed, limit).await? {
                cx.progress(Progress::Warning(format!("{placed} still had connections after {limit:?}, and was asked to stop")));
            }
        }
        cx.waiting(format!("for {placed} to stop"));
        ground.retire(slot, placed).await?;
        drop(held);
        Ok(())
    }

    /// After a failure in no slot: what serves goes on, or comes up first where a reboot has ended it.
    pub(super) async fn not_in_a_slot(&self, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        match (serving(ground).await, ground.memory.current()) {
            (None, Some(slot)) => self.go_back(slot.other(), error, ground, cx).await,
            (version, _) => error.keeping(version),
        }
    }

    /// Where the step does not come to that, and a reboot has ended what served last, or anything of it: it serves again.
    pub(super) async fn serve_as_before(&self, ground: &Ground<'_>, cx: &Context<'_>) {
        // First: whether it comes up is what is watched.
        if let Err(trouble) = ground.watch_again().await {
            cx.progress(Progress::Warning(format!("nothing watches whether {} is up: {}", cx.key(), Explanation::of(&trouble))));
        }
        let proven = |slot: Slot| ground.memory.slot(slot).filter(|(_, proven)| *proven).map(|(placed, _)| (slot, placed));
        // What was gone back from is not proven any more, though it had the requests last.
        let last = ground.memory.current().and_then(|slot| proven(slot).or_else(|| proven(slot.other())));
        let Some((slot, placed)) = last else { return };
        // Half of its successor may be there, where that was cut off.
        let is_alone = ground.memory.slot(slot.other()).is_none_or(|(_, proven)| proven);
        let again = async {
            let found = ground.found().await.map_err(ApplicationError::Host)?;
            let is_whole = placed.units().all(|unit| found.up.contains(&unit));
            if ground.memory.current() == Some(slot) && found.up.contains(&placed.unit(WEB)) && is_alone {
                return self.completed(slot, &placed, ground, cx).await;
            }
            self.serve_again(slot.other(), &placed, ground, cx).await.map(|()| !is_whole)
        };
        let told = match again.await {
            Ok(false) => return,
            Ok(true) => format!("{placed} serves again"),
            Err(trouble) => format!("cannot have {placed} serve again: {}", Explanation::of(&trouble)),
        };
        cx.progress(Progress::Warning(told));
    }

    /// Starts what is missing of a generation whose `web` is up, and runs in no other either: nginx, too. Returns whether anything was.
    async fn completed(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<bool, ApplicationError> {
        let beside = ground.memory.slot(slot.other()).map(|(beside, _)| beside);
        let both = || [Some(placed), beside.as_ref()].into_iter().flatten();
        for placed in both() {
            ground.gone(placed).await.map_err(ApplicationError::Host)?;
        }
        let found = ground.found().await.map_err(ApplicationError::Host)?;
        let runs = |process: &str| both().any(|of| found.running.contains(&of.unit(process)));
        let missing: Vec<&str> = placed.processes().into_iter().filter(|process| !runs(process)).collect();
        if self.leads_current(cx) && ground.current_elsewhere(&placed.generation.release).await.map_err(ApplicationError::Host)?.is_some() {
            ground.point_current(placed).await.map_err(ApplicationError::Host)?;
        }
        let is_plain = self.lacks_certificate(slot, ground, cx).await.map_err(ApplicationError::Host)?;
        let is_hidden = front::lacks_proxy(slot, ground).await.map_err(ApplicationError::Host)?;
        // It may have been cut off before that.
        let is_led = found.is_led || found.current != Some(slot);
        if missing.is_empty() && is_led && !is_plain && !is_hidden {
            return Ok(false);
        }
        self.made_ready(slot, placed, ground, cx).await?;
        let restored = if is_plain || is_hidden { self.restore(Some(slot), ground, cx).await } else { Ok(()) };
        let mut failed = None;
        for process in missing {
            if let Err(error) = prove::launched(placed, process, ground, cx).await {
                failed.get_or_insert(error);
            }
        }
        if !is_led {
            ground.switch(slot).await.map_err(ApplicationError::Host)?;
        }
        failed.map_or(restored.map(|_| true), Err)
    }

    /// Before the step has its turn: what served last and has waited since a reboot, for a secret or a certificate of its proxy,
    /// serves until then.
    pub(super) async fn serve_meanwhile(&self, ground: &Ground<'_>, cx: &Context<'_>) {
        if ground.memory.current().is_none() {
            return;
        }
        let Ok(mut found) = ground.found().await else { return };
        if let Some(slot) = found.current {
            found.lacks_certificate = self.lacks_certificate(slot, ground, cx).await.unwrap_or_default();
        }
        let Some(Change::Resume { slot, placed }) = found.resumed() else { return };
        // What is led to has run since: whether that comes up again is a matter of the step.
        let has_waited = !found.is_led && !placed.generation.secrets.is_empty();
        // Its variables may be of what is not known yet.
        if (has_waited || found.lacks_certificate) && self.environment_file(&placed, cx).is_ok() {
            if has_waited {
                cx.world.known.set_unproven(cx.address, true);
            }
            self.resume(slot, &placed, ground, cx).await;
        }
    }

    /// Starts what served last, and does not wait until it serves: its successor is on its way.
    pub(super) async fn resume(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) {
        let resumed = async {
            self.made_ready(slot, placed, ground, cx).await?;
            let found = ground.found().await.map_err(ApplicationError::Host)?;
            // The proxy may have the port of a release that has none in front.
            let is_bare = ground.memory.front(slot).flatten().is_none();
            if is_bare {
                self.restore(Some(slot), ground, cx).await?;
            }
            // Requests need `web` alone.
            let mut failed = None;
            for process in placed.processes().into_iter().filter(|process| !found.running.contains(&placed.unit(process))) {
                if let Err(error) = prove::launched(placed, process, ground, cx).await {
                    failed.get_or_insert(error);
                }
            }
            ground.switch(slot).await.map_err(ApplicationError::Host)?;
            if !is_bare {
                self.restore(Some(slot), ground, cx).await?;
            }
            failed.map_or(Ok(()), Err)
        };
        if let Err(trouble) = resumed.await {
            cx.progress(Progress::Warning(format!("cannot start {placed} again: {}", Explanation::of(&trouble))));
        }
    }

    /// After a failure in a slot: the generation in the other one, if there is one that served, serves again.
    pub(super) async fn go_back(&self, failed: Slot, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        let before = ground.memory.slot(failed.other()).filter(|(_, proven)| *proven).map(|(placed, _)| placed);
        let back = match (&before, ground.memory.slot(failed)) {
            (Some(placed), _) => self.serve_again(failed, placed, ground, cx).await,
            // What serves is left as it is, though something of it has failed.
            (None, Some((new, _))) if ground.memory.current() != Some(failed) => {
                // What was remembered of the proxy goes with the slot.
                let restored = self.restore(ground.memory.current(), ground, cx).await;
                match ground.retire(failed, &new).await {
                    Ok(()) => restored,
                    Err(error) => Err(ApplicationError::Host(error)),
                }
            }
            (None, _) => Ok(()),
        };
        if let Err(trouble) = back {
            cx.progress(Progress::Warning(format!("cannot roll back: {}", Explanation::of(&trouble))));
            return error;
        }
        error.keeping(before.map(|placed| placed.generation.version))
    }

    /// Has the generation before serve, which is in the slot beside `failed`, and frees that. After a reboot, nothing of it has
    /// to be there but its record.
    async fn serve_again(&self, failed: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let found = ground.found().await.map_err(ApplicationError::Host)?;
        let new = ground.memory.slot(failed).map(|(new, _)| new);
        // One that ends again and again runs, too.
        let is_up = found.up.contains(&placed.unit(WEB));
        if let Some(new) = &new {
            // Whatever comes in between, it is not what is gone back to.
            ground.memory.set_slot(failed, new, false).await.map_err(ApplicationError::Host)?;
        }
        self.made_ready(failed.other(), placed, ground, cx).await?;
        if is_up {
            // It gets its requests back at once. The proxy passes to both until it has read its former configuration.
            ground.switch(failed.other()).await.map_err(ApplicationError::Host)?;
        }
        // One that does not overlap has the port of the other, or that of the proxy.
        let in_the_way = |new: &&Placed| !is_up && (new.port == placed.port || !Slot::is_apart(new.port));
        if let Some(new) = new.as_ref().filter(in_the_way) {
            let limit = DRAIN.min(cx.time_left().saturating_sub(self.time_to_go_back()));
            let _held = fed::held(new, &self.reached(failed, new), limit, cx).await;
            ground.stop(new, &new.processes()).await.map_err(ApplicationError::Host)?;
        }
        let restored = self.restore(Some(failed.other()), ground, cx).await;
        ground.gone(placed).await.map_err(ApplicationError::Host)?;
        let found = ground.found().await.map_err(ApplicationError::Host)?;
        let runs = |process: &str| found.running.contains(&placed.unit(process));
        if !is_up {
            if !runs(WEB) {
                prove::launched(placed, WEB, ground, cx).await?;
            }
            prove::serves(&self.ready, placed, ground, cx).await?;
            ground.switch(failed.other()).await.map_err(ApplicationError::Host)?;
        }
        if self.leads_current(cx) && ground.current_elsewhere(&placed.generation.release).await.map_err(ApplicationError::Host)?.is_some() {
            ground.point_current(placed).await.map_err(ApplicationError::Host)?;
        }
        let mut failed_beside = None;
        if let Some(new) = &new {
            let alone: Vec<&str> = new.processes().into_iter().filter(|name| !self.overlap().covers(name)).collect();
            failed_beside = ground.stop(new, &alone).await.map_err(ApplicationError::Host).err();
        }
        for process in placed.processes().into_iter().filter(|process| *process != WEB && !runs(process)) {
            if let Err(error) = prove::launched(placed, process, ground, cx).await {
                failed_beside.get_or_insert(error);
            }
        }
        if let Some(new) = &new {
            self.retire(failed, new, ground, cx).await.map_err(ApplicationError::Host)?;
        }
        failed_beside.map_or(restored, Err)
    }

    /// Makes sure that a generation can start: with the environment that it had, unless a reboot has taken that. What runs of it
    /// has it still.
    async fn made_ready(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        if ground.host.files.stat(&placed.environment_file()).await.map_err(ApplicationError::Host)?.is_some() {
            return ground.place(slot, placed).await.map_err(ApplicationError::Host);
        }
        for name in placed.generation.secrets.iter().filter(|name| !self.environment.contains_key(*name)) {
            cx.progress(Progress::Warning(format!("{placed} starts without {name}, which `environment` no longer has")));
        }
        let environment = self.environment_file(placed, cx)?;
        ground.prepare(slot, placed, &environment).await.map_err(ApplicationError::Host)
    }

    /// Stopping what has failed, and proving again what served before.
    pub(super) fn time_to_go_back(&self) -> Duration {
        self.ready.timeout() + self.ready.stays() + self.stop.grace() + KILLED_WITHIN
    }
}
