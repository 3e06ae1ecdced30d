//! Runs a plan: each step starts as soon as the steps it needs are done.
//!
//! Dull on purpose. [`schedule`] says what may run, steps decide what to do, [`mod@unit`] makes them do
//! it, and [`retry`] says when to try again; [`fallback`] keeps what was running before in service;
//! [`proof`] checks all services again before a boot counts as successful; [`written`] keeps the report
//! on disk. This file only puts them together.

mod early;
mod evidence;
mod fallback;
mod proof;
mod retry;
pub(crate) mod schedule;
mod turns;
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
use crate::step::{Held, Outputs, Progress, Turn, Verdict, World};
pub(crate) use evidence::testify;
use proof::Proof;
use schedule::{Ended, Schedule};
use turns::Hold;
use unit::context;
use verdict::verdict;
pub(crate) use written::{publish, write_afterwards, write_report};

/// How long the signals of a boot may take after its deadline has passed, or after it ended before its first step.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(20);

/// What the end of a boot waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    /// A unit of the plan.
    Unit(usize),
    /// The fallback of a unit that has not started yet.
    Early(usize),
    /// The fallback of a unit that has failed, or never runs.
    Fallen(usize),
    /// The work that is done once all of this has succeeded, before any signal is sent.
    BeforeTold,
    /// The last look at all services.
    LastLook,
}

/// Why a boot ends early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its deadline has passed: steps that are still running fail, and signals report the result.
    Deadline(Explanation),
    /// A signal asked for it. The next boot resumes where this one stopped, so no failure is signaled.
    Asked(Explanation),
}

impl Halt {
    /// The same, with an extended explanation.
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
    running: FuturesUnordered<LocalBoxFuture<'a, (Awaited, Ended)>>,
    /// What the end of the boot waits for. Among the units, all but those in the background.
    awaited: BTreeSet<Awaited>,
    /// Units that come after everything, and only wait for the last look.
    held: Vec<usize>,
    /// Units with an early fallback, and the units that must have ended before it starts.
    early: Vec<(usize, Vec<usize>)>,
    /// Units that have failed, or never run, and fall back once all their needs have ended: the
    /// fallback may depend on them.
    fallen: Vec<usize>,
    /// Units that were cut off, and must go back.
    cut: Vec<usize>,
    is_looking: bool,
    before_told: Option<LocalBoxFuture<'a, ()>>,
    /// Whether signals wait for the evidence of a failure.
    hold: Hold,
    /// Notified when the last look finds that a service is not up.
    failed: Rc<Notify>,
    stopped: bool,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(plan: &'a Plan, world: &'a World, recorder: &'a Recorder) -> Self {
        let units = plan.awaited();
        recorder.amend(|report| report.steps = steps_of(plan, &units));
        for node in &plan.nodes {
            if let Some(path) = &node.outline.foretold {
                world.known.foretell(node.address.clone(), Outputs::at(path));
            }
        }
        let mut awaited = BTreeSet::new();
        awaited.extend(units.into_iter().map(Awaited::Unit));
        if proof::is_due(plan) {
            awaited.insert(Awaited::LastLook);
        }
        let (schedule, running) = (Schedule::new(&plan.units), FuturesUnordered::new());
        let (held, fallen, cut, failed) = (Vec::new(), Vec::new(), Vec::new(), Rc::new(Notify::new()));
        let (is_looking, hold, stopped) = (false, Hold::Not, false);
        let before_told = None;
        let early = unit::early(plan);
        Self { plan, world, recorder, schedule, running, awaited, held, early, fallen, cut, is_looking, before_told, hold, failed, stopped }
    }

    /// Adds work that the boot does once all steps have ended, except those that come after everything. The work limits
    /// its own time, and adds its failures to the report.
    pub(crate) fn before_told(&mut self, work: LocalBoxFuture<'a, ()>) {
        self.before_told = Some(work);
        self.awaited.insert(Awaited::BeforeTold);
    }

    /// Runs until every step that the boot waits for has ended; `stop` ends it early, and says why.
    ///
    /// Steps that run in the background have started by then, and continue in [`beside`](Execution::beside). If the
    /// boot failed, they are ended, so that the failure is reported at once.
    pub(crate) async fn boot(&mut self, stop: impl Future<Output = Halt>) {
        let (host, recorder) = (&self.world.host, self.recorder);
        let mut meanwhile = meanwhile(self.plan, self.world, recorder);
        let stopped = tokio::select! {
            biased;
            () = self.run(false) => None,
            never = written::keep(host, recorder) => match never {},
            never = &mut meanwhile => match never {},
            why = stop => Some(why),
        };
        match stopped {
            None if recorder.report().has_failed() => {
                self.abort(&Explanation::new("the boot failed before this ended", None));
            }
            None => {}
            Some(Halt::Asked(why)) => {
                self.abort(&why);
                // Otherwise the boot would count as successful although its services were not checked.
                if self.awaited.remove(&Awaited::LastLook) && (self.is_looking || !recorder.report().has_failed()) {
                    self.end_unproven(&proof::claimed(self.plan, recorder), &why);
                }
            }
            // Until the signals are sent, hooks are kept waiting by heartbeats, within their limits.
            Some(Halt::Deadline(why)) => tokio::select! {
                biased;
                () = self.cut_off(&why) => {}
                never = &mut meanwhile => match never {},
            },
        }
    }

    /// Runs the background steps of a boot that is over. The caller has written the report; it is kept up to date until
    /// a later boot replaces it. If another process holds `lock`, that is such a boot.
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
        written::written_within(host, recorder, lock).await;
    }

    /// Skips the background steps that are still running after a boot, without counting them as failed.
    pub(crate) async fn leave_beside(&mut self, lock: &dyn BootLock) {
        if !self.running.is_empty() {
            self.leave();
            written::written_within(&self.world.host, self.recorder, lock).await;
        }
    }

    /// Runs units until all have ended, or all that the boot waits for.
    async fn run(&mut self, all: bool) {
        loop {
            self.start_ready();
            if !all && self.awaited.is_empty() {
                return;
            }
            let left = match self.hold {
                Hold::Until { then, .. } => Some(then.saturating_sub(self.world.host.clock.elapsed())),
                Hold::Not | Hold::Over => None,
            };
            let ended = tokio::select! {
                biased;
                ended = self.running.next(), if left.is_none() || !self.running.is_empty() => ended,
                () = self.world.host.clock.sleep(left.unwrap_or_default()), if left.is_some() => {
                    self.hold = self.hold.once_over(self.world.host.clock.elapsed(), self.world.waiting.upload.silent_for());
                    continue;
                }
                // The signals are sent at once.
                () = self.failed.notified() => continue,
            };
            let Some((what, ended)) = ended else { return };
            self.note_end(what, ended);
        }
    }

    /// Records that something has ended, and which units never run because of it.
    fn note_end(&mut self, what: Awaited, ended: Ended) {
        let is_awaited = self.awaited.remove(&what);
        let Awaited::Unit(unit) = what else { return };
        if ended != Ended::Well {
            self.falls_behind(unit, is_awaited);
        }
        for (skipped, needs) in self.schedule.finished(unit, ended) {
            let is_awaited = self.awaited.remove(&Awaited::Unit(skipped));
            self.falls_behind(skipped, is_awaited);
            let needs = self.plan.nodes[self.plan.units[needs].members[0]].address.clone();
            self.plan.units[skipped].members.iter().for_each(|member| self.recorder.skipped(*member, Some(needs.clone())));
        }
    }

    /// Starts everything that may run now.
    fn start_ready(&mut self) {
        let (plan, world, recorder) = (self.plan, self.world, self.recorder);
        self.held.extend(std::iter::from_fn(|| self.schedule.next_ready()));
        self.start_fallbacks();
        let is_last = |unit: &usize| plan.units[*unit].last;
        let is_looked_for = self.awaited.contains(&Awaited::LastLook);
        let is_open = is_looked_for || self.awaited.contains(&Awaited::BeforeTold);
        let comes_after = |what: &Awaited| match what {
            Awaited::Unit(unit) => is_last(unit),
            Awaited::Early(_) | Awaited::Fallen(_) => false,
            Awaited::BeforeTold | Awaited::LastLook => true,
        };
        let is_over = is_open && self.awaited.iter().all(comes_after);
        if is_over
            && !is_looked_for
            && let Some(work) = self.before_told.take()
        {
            self.running.push(Box::pin(async move {
                work.await;
                (Awaited::BeforeTold, Ended::Well)
            }));
        }
        if is_over && is_looked_for && !self.is_looking {
            self.is_looking = true;
            let failed = self.failed.clone();
            self.running.push(Box::pin(async move {
                Proof { plan, world, recorder }.look(&failed).await;
                (Awaited::LastLook, Ended::Well)
            }));
        }
        // If the boot has failed, the signals are sent at once.
        let must_wait = is_open && self.held.iter().any(is_last) && verdict(plan, recorder, &world.redactor).is_none();
        let (start, hold): (Vec<usize>, Vec<usize>) =
            std::mem::take(&mut self.held).into_iter().partition(|unit| !self.is_early(*unit) && (!must_wait || !is_last(unit)));
        self.held = hold;
        let (last, now): (Vec<usize>, Vec<usize>) = start.into_iter().partition(is_last);
        now.into_iter().for_each(|unit| self.start(unit));
        if !last.is_empty() {
            self.start_last(last);
        }
    }

    /// Starts the signals that do not have to wait for others.
    fn start_last(&mut self, ready: Vec<usize>) {
        let world = self.world;
        world.waiting.tell();
        world.known.set_verdict(|| verdict(self.plan, self.recorder, &world.redactor).unwrap_or(Verdict::Well));
        let failed = world.known.verdict() != Verdict::Well;
        if failed && self.hold == Hold::Not {
            let (now, Held { surely, longest }) = (world.host.clock.elapsed(), self.held());
            self.hold = Hold::Until { then: now + surely, last: now + longest };
        }
        if !self.is_left(Turn::Evidence) {
            self.hold = Hold::Over;
        }
        for unit in ready {
            if turns::must_wait(self.turn(unit), failed, self.hold, |turn| self.is_left(turn)) {
                self.held.push(unit);
            } else {
                self.start(unit);
            }
        }
    }

    fn start(&mut self, unit: usize) {
        let (plan, world, recorder) = (self.plan, self.world, self.recorder);
        self.early.retain(|(early, _)| *early != unit);
        self.running.push(Box::pin(async move { (Awaited::Unit(unit), unit::run(plan, unit, world, recorder).await) }));
    }

    fn turn(&self, unit: usize) -> Turn {
        self.plan.nodes[self.plan.units[unit].members[0]].outline.turn
    }

    /// Whether any signal of this turn has not ended yet.
    fn is_left(&self, turn: Turn) -> bool {
        let of_turn = |unit: usize| self.plan.units[unit].last && self.turn(unit) == turn;
        self.awaited.iter().any(|what| matches!(what, Awaited::Unit(unit) if of_turn(*unit)))
    }

    /// The longest time for which signals of a failure would wait for its evidence, from now on.
    pub(crate) fn held_for(&self) -> Duration {
        self.held().longest
    }

    fn held(&self) -> Held {
        let waiting = &self.world.waiting;
        let now = self.world.host.clock.elapsed();
        if self.is_left(Turn::Evidence) { Held::of(waiting.hook_left(now), waiting.left(now)) } else { Held::default() }
    }
}

/// Runs what steps do in the background while the boot lasts. Never returns.
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

/// The initial report of every step.
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
