//! What was up before is up where a step does not come to its turn: it may come late, never, or be cut off.

use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};

use super::schedule::Ended;
use super::unit::{fall_back, falls_back};
use super::{Awaited, Execution, written};
use crate::report::Outcome;
use crate::step::Fallback;

/// How long a unit whose turn has come waits for what it has fallen back on before that.
const EARLY_WITHIN: Duration = Duration::from_secs(60);

/// How long what was cut off may take to go back. systemd ends ingot five minutes after the deadline of its boot.
const BACK_WITHIN: Duration = Duration::from_secs(240);

impl<'a> Execution<'a> {
    /// Whether a unit still falls back on something before its turn.
    pub(super) fn is_early(&self, unit: usize) -> bool {
        self.awaited.contains(&Awaited::Early(unit))
    }

    /// Has a unit that has failed, or never runs, fall back on something, and the boot wait for that as it did for the unit.
    pub(super) fn falls_behind(&mut self, unit: usize, is_awaited: bool) {
        if falls_back(self.plan, unit) {
            self.fallen.push(unit);
            self.awaited.extend(is_awaited.then_some(Awaited::Fallen(unit)));
        }
    }

    /// Has units fall back on something that may do so now.
    pub(super) fn start_fallbacks(&mut self) {
        let has_ended = |unit: &usize| self.schedule.has_ended(*unit);
        let early: Vec<_> = self.early.extract_if(.., |(_, needs)| needs.iter().all(has_ended)).collect();
        for (unit, _) in early {
            // Those whose turn has come wait for nothing more.
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

    /// Ends what runs where it is, and remembers what of it goes back to something.
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

    /// Has applications that were cut off serve in the release of before: of those whose releases do not overlap, none may.
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
