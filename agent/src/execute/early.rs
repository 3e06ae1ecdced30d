//! How a boot ends early: its deadline passes, it is asked to end, or a required step fails.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::StreamExt as _;

use super::proof::Proof;
use super::verdict::{told_last, verdict};
use super::{Awaited, Execution, LAST_WORDS};
use crate::failure::Explanation;
use crate::report::{Outcome, StepReport};
use crate::step::Verdict;

/// How long systemd may take to describe all services once the deadline of the boot has passed.
const GLANCE: Duration = Duration::from_secs(2);

impl Execution<'_> {
    /// Ends a boot whose deadline has passed, except for its signals and for steps that were
    /// interrupted in the middle of a switch.
    pub(super) async fn cut_off(&mut self, why: &Explanation) {
        self.finish_before_told().await;
        self.drop_running();
        self.held.clear();
        let clock = self.world.host.clock.clone();
        let mut unproven = Vec::new();
        if self.awaited.contains(&Awaited::LastLook) {
            unproven = Proof { plan: self.plan, world: self.world, recorder: self.recorder }.glance(GLANCE).await;
        }
        self.end(why, &told_last(self.plan));
        self.end_unproven(&unproven, why);
        if let Some(work) = self.before_told.take() {
            work.await;
        }
        // Signals wait for nothing that was cut off.
        self.awaited.retain(|what| matches!(what, Awaited::Unit(_)));
        // If only optional steps were cut off, the boot is degraded, and that is a success.
        let redactor = &self.world.redactor;
        self.world.known.set_verdict(|| verdict(self.plan, self.recorder, redactor).unwrap_or(Verdict::Well));
        // Signals that already wait for evidence are not started again.
        self.world.waiting.be_late(clock.elapsed() + LAST_WORDS);
        for unit in self.schedule.cut_off() {
            self.awaited.remove(&Awaited::Unit(unit));
            self.plan.units[unit].members.iter().for_each(|member| self.recorder.skipped(*member, None));
        }
        // Signals have as much time as without evidence.
        let within = LAST_WORDS + self.held_for();
        let back = self.back();
        let told = async {
            tokio::select! {
                biased;
                () = self.run(true) => {}
                () = clock.sleep(within) => {}
            }
            self.abort(why);
        };
        join(told, back).await;
    }

    /// Finishes the work that comes before any signal, which limits its own time. If it were cut
    /// off, its result would be unknown.
    async fn finish_before_told(&mut self) {
        if self.awaited.contains(&Awaited::BeforeTold) && self.before_told.is_none() {
            while let Some((what, ended)) = self.running.next().await {
                self.note_end(what, ended);
                if what == Awaited::BeforeTold {
                    break;
                }
            }
        }
    }

    /// Fails services that are not known to be up.
    pub(super) fn end_unproven(&self, unproven: &[usize], why: &Explanation) {
        let why = why.clone().while_waiting(Some("to see whether it is still up"), false);
        unproven.iter().for_each(|at| self.recorder.finished(*at, Outcome::Failed, Some(&why)));
    }

    /// Ends running steps, and skips the rest.
    pub(super) fn abort(&mut self, why: &Explanation) {
        self.stopped = true;
        self.drop_running();
        self.end(why, &BTreeSet::new());
    }

    /// Ends running steps as if they had not started.
    pub(super) fn leave(&mut self) {
        self.stopped = true;
        self.running.clear();
        let open = |step: &StepReport| matches!(step.outcome, Outcome::Running | Outcome::Pending);
        let left: Vec<usize> = self.recorder.report().steps.iter().enumerate().filter(|(_, step)| open(step)).map(|(at, _)| at).collect();
        left.into_iter().for_each(|at| self.recorder.skipped(at, None));
    }

    /// Records the end of every step that has not ended, except for `spared`.
    fn end(&self, why: &Explanation, spared: &BTreeSet<usize>) {
        let left: Vec<(usize, Option<Explanation>)> = {
            let report = self.recorder.report();
            let steps = report.steps.iter().enumerate().filter(|(at, _)| !spared.contains(at));
            let left = steps.filter_map(|(at, step)| match step.outcome {
                Outcome::Running => Some((at, Some(step.cut_off(why.clone())))),
                Outcome::Pending => Some((at, None)),
                _ => None,
            });
            left.collect()
        };
        for (at, why) in left {
            match why {
                Some(why) => self.recorder.finished(at, Outcome::Failed, Some(&why)),
                None => self.recorder.skipped(at, None),
            }
        }
    }
}
