//! The evidence of a boot that is over: report and journal to their end. No one waits for it.

use std::time::Duration;

use futures_util::future::join_all;

use super::unit::context;
use super::written::written_within;
use crate::failure::Explanation;
use crate::host::lock::BootLock;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::step::World;
use crate::steps::signal::{Moment, Signal};

/// How long it may take. What was written at the failure is there by then.
const WITHIN: Duration = Duration::from_secs(10);

/// Writes the evidence of a boot whose report is complete, where the document asks for it. What fails is a warning: those who
/// waited have been told. Where S3 did not take the evidence of the failure, that step has said so, and nothing is tried again.
pub(crate) async fn testify(plan: &Plan, world: &World, recorder: &Recorder, lock: &dyn BootLock) {
    let refused: Vec<bool> = recorder.report().steps.iter().map(|step| step.outcome == Outcome::Failed).collect();
    let failed = recorder.report().has_failed();
    let clock = &world.host.clock;
    let due = plan.nodes.iter().enumerate().filter(|(at, _)| !refused[*at]).filter_map(|(at, node)| {
        let signal = node.step.any().downcast_ref::<Signal>().filter(|signal| signal.testifies(failed))?;
        Some(async move {
            let cx = context(plan, at, world, &|_| {}, clock.elapsed() + WITHIN);
            let why = tokio::select! {
                biased;
                sent = signal.testify(Moment::End, &cx) => sent.err().map(|error| Explanation::of(&error).to_string()),
                () = clock.sleep(WITHIN) => Some(format!("S3 did not take it within {WITHIN:?}")),
            };
            why.map(|why| format!("{}: the evidence of the whole boot was not written: {why}", node.address))
        })
    });
    let troubles: Vec<String> = join_all(due).await.into_iter().flatten().collect();
    if !troubles.is_empty() {
        troubles.iter().for_each(|trouble| log::warn!("{trouble}"));
        recorder.amend(|report| report.warnings.extend(troubles));
        written_within(&world.host, recorder, lock).await;
    }
}
