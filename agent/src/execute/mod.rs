//! Runs a plan: every step the moment what it needs is done.
//!
//! Dull on purpose. [`schedule`] says what may run, steps decide what to do, [`retry`] says when to try again; what is
//! here only puts them together and writes down what happened.

pub(crate) mod retry;
pub(crate) mod schedule;

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::address::Address;
use crate::failure::Explanation;
use crate::host::{Attributes, Host, HostError};
use crate::plan::{Plan, Unit};
use crate::report::event::Recorder;
use crate::report::{Outcome, REPORT, StepReport};
use crate::steps::{Context, Difference, Outputs, Progress, World};
use schedule::{Ended, Schedule};

/// How far the report on disk may lag behind what happened.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Far more changes, one after the other, than any step asks for.
const ROUNDS: u32 = 32;

/// A step ends its own waits in time; one that does not is cut off this much later.
const GRACE: Duration = Duration::from_secs(7);

/// Runs every step of `plan` as soon as the steps it needs are done; `stop` ends the boot early, and says why.
///
/// A failed step does not stop the others: everything that does not depend on it still runs, so one report shows every
/// problem of this boot. There is therefore no `Result` here.
pub(crate) async fn execute(plan: &Plan, world: &World, recorder: &Recorder, stop: impl Future<Output = Explanation>) {
    recorder.amend(|report| report.steps = steps_of(plan));
    for node in &plan.nodes {
        if let Some(value) = node.step.foretold(node.address.key()) {
            world.known.set_outputs(node.address.clone(), Outputs { value, stamp: None });
        }
    }
    let mut schedule = Schedule::new(&plan.units);
    let mut running = FuturesUnordered::new();
    let mut stop = pin!(stop);
    let mut keep = pin!(keep_report(world, recorder));
    loop {
        while let Some(unit) = schedule.next_ready() {
            running.push(async move { (unit, run(plan, unit, world, recorder).await) });
        }
        let why = match select(running.next(), select(keep.as_mut(), stop.as_mut())).await {
            Either::Left((None, _)) => break,
            Either::Left((Some((unit, ended)), _)) => {
                for (skipped, needs) in schedule.finished(unit, ended) {
                    let needs = plan.nodes[plan.units[needs].members[0]].address.clone();
                    plan.units[skipped].members.iter().for_each(|member| recorder.skipped(*member, Some(needs.clone())));
                }
                continue;
            }
            Either::Right((Either::Left((never, _)), _)) => match never {},
            Either::Right((Either::Right((why, _)), _)) => why,
        };
        drop(running);
        return abort(plan, &schedule, recorder, &why);
    }
}

/// Writes the report while steps run. Never ends.
async fn keep_report(world: &World, recorder: &Recorder) -> std::convert::Infallible {
    let mut written = f64::NAN;
    loop {
        let now = recorder.report().elapsed_ms;
        if now != written {
            written = now;
            // The last write, at the end of the boot, reports its own failure.
            let _ = write_report(&world.host, recorder).await;
        }
        world.host.clock.sleep(REPORT_EVERY).await;
    }
}

/// Brings the report to its place, whole, for everybody to read.
pub(crate) async fn write_report(host: &Host, recorder: &Recorder) -> Result<(), HostError> {
    let json = serde_json::to_vec(&*recorder.report()).expect("a report is plain data");
    publish(Path::new(REPORT), &json, host).await
}

/// Writes a file that every user of the machine may read.
pub(crate) async fn publish(path: &Path, content: &[u8], host: &Host) -> Result<(), HostError> {
    let files = &host.files;
    let (uid, gid) = host.users.own();
    let staged = crate::steps::install::staged(path);
    if let Some(parent) = path.parent() {
        files.create_directory(parent, 0o755).await?;
    }
    files.stage(&staged, content, Attributes { mode: 0o644, uid, gid }).await?;
    files.install(&staged, path).await
}

fn steps_of(plan: &Plan) -> Vec<StepReport> {
    let mut steps: Vec<StepReport> = plan
        .nodes
        .iter()
        .map(|node| StepReport {
            address: node.address.clone(),
            outcome: Outcome::Pending,
            required: node.required,
            needs: Vec::new(),
            started_ms: None,
            finished_ms: None,
            attempts: 0,
            changes: Vec::new(),
            waiting: None,
            progress: None,
            error: None,
            skipped_for: None,
            unreachable: false,
        })
        .collect();
    for unit in &plan.units {
        let needs: Vec<Address> = plan.needs(unit).map(|node| node.address.clone()).collect();
        unit.members.iter().for_each(|member| steps[*member].needs.clone_from(&needs));
    }
    steps
}

/// Ends what still runs, and skips the rest.
fn abort(plan: &Plan, schedule: &Schedule, recorder: &Recorder, why: &Explanation) {
    let running: Vec<(usize, Explanation)> = {
        let report = recorder.report();
        let running = report.steps.iter().enumerate().filter(|(_, step)| step.outcome == Outcome::Running);
        running.map(|(at, step)| (at, why.clone().while_waiting(step.waiting.as_deref(), step.unreachable))).collect()
    };
    for (at, why) in running {
        recorder.finished(at, Outcome::Failed, Some(&why));
    }
    for unit in schedule.unstarted() {
        plan.units[unit].members.iter().for_each(|member| recorder.skipped(*member, None));
    }
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
    let contexts: Vec<Context<'_>> = unit
        .members
        .iter()
        .zip(&observers)
        .map(|(at, observer)| Context {
            world,
            address: &plan.nodes[*at].address,
            references: &plan.nodes[*at].references,
            holds_secret: plan.nodes[*at].holds_secret,
            templates: &plan.templates,
            observer,
            deadline,
        })
        .collect();
    let members = || unit.members.iter().zip(&contexts);
    let unfolds = unit.members.iter().any(|at| plan.nodes[*at].step.unfolds());
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
