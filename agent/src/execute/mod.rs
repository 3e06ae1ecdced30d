//! Runs a plan: every step the moment what it needs is done.
//!
//! Dull on purpose. [`schedule`] says what may run, steps decide what to do, [`retry`] says when to try again; what is
//! here only puts them together; [`written`] keeps the report of it on disk.

pub(crate) mod retry;
pub(crate) mod schedule;
mod written;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::address::Address;
use crate::failure::Explanation;
use crate::plan::{Plan, Unit};
use crate::report::event::Recorder;
use crate::report::{Outcome, StepReport};
use crate::step::{Context, Difference, Outputs, Progress, Verdict, World};
use schedule::{Ended, Schedule};
pub(crate) use written::{publish, write_afterwards, write_report};

/// Far more changes, one after the other, than any step asks for.
const ROUNDS: u32 = 32;

/// A step ends its own waits in time; one that does not is cut off this much later.
const GRACE: Duration = Duration::from_secs(7);

/// How long signals may take of a boot that is over: its deadline has passed, or it ended before its first step.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(20);

/// Why a boot is ended early.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Its time is over: it has failed, and signals say so.
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
    stopped: bool,
}

impl<'a> Execution<'a> {
    pub(crate) fn new(plan: &'a Plan, world: &'a World, recorder: &'a Recorder) -> Self {
        let awaited = plan.awaited();
        recorder.amend(|report| report.steps = steps_of(plan, &awaited));
        for node in &plan.nodes {
            if let Some(path) = node.shape().foretold {
                world.known.set_outputs(node.address.clone(), Outputs::at(&path));
            }
        }
        let schedule = Schedule::new(&plan.units);
        Self { plan, world, recorder, schedule, running: FuturesUnordered::new(), awaited, stopped: false }
    }

    /// Runs until every step has ended that the boot waits for; `stop` ends it early, and says why.
    ///
    /// What stands beside the boot has begun by then, and goes on with [`beside`](Execution::beside). A boot that failed
    /// ends it: whoever started us is to hear of the failure at once.
    pub(crate) async fn boot(&mut self, stop: impl Future<Output = Halt>) {
        let (host, recorder) = (&self.world.host, self.recorder);
        let meanwhile = meanwhile(self.plan, self.world, recorder);
        let stopped = {
            let ran = pin!(self.run(false));
            let kept = pin!(written::keep(host, recorder));
            match select(ran, pin!(select(select(kept, meanwhile), pin!(stop)))).await {
                Either::Left(_) => None,
                Either::Right((Either::Left((Either::Left((never, _)) | Either::Right((never, _)), _)), _)) => match never {},
                Either::Right((Either::Right((stop, _)), _)) => Some(stop),
            }
        };
        match stopped {
            None if recorder.report().has_failed() => {
                self.abort(&Explanation::new("the boot failed before this came to its end", None));
            }
            None => {}
            Some(Halt::Asked(why)) => self.abort(&why),
            Some(Halt::Deadline(why)) => self.cut_off(&why).await,
        }
    }

    /// Ends a boot whose time is over, but for its signals.
    async fn cut_off(&mut self, why: &Explanation) {
        self.running.clear();
        self.end(why, &told_last(self.plan));
        self.world.known.set_verdict(|| verdict(self.plan, self.recorder).unwrap_or_else(|| Verdict::failed(None, &why.message)));
        for unit in self.schedule.cut_off() {
            self.plan.units[unit].members.iter().for_each(|member| self.recorder.skipped(*member, None));
        }
        let clock = self.world.host.clock.clone();
        select(pin!(self.run(true)), clock.sleep(LAST_WORDS)).await;
        self.abort(why);
    }

    /// Runs what stands beside a boot that is over. Whoever calls this has written the report; it is kept up to date
    /// until a later boot puts its own in its place. `is_alone` is whether no other boot is at work.
    pub(crate) async fn beside(&mut self, stop: impl Future<Output = Explanation>, is_alone: &dyn Fn() -> bool) {
        if self.stopped || self.running.is_empty() {
            return;
        }
        let (host, recorder) = (&self.world.host, self.recorder);
        self.world.known.forget_secrets();
        let why = {
            let ran = pin!(self.run(true));
            match select(ran, pin!(select(pin!(written::keep_afterwards(host, recorder, is_alone)), pin!(stop)))).await {
                Either::Left(_) => None,
                Either::Right((Either::Left((never, _)), _)) => match never {},
                Either::Right((Either::Right((why, _)), _)) => Some(why),
            }
        };
        if let Some(why) = why {
            self.abort(&why);
        }
        written::write_afterwards(host, recorder, is_alone).await;
    }

    /// Runs units until all have ended, or all that the boot waits for.
    async fn run(&mut self, all: bool) {
        let Self { plan, world, recorder, schedule, running, awaited, .. } = self;
        let (plan, world, recorder): (&'a Plan, &'a World, &'a Recorder) = (*plan, *world, *recorder);
        loop {
            while let Some(unit) = schedule.next_ready() {
                if plan.units[unit].last {
                    world.known.set_verdict(|| verdict(plan, recorder).unwrap_or(Verdict::Well));
                }
                running.push(Box::pin(async move { (unit, run(plan, unit, world, recorder).await) }));
            }
            if !all && awaited.is_empty() {
                return;
            }
            let Some((unit, ended)) = running.next().await else { return };
            awaited.remove(&unit);
            for (skipped, needs) in schedule.finished(unit, ended) {
                awaited.remove(&skipped);
                let needs = plan.nodes[plan.units[needs].members[0]].address.clone();
                plan.units[skipped].members.iter().for_each(|member| recorder.skipped(*member, Some(needs.clone())));
            }
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
                Outcome::Running => Some((at, Some(why.clone().while_waiting(step.waiting.as_deref(), step.unreachable)))),
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
    let nodes = plan.nodes.iter().enumerate().filter(|(_, node)| node.shape().goes_on_meanwhile);
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

/// What a boot has come to that has failed: its first failure.
fn verdict(plan: &Plan, recorder: &Recorder) -> Option<Verdict> {
    let report = recorder.report();
    let last = told_last(plan);
    let steps = || report.steps.iter().enumerate().filter(|(at, step)| step.required && !last.contains(at)).map(|(_, step)| step);
    let failed = steps().filter_map(|step| Some((step, step.error.as_ref()?)));
    let first = failed.min_by(|(a, _), (b, _)| a.finished_ms.partial_cmp(&b.finished_ms).unwrap_or(std::cmp::Ordering::Equal));
    if let Some((step, trouble)) = first {
        let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
        return Some(Verdict::failed(Some(&step.address), &format!("{}{causes}", trouble.message)));
    }
    let skipped = steps().find(|step| step.outcome == Outcome::Skipped)?;
    let why = skipped.skipped_for.as_ref().map_or_else(|| "it did not run".to_owned(), |needs| format!("it needs {needs}"));
    Some(Verdict::failed(Some(&skipped.address), &why))
}

/// The steps that come after everything.
fn told_last(plan: &Plan) -> BTreeSet<usize> {
    plan.units.iter().filter(|unit| unit.last).flat_map(|unit| unit.members.iter().copied()).collect()
}

fn context<'a>(plan: &'a Plan, at: usize, world: &'a World, observer: &'a dyn Fn(Progress), deadline: Duration) -> Context<'a> {
    let node = &plan.nodes[at];
    Context {
        world,
        address: &node.address,
        references: &node.references,
        holds_secret: node.holds_secret,
        templates: &plan.templates,
        observer,
        patience: node.patience,
        deadline,
    }
}

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

/// Runs one unit to its end, with retries, within its time.
async fn run(plan: &Plan, unit: usize, world: &World, recorder: &Recorder) -> Ended {
    let unit = &plan.units[unit];
    let clock = &world.host.clock;
    let patience = unit.members.iter().map(|member| plan.nodes[*member].patience).max().unwrap_or_default();
    let deadline = clock.elapsed() + patience;
    unit.members.iter().for_each(|member| recorder.started(*member));
    let mut attempt = 0;
    let failures = loop {
        attempt += 1;
        let left = (deadline + GRACE).saturating_sub(clock.elapsed());
        let tried = match select(pin!(converge(plan, unit, world, recorder, deadline)), clock.sleep(left)).await {
            Either::Left((tried, _)) => tried,
            Either::Right(_) => Err(unit.members.iter().map(|member| (*member, Some(too_slow(patience, *member, recorder)))).collect()),
        };
        let failures: Vec<(usize, Option<Explanation>)> = match tried {
            Ok(()) => return Ended::Well,
            Err(failures) => failures,
        };
        let errors = failures.iter().filter_map(|(_, error)| error.as_ref());
        let left = deadline.saturating_sub(clock.elapsed());
        let Some(pause) = retry::pause(errors, attempt, left) else { break failures };
        let Some((first, Some(error))) = failures.iter().find(|(_, error)| error.is_some()).cloned() else { break failures };
        recorder.retrying(first, &error, pause, attempt);
        clock.sleep(pause).await;
    };
    let culprit = failures.iter().find(|(_, error)| error.is_some()).map(|(member, _)| plan.nodes[*member].address.clone());
    for (member, error) in &failures {
        match error {
            Some(error) => recorder.finished(*member, Outcome::Failed, Some(&after_tries(error, attempt))),
            None => recorder.skipped(*member, culprit.clone()),
        }
    }
    Ended::Badly { required: failures.iter().any(|(member, _)| plan.nodes[*member].required) }
}

fn after_tries(error: &Explanation, attempts: u32) -> Explanation {
    match attempts {
        0 | 1 => error.clone(),
        n => Explanation { message: format!("{} (after {n} tries)", error.message), ..error.clone() },
    }
}

fn too_slow(patience: Duration, member: usize, recorder: &Recorder) -> Explanation {
    let report = recorder.report();
    let step = &report.steps[member];
    let hint = "give it a longer `timeout:`, or find out what it waits for";
    Explanation::new(format!("it did not end within {patience:?}"), Some(hint.into()))
        .while_waiting(step.waiting.as_deref(), step.unreachable)
}

/// Makes changes until nothing differs, and learns what every member offers. On a failure, every member is named: those
/// that failed with their error, the others, which were held back, without.
async fn converge(
    plan: &Plan,
    unit: &Unit,
    world: &World,
    recorder: &Recorder,
    deadline: Duration,
) -> Result<(), Vec<(usize, Option<Explanation>)>> {
    let observers: Vec<_> = unit.members.iter().map(|at| move |progress: Progress| recorder.progress(*at, &progress)).collect();
    let contexts: Vec<Context<'_>> =
        unit.members.iter().zip(&observers).map(|(at, observer)| context(plan, *at, world, observer, deadline)).collect();
    let members = || unit.members.iter().zip(&contexts);
    let unfolds = unit.members.iter().any(|at| plan.nodes[*at].shape().unfolds);
    for round in 1.. {
        let left = round_of_changes(plan, unit, &contexts, recorder).await?;
        if left.is_empty() || !unfolds {
            break;
        }
        if round == ROUNDS {
            let why = Explanation::new(format!("after {round} rounds of changes there is still another: {}", left.join(", ")), None);
            return Err(unit.members.iter().map(|at| (*at, Some(why.clone()))).collect());
        }
    }
    let offered = join_all(members().map(|(at, cx)| async move {
        let node = &plan.nodes[*at];
        let outputs = match world.known.given(&node.address) {
            Some(given) => given,
            None => node.step.outputs(cx).await?,
        };
        world.known.set_outputs(node.address.clone(), outputs);
        Ok(())
    }));
    let offered = offered.await;
    if offered.iter().any(Result::is_err) {
        return Err(named(unit, offered));
    }
    unit.members.iter().for_each(|member| recorder.succeeded(*member));
    Ok(())
}

/// Inspects every member, stages every change, and only then makes them. Returns the lines of what was changed.
async fn round_of_changes(
    plan: &Plan,
    unit: &Unit,
    contexts: &[Context<'_>],
    recorder: &Recorder,
) -> Result<Vec<String>, Vec<(usize, Option<Explanation>)>> {
    let lines = RefCell::new(Vec::new());
    let staged = join_all(unit.members.iter().zip(contexts).map(|(at, cx)| async {
        let difference = match plan.nodes[*at].step.inspect(cx).await {
            Ok(difference) => difference,
            Err(error) => return (None, Err(error)),
        };
        recorder.changing(*at, &difference.lines());
        lines.borrow_mut().extend(difference.lines());
        let staged = difference.stage().await;
        (Some(difference), staged)
    }));
    let (found, staged): (Vec<Option<Box<dyn Difference + '_>>>, Vec<_>) = staged.await.into_iter().unzip();
    if staged.iter().any(Result::is_err) {
        join_all(found.iter().flatten().map(|difference| difference.abandon())).await;
        return Err(named(unit, staged));
    }
    // All of them at once: the shorter the time in which old and new files stand side by side, the better.
    let applied = join_all(found.into_iter().flatten().map(|difference| difference.apply())).await;
    if applied.iter().any(Result::is_err) {
        return Err(named(unit, applied));
    }
    Ok(lines.into_inner())
}

/// The members of a unit, each with its error.
fn named(unit: &Unit, results: Vec<Result<(), Explanation>>) -> Vec<(usize, Option<Explanation>)> {
    unit.members.iter().copied().zip(results.into_iter().map(Result::err)).collect()
}
