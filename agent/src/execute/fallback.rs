//! Keeps what was running before in service while a step is late, does not run, or is interrupted.

use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};

use super::schedule::Ended;
use super::unit::{fall_back, falls_back};
use super::{Awaited, Execution, written};
use crate::report::Outcome;
use crate::step::Fallback;

/// How long a unit that could start waits for its early fallback to end.
const EARLY_WITHIN: Duration = Duration::from_secs(60);

/// How long steps that were cut off may take to go back. systemd ends ingot five minutes after
/// the deadline of its boot.
const BACK_WITHIN: Duration = Duration::from_secs(240);

impl<'a> Execution<'a> {
    /// Whether an early fallback of this unit is still running.
    pub(super) fn is_early(&self, unit: usize) -> bool {
        self.awaited.contains(&Awaited::Early(unit))
    }

    /// Starts the fallback of a unit that has failed, or never runs. The boot waits for the
    /// fallback if it waited for the unit.
    pub(super) fn falls_behind(&mut self, unit: usize, is_awaited: bool) {
        if falls_back(self.plan, unit) {
            self.fallen.push(unit);
            self.awaited.extend(is_awaited.then_some(Awaited::Fallen(unit)));
        }
    }

    /// Starts every fallback that may start now.
    pub(super) fn start_fallbacks(&mut self) {
        let has_ended = |unit: &usize| self.schedule.has_ended(*unit);
        let early: Vec<_> = self.early.extract_if(.., |(_, needs)| needs.iter().all(has_ended)).collect();
        for (unit, _) in early {
            // A unit that could start already gets no early fallback.
            if !self.schedule.has_ended(unit) && !self.held.contains(&unit) {
                self.awaited.insert(Awaited::Early(unit));
                self.start_fallback(Awaited::Early(unit), unit, Fallback::Meanwhile, EARLY_WITHIN);
            }
        }
        let may_fall = |unit: &usize| {
            let is_free = !self.awaited.contains(&Awaited::Early(*unit));
            is_free && self.plan.units[*unit].needs.iter().all(|need| self.schedule.has_ended(need.unit))
        };
        let fallen: Vec<usize> = self.fallen.extract_if(.., |unit| may_fall(unit)).collect();
        for unit in fallen {
            self.start_fallback(Awaited::Fallen(unit), unit, Fallback::Instead, Duration::MAX);
        }
    }

    fn start_fallback(&mut self, what: Awaited, unit: usize, when: Fallback, limit: Duration) {
        let (plan, world, recorder) = (self.plan, self.world, self.recorder);
        self.running.push(Box::pin(async move {
            fall_back(plan, unit, world, recorder, when, limit).await;
            (what, Ended::Well)
        }));
    }

    /// Drops everything that is running, and remembers which of it must go back.
    pub(super) fn drop_running(&mut self) {
        self.running.clear();
        self.fallen.clear();
        let is_open = |unit: &usize| {
            let first = self.plan.units[*unit].members[0];
            let is_open = matches!(self.recorder.report().steps[first].outcome, Outcome::Running | Outcome::Pending);
            is_open || self.awaited.contains(&Awaited::Fallen(*unit))
        };
        let cut = (0..self.plan.units.len()).filter(|unit| falls_back(self.plan, *unit) && is_open(unit));
        self.cut.extend(cut);
    }

    /// Makes applications that were cut off serve their previous release. If their releases must
    /// not overlap, none may be running at this time.
    pub(crate) async fn go_back(&mut self) {
        let back = self.back();
        tokio::select! {
            biased;
            () = back => {}
            never = written::keep(&self.world.host, self.recorder) => match never {},
        }
    }

    pub(super) fn back(&mut self) -> LocalBoxFuture<'a, ()> {
        let (plan, world, recorder) = (self.plan, self.world, self.recorder);
        let cut = std::mem::take(&mut self.cut).into_iter();
        let back: Vec<_> = cut.map(|unit| fall_back(plan, unit, world, recorder, Fallback::Instead, BACK_WITHIN)).collect();
        Box::pin(async move {
            join_all(back).await;
        })
    }
}
