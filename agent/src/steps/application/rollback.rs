//! Going back to the generation before, and stopping the one that is done with.

use std::time::Duration;

use super::change::Change;
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
        Change::Settle { slot, .. } | Change::Switch { slot, .. } | Change::Hooks { slot, .. } => Some(*slot),
        // What is stopped is what was before.
        Change::Stop { slot, .. } => Some(slot.other()),
        Change::Configure { site, .. } => unless_it_serves(site.slot),
        Change::Serve { slot, .. } | Change::Withdraw { slot, .. } => unless_it_serves(*slot),
        Change::Refuse { .. } | Change::Pull { .. } | Change::Check { .. } | Change::Build { .. } | Change::Extend { .. } => {
            Some(ground.serving().map_or(Slot::A, |(slot, _)| slot.other()))
        }
        Change::Provide { .. } | Change::Retire { .. } | Change::Depart { .. } => None,
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
        // Of one that does not run, the connections are those of another on the same port.
        if ground.states(placed).await?.get(WEB).is_some_and(|web| health(web) == Health::Sound) {
            cx.waiting(format!("for the requests that {placed} still answers"));
            let limit = self.proxy.timeout().unwrap_or(DRAIN).min(cx.time_left().saturating_sub(self.stop.grace()));
            if !ground.drained(slot, placed, limit).await? {
                cx.progress(Progress::Warning(format!("{placed} still had connections after {limit:?}, and was asked to stop")));
            }
        }
        cx.waiting(format!("for {placed} to stop"));
        ground.retire(slot, placed).await
    }

    /// After a failure in no slot: what serves goes on, or comes up first where a reboot has ended it.
    pub(super) async fn not_in_a_slot(&self, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        match (serving(ground).await, ground.memory.current()) {
            (None, Some(slot)) => self.go_back(slot.other(), error, ground, cx).await,
            (version, _) => error.keeping(version),
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
                let restored = front::restore(ground.memory.current(), ground, cx).await;
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
        let runs = |process: &str| found.running.contains(&placed.unit(process));
        if let Some(new) = &new {
            // Whatever comes in between, it is not what is gone back to.
            ground.memory.set_slot(failed, new, false).await.map_err(ApplicationError::Host)?;
        }
        // The environment that it had, unless a reboot has taken that: what runs of it has it still.
        let has_environment = ground.host.files.stat(&placed.environment_file()).await.map_err(ApplicationError::Host)?.is_some();
        if !has_environment {
            for name in placed.generation.secrets.iter().filter(|name| !self.environment.contains_key(*name)) {
                cx.progress(Progress::Warning(format!("{placed} starts without {name}, which `environment` no longer has")));
            }
            let environment = self.environment_file(placed, cx)?;
            ground.prepare(failed.other(), placed, &environment).await.map_err(ApplicationError::Host)?;
        }
        if placed.has_services() {
            ground.link_variables(placed).await.map_err(ApplicationError::Host)?;
        }
        if runs(WEB) {
            // It gets its requests back at once. The proxy passes to both until it has read its former configuration.
            ground.switch(failed.other()).await.map_err(ApplicationError::Host)?;
        }
        // One that does not overlap has the port of the other, or that of the proxy.
        let in_the_way = |new: &&Placed| !runs(WEB) && (new.port == placed.port || !Slot::is_apart(new.port));
        if let Some(new) = new.as_ref().filter(in_the_way) {
            ground.stop(new, &new.processes()).await.map_err(ApplicationError::Host)?;
        }
        let restored = front::restore(Some(failed.other()), ground, cx).await;
        if !runs(WEB) {
            prove::launched(placed, WEB, ground, cx).await?;
            prove::serves(&self.ready, placed, ground, cx).await?;
            ground.switch(failed.other()).await.map_err(ApplicationError::Host)?;
        }
        ground.point_current(placed).await.map_err(ApplicationError::Host)?;
        if let Some(new) = &new {
            let alone: Vec<&str> = new.processes().into_iter().filter(|name| !self.overlap().covers(name)).collect();
            ground.stop(new, &alone).await.map_err(ApplicationError::Host)?;
        }
        let mut failed_beside = None;
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

    /// Stopping what has failed, and proving once more what served before.
    pub(super) fn time_to_go_back(&self) -> Duration {
        self.ready.timeout() + self.stop.grace() + KILLED_WITHIN
    }
}
