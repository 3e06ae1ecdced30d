//! The last look: checks every unit of a service or an application, when all else has ended and
//! no signal has been sent yet.
//!
//! A step ends when its unit is up. Later failures would go unnoticed: the unit may die a second later, or be stopped
//! by a conflicting unit. The step decides which state of a unit is good, and how long it may take. Each result is
//! recorded as soon as it is known, whatever the others wait for.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;

use super::unit::context;
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::host::{HostError, Unit};
use crate::plan::Plan;
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::sorting::Sort as _;
use crate::step::{Judgment, Look, Progress, World};

/// How long the query is repeated while systemd does not answer.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long a restarted unit is watched. A unit that fails repeatedly usually fails again within this time: systemd
/// restarts it after 100 ms, unless its RestartSec= says otherwise.
const WATCHED: Duration = Duration::from_secs(5);

/// The part of a last glance that is reserved for recording what was seen.
const RECORDED_WITHIN: Duration = Duration::from_millis(200);

/// The steps whose units should be up, without those that failed or did not run.
pub(super) fn claimed(plan: &Plan, recorder: &Recorder) -> Vec<usize> {
    let report = recorder.report();
    let is_well = |at: &usize| matches!(report.steps[*at].outcome, Outcome::Changed | Outcome::Unchanged);
    (0..plan.nodes.len()).filter(|at| plan.nodes[*at].outline.has_units).filter(is_well).collect()
}

/// Whether any step has units to check at the end.
pub(super) fn is_due(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| node.outline.has_units)
}

/// A unit that cannot be judged yet, and what was seen of it.
#[derive(Debug, Clone)]
struct Open {
    /// The index of its step.
    at: usize,
    unit: String,
    moved: bool,
    /// When it was first found restarted, counted from the beginning of the look.
    restarted: Option<Duration>,
}

/// The last look at the services and applications of a boot.
pub(super) struct Proof<'a> {
    pub(super) plan: &'a Plan,
    pub(super) world: &'a World,
    pub(super) recorder: &'a Recorder,
}

impl Proof<'_> {
    /// Looks repeatedly until each unit is known to be up, and fails the steps whose units are not.
    /// Notifies `failed` of each failure.
    pub(super) async fn look(&self, failed: &Notify) {
        let (clock, mut pauses) = (&self.world.host.clock, Backoff::PROBE.pauses());
        let begun = clock.elapsed();
        let mut unanswered_since = None;
        let mut judging = FuturesUnordered::new();
        let mut left = self.all();
        loop {
            let (asked, waited) = (std::mem::take(&mut left), clock.elapsed() - begun);
            match meanwhile(&mut judging, &mut left, self.shown(&asked)).await {
                Ok(found) => {
                    unanswered_since = None;
                    judging.extend(asked.into_iter().zip(found).map(|(open, found)| self.judged(open, found, waited, failed)));
                }
                Err(error) if waited - *unanswered_since.get_or_insert(waited) >= ANSWERS => {
                    let error = Explanation::of(&error);
                    asked.iter().for_each(|open| self.recorder.finished(open.at, Outcome::Failed, Some(&error)));
                    failed.notify_one();
                }
                Err(error) => {
                    log::debug!("{error}");
                    left.extend(asked);
                }
            }
            while left.is_empty() {
                let Some(again) = judging.next().await else { return };
                left.extend(again);
            }
            meanwhile(&mut judging, &mut left, clock.sleep(pauses.next())).await;
        }
    }

    /// Looks once, for at most `within`, and fails the steps whose units are not up. Returns the
    /// steps that could not be judged.
    pub(super) async fn glance(&self, within: Duration) -> Vec<usize> {
        let clock = &self.world.host.clock;
        let end = clock.elapsed() + within;
        let left = self.all();
        let mut unknown: Vec<usize> = left.iter().map(|open| open.at).collect();
        let glanced = async {
            let Ok(found) = self.shown(&left).await else { return };
            let deadline = end.saturating_sub(RECORDED_WITHIN);
            let mut judging: FuturesUnordered<_> =
                left.iter().zip(&found).map(|(open, found)| self.glanced(open, found, deadline)).collect();
            while let Some((at, is_known)) = judging.next().await {
                // If a step has several units, each of them has to be known.
                if is_known && let Some(known) = unknown.iter().position(|open| *open == at) {
                    unknown.swap_remove(known);
                }
            }
        };
        tokio::select! {
            biased;
            () = glanced => {}
            () = clock.sleep(within) => {}
        }
        unknown.order();
        unknown.dedup();
        unknown
    }

    fn all(&self) -> Vec<Open> {
        let units = |at: usize| {
            let units = self.world.known.units(&self.plan.nodes[at].address);
            units.into_iter().map(move |unit| Open { at, unit, moved: false, restarted: None })
        };
        claimed(self.plan, self.recorder).into_iter().flat_map(units).collect()
    }

    /// The state of their units, from systemd.
    async fn shown(&self, open: &[Open]) -> Result<Vec<Unit>, HostError> {
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = open.iter().map(|open| open.unit.clone()).collect();
        self.world.host.units.show(&names).await
    }

    /// Judges a unit and records the result. Returns the unit if it must be looked at again.
    async fn judged(&self, open: Open, found: Unit, waited: Duration, failed: &Notify) -> Option<Open> {
        let look = Look { waited, is_last: false, moved: open.moved, restarted: open.restarted.is_some() };
        let is_watched = open.restarted.is_some_and(|since| waited.saturating_sub(since) < WATCHED);
        let again = match self.judge(open.at, &found, look, Duration::MAX).await {
            Ok(Judgment::Sound) if is_watched => open,
            Ok(Judgment::Sound) => {
                self.recorder.rested(open.at);
                return None;
            }
            Ok(Judgment::Open) => Open { moved: true, ..open },
            Ok(Judgment::Restarted) => Open { restarted: Some(waited), ..open },
            Err(error) => {
                self.recorder.finished(open.at, Outcome::Failed, Some(&error));
                failed.notify_one();
                return None;
            }
        };
        let what = if again.restarted.is_some() { "to see whether its unit stays up" } else { "for its unit to settle" };
        self.recorder.progress(again.at, &Progress::Waiting(what.into()));
        Some(again)
    }

    /// Judges a unit for the last time, until `deadline`. Returns the step, and whether the unit could be judged.
    async fn glanced(&self, open: &Open, found: &Unit, deadline: Duration) -> (usize, bool) {
        let look = Look { waited: Duration::ZERO, is_last: true, moved: false, restarted: false };
        match self.judge(open.at, found, look, deadline).await {
            Ok(Judgment::Sound) => self.recorder.rested(open.at),
            Ok(Judgment::Open | Judgment::Restarted) => return (open.at, false),
            Err(error) => self.recorder.finished(open.at, Outcome::Failed, Some(&error)),
        }
        (open.at, true)
    }

    async fn judge(&self, at: usize, found: &Unit, look: Look, deadline: Duration) -> Result<Judgment, Explanation> {
        let observer = move |progress: Progress| self.recorder.progress(at, &progress);
        self.plan.nodes[at].step.judge(found, look, &context(self.plan, at, self.world, &observer, deadline)).await
    }
}

/// Waits for `awaited`, and collects finished judgments in the meantime: `left` are the units to look at again.
async fn meanwhile<T>(
    judging: &mut FuturesUnordered<impl Future<Output = Option<Open>>>,
    left: &mut Vec<Open>,
    awaited: impl Future<Output = T>,
) -> T {
    let mut awaited = pin!(awaited);
    loop {
        tokio::select! {
            biased;
            Some(again) = judging.next() => left.extend(again),
            done = &mut awaited => return done,
        }
    }
}
