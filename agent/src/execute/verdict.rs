//! The result of a boot, as signals report it.

use std::collections::BTreeSet;

use crate::gather::Gather as _;
use crate::plan::Plan;
use crate::redaction::Redactor;
use crate::report::Outcome;
use crate::report::event::Recorder;
use crate::step::Verdict;

/// The verdict on a boot that has failed: its first failure. `None` if it has not failed.
pub(super) fn verdict(plan: &Plan, recorder: &Recorder, redactor: &Redactor) -> Option<Verdict> {
    let report = recorder.report();
    if let Some(trouble) = &report.error {
        return Some(Verdict::failed(None, &trouble.message, redactor));
    }
    let last = told_last(plan);
    let steps = || report.steps.iter().enumerate().filter(|(at, step)| step.required && !last.contains(at)).map(|(_, step)| step);
    let failed = steps().filter_map(|step| Some((step, step.error.as_ref()?)));
    let first = failed.min_by(|(a, _), (b, _)| a.finished_ms.partial_cmp(&b.finished_ms).unwrap_or(std::cmp::Ordering::Equal));
    if let Some((step, trouble)) = first {
        let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
        return Some(Verdict::failed(Some(&step.address), &format!("{}{causes}", trouble.message), redactor));
    }
    let skipped = steps().find(|step| step.outcome == Outcome::Skipped)?;
    let why = skipped.skipped_for.as_ref().map_or_else(|| "it did not run".to_owned(), |needs| format!("it needs {needs}"));
    // Nothing to redact: the text consists of two addresses and fixed words.
    Some(Verdict::failed(Some(&skipped.address), &why, &Redactor::default()))
}

/// The steps that come after everything.
pub(super) fn told_last(plan: &Plan) -> BTreeSet<usize> {
    plan.units.iter().filter(|unit| unit.last).flat_map(|unit| unit.members.iter().copied()).gather()
}
