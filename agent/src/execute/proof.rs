//! The last look: every unit of a service at once, when all else has ended and nobody has been told of the boot yet.
//!
//! A step ends when its unit is up. What becomes of it later nobody would see: it may die a second after, or be stopped by
//! a unit that conflicts with it. What is right for a unit is decided by its step.

use std::time::Duration;

use futures_util::future::join_all;

use super::unit::context;
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::step::{Judgment, Progress, World};

/// How long a unit may be on its way from one state to another, such as one that is just being reloaded.
const SETTLES: Duration = Duration::from_secs(10);

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

/// Looks at all of them, and fails the steps whose units are not up.
pub(super) async fn look(plan: &Plan, world: &World, recorder: &Recorder) {
    let (clock, mut pauses) = (&world.host.clock, Backoff::PROBE.pauses());
    let begun = clock.elapsed();
    let mut left = claimed(plan, recorder);
    while !left.is_empty() {
        let last = clock.elapsed() - begun >= SETTLES;
        let names: Vec<String> = left.iter().filter_map(|at| unit(plan, *at)).map(str::to_owned).collect();
        let found = match world.host.units.show(&names).await {
            Ok(found) => found,
            Err(error) => {
                let error = Explanation::of(&error);
                return left.iter().for_each(|at| recorder.finished(*at, Outcome::Failed, Some(&error)));
            }
        };
        let judged = join_all(left.iter().zip(&found).map(|(at, found)| async move {
            let observer = move |progress: Progress| recorder.progress(*at, &progress);
            plan.nodes[*at].step.judge(found, last, &context(plan, *at, world, &observer, Duration::MAX)).await
        }));
        let mut open = Vec::new();
        for (at, judged) in left.iter().zip(judged.await) {
            match judged {
                Ok(Judgment::Sound) => {}
                Ok(Judgment::Open) => open.push(*at),
                Err(error) => recorder.finished(*at, Outcome::Failed, Some(&error)),
            }
        }
        left = open;
        if !left.is_empty() {
            clock.sleep(pauses.next()).await;
        }
    }
}
