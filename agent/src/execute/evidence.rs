//! Writes the evidence of a boot that is over, with the complete report and journal. Nothing waits for it.

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

/// How long it may take. The evidence that was written at the failure is in S3 by then.
const WITHIN: Duration = Duration::from_secs(10);

/// Writes the evidence of a boot whose report is complete, if the document asks for it. A failure
/// is only a warning, because the signals have been sent. If S3 refused the evidence of a failure,
/// that step has reported it, and the write is not repeated.
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
                () = clock.sleep(WITHIN) => Some(format!("S3 did not accept it within {WITHIN:?}")),
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
