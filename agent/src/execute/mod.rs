//! Runs a plan: every step the moment what it needs is done.
//!
//! Dull on purpose. [`schedule`] says what may run, steps decide what to do, [`mod@unit`] has them do it, and [`retry`] says
//! when to try again; [`proof`] looks at all services once more before a boot is called good; what is here only puts them
//! together; [`written`] keeps the report of it on disk.

mod proof;
mod retry;
pub(crate) mod schedule;
mod unit;
mod verdict;
mod written;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

use crate::address::Address;
use crate::failure::Explanation;
use crate::host::lock::BootLock;
use crate::plan::Plan;
use crate::report::event::Recorder;
use crate::report::{Outcome, StepReport};
use crate::step::{Outputs, Progress, Verdict, World};
use proof::Proof;
use schedule::{Ended, Schedule};
use unit::context;
use verdict::{told_last, verdict};
pub(crate) use written::{publish, write_afterwards, write_report};

/// How long signals may take of a boot that is over: its deadline has passed, or it ended before its first step.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(20);

/// How long systemd may take to tell of all services once the time of the boot is over.
const GLANCE: Duration = Duration::from_secs(2);

/// How long a disk may take for the last report, where that is not in memory: the process has to end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Stands among the units for the last look at all services, which the boot waits for as for any unit.
const LAST_LOOK: usize = usize::MAX;

/// Why a boot is ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its time is over: what still runs fails, and signals tell what the boot came to.
    Deadline(Explanation),
    /// Somebody has asked for it. The next boot goes on where this one was, so nobody is told that it failed.
    Asked(Explanation),
}

impl Halt {
    /// The same, with more said of why.
    pub(crate) fn map(self, explain: impl FnOnce(Explanation) -> Explanation) -> Self {
        match self {
            Self::Deadline(why) => Self::Deadline(explain(why)),
            Self::Asked(why) => Self::Asked(explain(why)),
        }
    }
}

/// A plan that is being run: every step starts as soon as the steps it needs are done.
///
/// A failed step does not stop the others: everything that does not depend on it still runs, so one report shows every
/// problem of this boot. There is therefore no `Result` here.
pub(crate) struct Execution<'a> {
    plan: &'a Plan,
    world: &'a World,
    recorder: &'a Recorder,
    schedule: Schedule,
    running: FuturesUnordered<LocalBoxFuture<'a, (usize, Ended)>>,
    /// Units that the boot waits for: all but those beside it.
    awaited: BTreeSet<usize>,
    /// What comes after everything and is free to start, but for the last look.
    held: Vec<usize>,
    is_looking: bool,
    /// Notified of each service that the last look finds dead.
    failed: Rc<Notify>,
    stopped: bool,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(plan: &'a Plan, world: &'a World, recorder: &'a Recorder) -> Self {
        let mut awaited = plan.awaited();
        recorder.amend(|report| report.steps = steps_of(plan, &awaited));
        for node in &plan.nodes {
            if let Some(path) = &node.outline.foretold {
                world.known.foretell(node.address.clone(), Outputs::at(path));
            }
        }
        if proof::is_due(plan) {
            awaited.insert(LAST_LOOK);
        }
        let (schedule, running) = (Schedule::new(&plan.units), FuturesUnordered::new());
        let (held, failed) = (Vec::new(), Rc::new(Notify::new()));
        Self { plan, world, recorder, schedule, running, awaited, held, is_looking: false, failed, stopped: false }
    }

    /// Runs until every step has ended that the boot waits for; `stop` ends it early, and says why.
    ///
    /// What stands beside the boot has begun by then, and goes on with [`beside`](Execution::beside). A boot that failed
    /// ends it: whoever started us is to hear of the failure at once.
    pub(crate) async fn boot(&mut self, stop: impl Future<Output = Halt>) {
        let (host, recorder) = (&self.world.host, self.recorder);
        let meanwhile = meanwhile(self.plan, self.world, recorder);
        let stopped = tokio::select! {
            biased;
            () = self.run(false) => None,
            never = written::keep(host, recorder) => match never {},
            never = meanwhile => match never {},
            why = stop => Some(why),
        };
        match stopped {
            None if recorder.report().has_failed() => {
                self.abort(&Explanation::new("the boot failed before this came to its end", None));
            }
            None => {}
            Some(Halt::Asked(why)) => {
                self.abort(&why);
                // Without this it would be a good boot whose services nobody has looked at.
                if self.awaited.remove(&LAST_LOOK) && (self.is_looking || !recorder.report().has_failed()) {
                    self.end_unproven(&proof::claimed(self.plan, recorder), &why);
                }
            }
            Some(Halt::Deadline(why)) => self.cut_off(&why).await,
        }
    }

    /// Ends a boot whose time is over, but for its signals.
    async fn cut_off(&mut self, why: &Explanation) {
        self.running.clear();
        self.held.clear();
        let clock = self.world.host.clock.clone();
        let mut unproven = Vec::new();
        if self.awaited.remove(&LAST_LOOK) {
            unproven = Proof { plan: self.plan, world: self.world, recorder: self.recorder }.glance(GLANCE).await;
        }
        self.end(why, &told_last(self.plan));
        self.end_unproven(&unproven, why);
        // If only optional steps were cut off, the boot is degraded, and that is a success.
        let redactor = &self.world.redactor;
        self.world.known.set_verdict(|| verdict(self.plan, self.recorder, redactor).unwrap_or(Verdict::Well));
        for unit in self.schedule.cut_off() {
            self.plan.units[unit].members.iter().for_each(|member| self.recorder.skipped(*member, None));
        }
        tokio::select! {
            biased;
            () = self.run(true) => {}
            () = clock.sleep(LAST_WORDS) => {}
        }
        self.abort(why);
    }

    /// Fails services of which nobody can say whether they are still up.
    fn end_unproven(&self, unproven: &[usize], why: &Explanation) {
        let why = why.clone().while_waiting(Some("to see whether it is still up"), false);
        unproven.iter().for_each(|at| self.recorder.finished(*at, Outcome::Failed, Some(&why)));
    }

    /// Runs what stands beside a boot that is over. Whoever calls this has written the report; it is kept up to date
    /// until a later boot puts its own in its place. Whoever holds `lock` is such a boot.
    pub(crate) async fn beside(&mut self, stop: impl Future<Output = Explanation>, lock: &dyn BootLock) {
        if self.stopped || self.running.is_empty() {
            return;
        }
        let (host, recorder) = (&self.world.host, self.recorder);
        self.world.known.forget_secrets();
        let why = tokio::select! {
            biased;
            () = self.run(true) => None,
            never = written::keep_afterwards(host, recorder, lock) => match never {},
            why = stop => Some(why),
        };
        if let Some(why) = why {
            self.abort(&why);
        }
        tokio::select! {
            biased;
            () = written::write_afterwards(host, recorder, lock) => {}
            () = host.clock.sleep(WRITTEN_WITHIN) => log::warn!("the report is not complete: the disk has not answered for {WRITTEN_WITHIN:?}"),
        }
    }

    /// Runs units until all have ended, or all that the boot waits for.
    async fn run(&mut self, all: bool) {
        loop {
            self.start_ready();
            if !all && self.awaited.is_empty() {
                return;
            }
            let ended = tokio::select! {
                biased;
                ended = self.running.next() => ended,
                // Whoever waits for the boot is told at once.
                () = self.failed.notified() => continue,
            };
            let Some((unit, ended)) = ended else { return };
            self.awaited.remove(&unit);
            if unit == LAST_LOOK {
                continue;
            }
            for (skipped, needs) in self.schedule.finished(unit, ended) {
                self.awaited.remove(&skipped);
                let needs = self.plan.nodes[self.plan.units[needs].members[0]].address.clone();
                self.plan.units[skipped].members.iter().for_each(|member| self.recorder.skipped(*member, Some(needs.clone())));
            }
        }
    }

    /// Starts what may run now.
    fn start_ready(&mut self) {
        let (plan, world, recorder) = (self.plan, self.world, self.recorder);
        self.held.extend(std::iter::from_fn(|| self.schedule.next_ready()));
        let is_open = self.awaited.contains(&LAST_LOOK);
        if is_open && !self.is_looking && self.awaited.iter().all(|unit| *unit == LAST_LOOK || plan.units[*unit].last) {
            self.is_looking = true;
            let failed = self.failed.clone();
            self.running.push(Box::pin(async move {
                Proof { plan, world, recorder }.look(&failed).await;
                (LAST_LOOK, Ended::Well)
            }));
        }
        let is_last = |unit: &usize| plan.units[*unit].last;
        // Of a boot that has failed, whoever waits is told at once.
        let must_wait = is_open && self.held.iter().any(is_last) && verdict(plan, recorder, &world.redactor).is_none();
        let (start, hold): (Vec<usize>, Vec<usize>) =
            std::mem::take(&mut self.held).into_iter().partition(|unit| !must_wait || !is_last(unit));
        self.held = hold;
        for unit in start {
            if plan.units[unit].last {
                world.known.set_verdict(|| verdict(plan, recorder, &world.redactor).unwrap_or(Verdict::Well));
            }
            self.running.push(Box::pin(async move { (unit, unit::run(plan, unit, world, recorder).await) }));
        }
    }

    /// Ends what still runs, and skips the rest.
    fn abort(&mut self, why: &Explanation) {
        self.stopped = true;
        self.running.clear();
        self.end(why, &BTreeSet::new());
    }

    /// Notes the end of every step that has none, but for `spared`.
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

/// What steps do beside the boot for as long as it goes on. Never ends.
fn meanwhile<'a>(plan: &'a Plan, world: &'a World, recorder: &'a Recorder) -> LocalBoxFuture<'a, Infallible> {
    let nodes = plan.nodes.iter().enumerate().filter(|(_, node)| node.outline.goes_on_meanwhile);
    let going_on: Vec<_> = nodes
        .map(|(at, node)| async move {
            let observer = move |progress: Progress| recorder.progress(at, &progress);
            node.step.meanwhile(&context(plan, at, world, &observer, Duration::MAX)).await;
        })
        .collect();
    Box::pin(async move {
        join_all(going_on).await;
        std::future::pending().await
    })
}

/// The report of every step before it has run.
fn steps_of(plan: &Plan, awaited: &BTreeSet<usize>) -> Vec<StepReport> {
    let mut steps: Vec<StepReport> = plan
        .nodes
        .iter()
        .map(|node| StepReport {
            address: node.address.clone(),
            outcome: Outcome::Pending,
            required: node.required,
            beside: false,
            needs: Vec::new(),
            after_rest: false,
            started_ms: None,
            finished_ms: None,
            attempts: 0,
            changes: Vec::new(),
            waiting: None,
            progress: None,
            error: None,
            skipped_for: None,
            idle: Vec::new(),
            unreachable: false,
            refusal: None,
        })
        .collect();
    for (at, unit) in plan.units.iter().enumerate() {
        let needs: Vec<Address> = plan.needs(unit).map(|node| node.address.clone()).collect();
        for member in &unit.members {
            steps[*member].needs.clone_from(&needs);
            steps[*member].beside = !awaited.contains(&at);
            steps[*member].after_rest = unit.waits_for_rest();
        }
    }
    steps
}
