//! Rolls back to the previous generation, and stops a generation that is no longer needed.

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

/// How long to wait for requests if no proxy limits their duration.
const DRAIN: Duration = Duration::from_secs(60);

/// The slot that is freed if a change fails, while the generation in the other slot keeps serving.
pub(super) fn fails_in(change: &Change, ground: &Ground<'_>) -> Option<Slot> {
    let unless_it_serves = |slot: Slot| Some(slot).filter(|slot| ground.memory.current() != Some(*slot));
    match change {
        Change::Prepare { slot, .. } | Change::Launch { slot, .. } | Change::Prove { slot, .. } => Some(*slot),
        Change::Settle { slot, .. } | Change::Switch { slot, .. } | Change::Point { slot, .. } | Change::Hooks { slot, .. } => Some(*slot),
        // The stopped processes are those of the previous generation.
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
    /// Waits for the requests in a slot that receives no new ones, and stops its processes.
    pub(super) async fn retire(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), HostError> {
        let mut held = Vec::new();
        // If its `web` does not run, connections to the port belong to another generation on the same port.
        if ground.states(placed).await?.get(WEB).is_some_and(|web| health(web) == Health::Sound) {
            let (limit, left) = (self.proxy.timeout().unwrap_or(DRAIN), || cx.time_left().saturating_sub(self.stop.grace()));
            // A generation that failed may have failed in the middle of a message.
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

    /// After a failure that affects no slot: the serving generation goes on, or is started first if a reboot has ended
    /// it.
    pub(super) async fn not_in_a_slot(&self, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        match (serving(ground).await, ground.memory.current()) {
            (None, Some(slot)) => self.go_back(slot.other(), error, ground, cx).await,
            (version, _) => error.keeping(version),
        }
    }

    /// Restores the generation that served last, or any missing part of it, if a reboot has ended it and the step does
    /// not get to it.
    pub(super) async fn serve_as_before(&self, ground: &Ground<'_>, cx: &Context<'_>) {
        // The watch comes first: it watches whether the application comes up.
        if let Err(trouble) = ground.watch_again().await {
            cx.progress(Progress::Warning(format!("cannot watch whether {} is up: {}", cx.key(), Explanation::of(&trouble))));
        }
        let proven = |slot: Slot| ground.memory.slot(slot).filter(|(_, proven)| *proven).map(|(placed, _)| (slot, placed));
        // A generation that was rolled back is no longer proven, even if it received requests last.
        let last = ground.memory.current().and_then(|slot| proven(slot).or_else(|| proven(slot.other())));
        let Some((slot, placed)) = last else { return };
        // If the switch was interrupted, parts of the successor may be there.
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
            Err(trouble) => format!("cannot restore {placed}: {}", Explanation::of(&trouble)),
        };
        cx.progress(Progress::Warning(told));
    }

    /// Starts the processes of a generation whose `web` is up that run in neither slot, and nginx if it is down.
    /// Returns whether anything was missing.
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
        // The switch may have been interrupted before this was recorded.
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

    /// Before the step's turn: if the generation that served last has been waiting since a reboot for a secret or for
    /// its proxy's certificate, it serves until then.
    pub(super) async fn serve_meanwhile(&self, ground: &Ground<'_>, cx: &Context<'_>) {
        if ground.memory.current().is_none() {
            return;
        }
        let Ok(mut found) = ground.found().await else { return };
        if let Some(slot) = found.current {
            found.lacks_certificate = self.lacks_certificate(slot, ground, cx).await.unwrap_or_default();
        }
        let Some(Change::Resume { slot, placed }) = found.resumed() else { return };
        // A generation that requests already reach has run since the reboot; restarting it is up to the step.
        let has_waited = !found.is_led && !placed.generation.secrets.is_empty();
        // Its variables may depend on values that are not known yet.
        if (has_waited || found.lacks_certificate) && self.environment_file(&placed, cx).is_ok() {
            if has_waited {
                cx.world.known.set_unproven(cx.address, true);
            }
            self.resume(slot, &placed, ground, cx).await;
        }
    }

    /// Starts the generation that served last, without waiting until it serves, since its successor will follow.
    pub(super) async fn resume(&self, slot: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) {
        let resumed = async {
            self.made_ready(slot, placed, ground, cx).await?;
            let found = ground.found().await.map_err(ApplicationError::Host)?;
            // The proxy may occupy the port of a release that has no proxy.
            let is_bare = ground.memory.front(slot).flatten().is_none();
            if is_bare {
                self.restore(Some(slot), ground, cx).await?;
            }
            // Requests only need `web`.
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

    /// After a failure in a slot: if the generation in the other slot has served before, it serves again.
    pub(super) async fn go_back(&self, failed: Slot, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        let before = ground.memory.slot(failed.other()).filter(|(_, proven)| *proven).map(|(placed, _)| placed);
        let back = match (&before, ground.memory.slot(failed)) {
            (Some(placed), _) => self.serve_again(failed, placed, ground, cx).await,
            // What serves is left as it is, even though something of it has failed.
            (None, Some((new, _))) if ground.memory.current() != Some(failed) => {
                // The recorded configuration of the proxy is removed together with the slot.
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

    /// Makes the previous generation, in the slot opposite `failed`, serve again, and frees `failed`. After a reboot,
    /// only the record of that generation may be left.
    async fn serve_again(&self, failed: Slot, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let found = ground.found().await.map_err(ApplicationError::Host)?;
        let new = ground.memory.slot(failed).map(|(new, _)| new);
        // This excludes a process that keeps restarting, although it counts as running.
        let is_up = found.up.contains(&placed.unit(WEB));
        if let Some(new) = &new {
            // Whatever interrupts this, the failed generation must not become a rollback target.
            ground.memory.set_slot(failed, new, false).await.map_err(ApplicationError::Host)?;
        }
        self.made_ready(failed.other(), placed, ground, cx).await?;
        if is_up {
            // It gets its requests back at once. Until the proxy has read its previous configuration, it passes
            // requests to both slots.
            ground.switch(failed.other()).await.map_err(ApplicationError::Host)?;
        }
        // If the generations do not overlap, the new one occupies the port of the other, or that of the proxy.
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

    /// Makes sure that a generation can start, with its previous environment unless a reboot has removed that.
    /// Processes that still run have it anyway.
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

    /// The time needed to stop what has failed, and to prove the previous generation again.
    pub(super) fn time_to_go_back(&self) -> Duration {
        self.ready.timeout() + self.ready.stays() + self.stop.grace() + KILLED_WITHIN
    }
}
