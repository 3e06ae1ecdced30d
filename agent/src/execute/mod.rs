//! Runs a plan: every step the moment what it needs is done.
//!
//! Dull on purpose. [`schedule`] says what may run, steps decide what to do, [`mod@unit`] has them do it, and [`retry`] says
//! when to try again; [`fallback`] sees to what was up before; [`proof`] looks at all services again before a boot is
//! called good; what is here only puts them together; [`written`] keeps the report of it on disk.

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

/// How long signals may take of a boot that is over: its deadline has passed, or it ended before its first step.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(20);

/// What the end of a boot waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    /// A unit of the plan.
    Unit(usize),
    /// What a unit falls back on before its turn has come.
    Early(usize),
    /// What a unit that has failed, or never runs, falls back on.
    Fallen(usize),
    /// What is done once all of this has gone well, and before anybody is told so.
    BeforeTold,
    /// The last look at all services.
    LastLook,
}

/// Why a boot is ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its time is over: what still runs fails, and signals tell what the boot came to.
    Deadline(Explanation),
    /// Someone has asked for it. The next boot goes on where this one was, so no one is told that it failed.
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
    running: FuturesUnordered<LocalBoxFuture<'a, (Awaited, Ended)>>,
    /// Of the units, all but those beside the boot.
    awaited: BTreeSet<Awaited>,
    /// What comes after everything and is free to start, but for the last look.
    held: Vec<usize>,
    /// Units that fall back on something before their turn has come, and what has to have ended for that.
    early: Vec<(usize, Vec<usize>)>,
    /// Units that have failed, or never run, and fall back on something once all they need has ended: it may be known by then
    /// what that takes.
    fallen: Vec<usize>,
    /// Units that were cut off, and go back to something.
    cut: Vec<usize>,
    is_looking: bool,
    before_told: Option<LocalBoxFuture<'a, ()>>,
    /// How signals stand to the evidence of a failure.
    hold: Hold,
    /// Notified of each service that the last look finds dead.
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

    /// Has the boot do this once all its steps have ended but those that come after everything. It bounds itself, and adds to
    /// the report what goes wrong.
    pub(crate) fn before_told(&mut self, work: LocalBoxFuture<'a, ()>) {
        self.before_told = Some(work);
        self.awaited.insert(Awaited::BeforeTold);
    }

    /// Runs until every step has ended that the boot waits for; `stop` ends it early, and says why.
    ///
    /// What stands beside the boot has begun by then, and goes on with [`beside`](Execution::beside). A boot that failed
    /// ends it: whoever started us is to hear of the failure at once.
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
                self.abort(&Explanation::new("the boot failed before this came to its end", None));
            }
            None => {}
            Some(Halt::Asked(why)) => {
                self.abort(&why);
                // Without this it would be a good boot whose services no one has looked at.
                if self.awaited.remove(&Awaited::LastLook) && (self.is_looking || !recorder.report().has_failed()) {
                    self.end_unproven(&proof::claimed(self.plan, recorder), &why);
                }
            }
            // Until they are told, hooks wait for as long as they hear of it.
            Some(Halt::Deadline(why)) => tokio::select! {
                biased;
                () = self.cut_off(&why) => {}
                never = &mut meanwhile => match never {},
            },
        }
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
        written::written_within(host, recorder, lock).await;
    }

    /// Leaves out what still runs beside a boot that is over, without counting it as failed.
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
                // Whoever waits for the boot is told at once.
                () = self.failed.notified() => continue,
            };
            let Some((what, ended)) = ended else { return };
            self.note_end(what, ended);
        }
    }

    /// Notes that something has ended, and what never runs because of it.
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

    /// Starts what may run now.
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
        // Of a boot that has failed, whoever waits is told at once.
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

    /// Starts those of the signals that have to wait for no other.
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

    /// Whether any signal of this turn has not ended.
    fn is_left(&self, turn: Turn) -> bool {
        let of_turn = |unit: usize| self.plan.units[unit].last && self.turn(unit) == turn;
        self.awaited.iter().any(|what| matches!(what, Awaited::Unit(unit) if of_turn(*unit)))
    }

    /// How long signals of a failure would wait from now on for its evidence, at the most.
    pub(crate) fn held_for(&self) -> Duration {
        self.held().longest
    }

    fn held(&self) -> Held {
        let waiting = &self.world.waiting;
        let now = self.world.host.clock.elapsed();
        if self.is_left(Turn::Evidence) { Held::of(waiting.hook_left(now), waiting.left(now)) } else { Held::default() }
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
