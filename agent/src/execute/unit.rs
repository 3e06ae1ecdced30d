//! Runs one unit to the end, with retries, within its time limit.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::retry;
use super::schedule::Ended;
use crate::failure::Explanation;
use crate::plan::{Plan, Unit};
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::step::{Context, Difference, Fallback, Progress, World};

/// Upper bound on successive rounds of changes; no real step comes near it.
const ROUNDS: u32 = 32;

/// A step ends its own waits in time. A step that does not, because it hangs or is just receiving an answer, is cut off
/// this much later. So it still ends within a second of its `timeout:`.
const GRACE: Duration = Duration::from_millis(850);

/// A unit that failed.
struct Failed {
    /// The number of tries.
    attempts: u32,
    /// The failures of its members in the last try.
    why: Vec<MemberFailure>,
}

/// A member of a unit that failed.
struct MemberFailure {
    member: usize,
    /// `None` if the member was held back because another one failed.
    error: Option<Explanation>,
}

/// Runs the unit, and records how each of its members ended.
pub(super) async fn run(plan: &Plan, unit: usize, world: &World, recorder: &Recorder) -> Ended {
    let Err(Failed { attempts, why }) = converged(plan, &plan.units[unit], world, recorder).await else { return Ended::Well };
    let culprit = why.iter().find(|failure| failure.error.is_some()).map(|failure| plan.nodes[failure.member].address.clone());
    for MemberFailure { member, error } in &why {
        match error {
            Some(error) => recorder.finished(*member, Outcome::Failed, Some(&after_tries(error, attempts))),
            None => recorder.skipped(*member, culprit.clone()),
        }
    }
    Ended::Badly { required: why.iter().any(|failure| plan.nodes[failure.member].required) }
}

/// The units with an early fallback, and the units that must have ended before it starts.
pub(super) fn early(plan: &Plan) -> Vec<(usize, Vec<usize>)> {
    (0..plan.units.len()).filter(|unit| falls_back(plan, *unit)).map(|unit| (unit, plan.needed_to_resume(unit))).collect()
}

/// Whether any member of a unit has a fallback.
pub(super) fn falls_back(plan: &Plan, unit: usize) -> bool {
    plan.units[unit].members.iter().any(|member| plan.nodes[*member].outline.falls_back)
}

/// Runs the fallbacks of the members that have one, each within its own time limit and at most `limit`.
pub(super) async fn fall_back(plan: &Plan, unit: usize, world: &World, recorder: &Recorder, when: Fallback, limit: Duration) {
    let clock = &world.host.clock;
    for at in plan.units[unit].members.iter().filter(|at| plan.nodes[**at].outline.falls_back) {
        let observer = move |progress: Progress| {
            // The unit reports its own waits; those of an early fallback would replace them.
            if when == Fallback::Instead || matches!(progress, Progress::Output(_) | Progress::Warning(_)) {
                recorder.progress(*at, &progress);
            }
        };
        let node = &plan.nodes[*at];
        let limit = limit.min(node.patience);
        let cx = context(plan, *at, world, &observer, clock.elapsed() + limit);
        tokio::select! {
            biased;
            () = node.step.fall_back(when, &cx) => {}
            () = clock.sleep(limit + GRACE) => {}
        }
        recorder.rested(*at);
    }
}

/// Tries until it succeeds, or until another try is pointless.
async fn converged(plan: &Plan, unit: &Unit, world: &World, recorder: &Recorder) -> Result<(), Failed> {
    let clock = &world.host.clock;
    let patience = unit.members.iter().map(|member| plan.nodes[*member].patience).max().unwrap_or_default();
    let began = clock.elapsed();
    let deadline = began + patience;
    unit.members.iter().for_each(|member| recorder.started(*member));
    let mut attempts = 0;
    loop {
        attempts += 1;
        let left = (deadline + GRACE).saturating_sub(clock.elapsed());
        let tried = tokio::select! {
            biased;
            tried = converge(plan, unit, world, recorder, began) => tried,
            () = clock.sleep(left) => Err(all_too_slow(plan, unit, recorder)),
        };
        let Err(why) = tried else { return Ok(()) };
        let mut errors = why.iter().filter_map(|failure| Some((failure.member, failure.error.as_ref()?)));
        // If the time of a failed member is over, the unit is not retried, even if others have time left.
        let ends = |member: usize| (began + plan.nodes[member].patience).saturating_sub(clock.elapsed());
        let left = errors.clone().map(|(member, _)| ends(member)).min().unwrap_or_default();
        let pause = retry::pause(errors.clone().map(|(_, error)| error), attempts, left);
        let (Some(pause), Some((first, error))) = (pause, errors.next()) else { return Err(Failed { attempts, why }) };
        recorder.retrying(first, error, pause, attempts);
        clock.sleep(pause).await;
    }
}

fn after_tries(error: &Explanation, attempts: u32) -> Explanation {
    match attempts {
        0 | 1 => error.clone(),
        n => Explanation { message: format!("{} (after {n} tries)", error.message), ..error.clone() },
    }
}

/// The failure of a member whose time is over, with what it was waiting for.
fn too_slow(plan: &Plan, member: usize, recorder: &Recorder) -> Explanation {
    let patience = plan.nodes[member].patience;
    let hint = "give it a longer `timeout:`, or fix what it waits for";
    recorder.report().steps[member].cut_off(Explanation::new(format!("it did not finish within {patience:?}"), Some(hint.into())))
}

fn all_too_slow(plan: &Plan, unit: &Unit, recorder: &Recorder) -> Vec<MemberFailure> {
    unit.members.iter().map(|member| MemberFailure { member: *member, error: Some(too_slow(plan, *member, recorder)) }).collect()
}

/// Makes changes until nothing differs, and records the outputs of every member. On a failure, all members are
/// returned: those that failed with their error, those that were held back without one.
async fn converge(plan: &Plan, unit: &Unit, world: &World, recorder: &Recorder, began: Duration) -> Result<(), Vec<MemberFailure>> {
    let observers: Vec<_> = unit.members.iter().map(|at| move |progress: Progress| recorder.progress(*at, &progress)).collect();
    let contexts: Vec<Context<'_>> = unit
        .members
        .iter()
        .zip(&observers)
        .map(|(at, observer)| context(plan, *at, world, observer, began + plan.nodes[*at].patience))
        .collect();
    let members = || unit.members.iter().zip(&contexts);
    let unfolds = unit.members.iter().any(|at| plan.nodes[*at].outline.unfolds);
    for round in 1.. {
        let left = round_of_changes(plan, unit, &contexts, recorder).await?;
        if left.is_empty() || !unfolds {
            break;
        }
        if round == ROUNDS {
            let why = Explanation::new(format!("still not converged after {round} rounds of changes: {}", left.join(", ")), None);
            return Err(unit.members.iter().map(|at| MemberFailure { member: *at, error: Some(why.clone()) }).collect());
        }
    }
    let offered = join_all(members().map(|(at, cx)| async move {
        let node = &plan.nodes[*at];
        let outputs = match world.known.given(&node.address) {
            Some(given) => given,
            None => node.step.outputs(cx).await?,
        };
        if let Some(remark) = plan.line_break_of(&node.address, &outputs.value) {
            cx.progress(Progress::Warning(remark));
        }
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

/// Inspects every member, stages every change, and only then applies them. Returns the lines of what was changed.
async fn round_of_changes(
    plan: &Plan,
    unit: &Unit,
    contexts: &[Context<'_>],
    recorder: &Recorder,
) -> Result<Vec<String>, Vec<MemberFailure>> {
    let lines = RefCell::new(Vec::new());
    let found: Vec<OnceCell<Box<dyn Difference + '_>>> = contexts.iter().map(|_| OnceCell::new()).collect();
    let mut staging = FuturesUnordered::new();
    for (nth, (at, cx)) in unit.members.iter().zip(contexts).enumerate() {
        let (found, lines) = (&found[nth], &lines);
        let staged = async move {
            let difference = plan.nodes[*at].step.inspect(cx).await?;
            let difference = found.get_or_init(|| difference);
            recorder.changing(*at, &difference.lines());
            lines.borrow_mut().extend(difference.lines());
            difference.stage().await
        };
        staging.push(async move {
            let clock = &cx.host().clock;
            tokio::select! {
                biased;
                staged = staged => (nth, staged),
                // Other members of the unit may have more time.
                () = clock.sleep((cx.deadline + GRACE).saturating_sub(clock.elapsed())) => (nth, Err(too_slow(plan, *at, recorder))),
            }
        });
    }
    let mut staged: Vec<Result<(), Explanation>> = contexts.iter().map(|_| Ok(())).collect();
    let (clock, mut over) = (&contexts[0].host().clock, None);
    loop {
        let left = over.map(|over: Duration| over.saturating_sub(clock.elapsed()));
        tokio::select! {
            biased;
            ended = staging.next() => match ended {
                Some((nth, ended)) => staged[nth] = ended,
                None => break,
            },
            () = clock.sleep(left.unwrap_or_default()), if left.is_some() => break,
        }
        // Failures that follow at once are reported as well; waiting longer for others is pointless.
        if over.is_none() && staged.iter().any(Result::is_err) {
            over = Some(clock.elapsed() + GRACE);
        }
    }
    drop(staging);
    if staged.iter().any(Result::is_err) {
        join_all(found.iter().filter_map(OnceCell::get).map(|difference| difference.abandon())).await;
        return Err(named(unit, staged));
    }
    // All of them at once: the shorter the time in which old and new files coexist, the better.
    let applied = join_all(found.into_iter().filter_map(OnceCell::into_inner).map(|difference| difference.apply())).await;
    if applied.iter().any(Result::is_err) {
        return Err(named(unit, applied));
    }
    Ok(lines.into_inner())
}

/// Pairs the members of a unit with their errors.
fn named(unit: &Unit, results: Vec<Result<(), Explanation>>) -> Vec<MemberFailure> {
    let errors = results.into_iter().map(Result::err);
    unit.members.iter().zip(errors).map(|(member, error)| MemberFailure { member: *member, error }).collect()
}

/// The context that a step is given.
pub(super) fn context<'a>(plan: &'a Plan, at: usize, world: &'a World, observer: &'a dyn Fn(Progress), deadline: Duration) -> Context<'a> {
    let node = &plan.nodes[at];
    Context {
        world,
        address: &node.address,
        references: &node.references,
        holds_secret: node.holds_secret,
        templates: &plan.templates,
        siblings: plan,
        observer,
        patience: node.patience,
        deadline,
    }
}
