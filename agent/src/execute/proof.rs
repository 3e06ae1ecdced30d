//! The last look: every unit of a service at once, when all else has ended and nobody has been told of the boot yet.
//!
//! A step ends when its unit is up. What becomes of it later nobody would see: it may die a second after, or be stopped by
//! a unit that conflicts with it. What is right for a unit, and how long it may take, is decided by its step.

use std::time::Duration;

use futures_util::future::join_all;

use super::unit::context;
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::host::HostError;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::step::{Judgment, Look, Progress, World};

/// How long systemd is asked again after it has not answered.
const ANSWERS: Duration = Duration::from_secs(10);

/// How long a unit is watched that was restarted. One that fails time and again fails within this, as a rule: systemd
/// restarts it after 100 ms, unless its RestartSec= says otherwise.
const WATCHED: Duration = Duration::from_secs(5);

/// The steps whose units are to be up, those that have failed or did not run apart.
pub(super) fn claimed(plan: &Plan, recorder: &Recorder) -> Vec<usize> {
    let report = recorder.report();
    let is_well = |at: &usize| matches!(report.steps[*at].outcome, Outcome::Changed | Outcome::Unchanged);
    (0..plan.nodes.len()).filter(is_well).filter(|at| unit(plan, *at).is_some()).collect()
}

/// Whether there is anything to look at in the end.
pub(super) fn is_due(plan: &Plan) -> bool {
    (0..plan.nodes.len()).any(|at| unit(plan, at).is_some())
}

fn unit(plan: &Plan, at: usize) -> Option<&str> {
    let node = &plan.nodes[at];
    node.step.unit(node.address.key())
}

/// A step of which nothing final can be said yet, and what was seen of its unit.
#[derive(Debug, Clone, Copy)]
struct Open {
    at: usize,
    moved: bool,
    /// When it was first found restarted.
    restarted: Option<Duration>,
}

fn all(plan: &Plan, recorder: &Recorder) -> Vec<Open> {
    claimed(plan, recorder).into_iter().map(|at| Open { at, moved: false, restarted: None }).collect()
}

/// Looks at all of them until each is known to be up, and fails the steps whose units are not.
pub(super) async fn look(plan: &Plan, world: &World, recorder: &Recorder) {
    let (clock, mut pauses) = (&world.host.clock, Backoff::PROBE.pauses());
    let begun = clock.elapsed();
    let mut left = all(plan, recorder);
    loop {
        let waited = clock.elapsed() - begun;
        match once(&left, waited, false, plan, world, recorder).await {
            Ok(open) => left = open,
            Err(error) if waited >= ANSWERS => {
                let error = Explanation::of(&error);
                return left.iter().for_each(|open| recorder.finished(open.at, Outcome::Failed, Some(&error)));
            }
            Err(error) => log::debug!("{error}"),
        }
        if left.is_empty() {
            return;
        }
        for open in &left {
            let what = if open.restarted.is_some() { "to see whether its unit stays up" } else { "for its unit to settle" };
            recorder.progress(open.at, &Progress::Waiting(what.into()));
        }
        clock.sleep(pauses.next()).await;
    }
}

/// Looks at all of them once, and fails the steps whose units are not up. Returns those of which nobody can say.
pub(super) async fn glance(plan: &Plan, world: &World, recorder: &Recorder) -> Vec<usize> {
    let left = all(plan, recorder);
    let open = once(&left, Duration::ZERO, true, plan, world, recorder).await.unwrap_or(left);
    open.iter().map(|open| open.at).collect()
}

/// One look at those that are left. Returns those to look at again.
async fn once(
    left: &[Open],
    waited: Duration,
    is_last: bool,
    plan: &Plan,
    world: &World,
    recorder: &Recorder,
) -> Result<Vec<Open>, HostError> {
    let names: Vec<String> = left.iter().filter_map(|open| unit(plan, open.at)).map(str::to_owned).collect();
    let found = world.host.units.show(&names).await?;
    let judged = join_all(left.iter().zip(&found).map(|(open, found)| async move {
        let observer = move |progress: Progress| recorder.progress(open.at, &progress);
        let look = Look { waited, is_last, moved: open.moved, restarted: open.restarted.is_some() };
        plan.nodes[open.at].step.judge(found, look, &context(plan, open.at, world, &observer, Duration::MAX)).await
    }));
    let mut again = Vec::new();
    for (open, judged) in left.iter().zip(judged.await) {
        let is_watched = !is_last && open.restarted.is_some_and(|since| waited.saturating_sub(since) < WATCHED);
        match judged {
            Ok(Judgment::Sound) if is_watched => again.push(*open),
            Ok(Judgment::Sound) => recorder.rested(open.at),
            Ok(Judgment::Open) => again.push(Open { moved: true, ..*open }),
            Ok(Judgment::Restarted) => again.push(Open { restarted: Some(waited), ..*open }),
            Err(error) => recorder.finished(open.at, Outcome::Failed, Some(&error)),
        }
    }
    Ok(again)
}
