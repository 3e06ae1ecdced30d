//! The boot in the journal: one entry for each transition, with fields to search for.
//!
//! Every entry carries `STEP=`, and each kind of transition a `MESSAGE_ID=` that never changes, so that
//! `journalctl MESSAGE_ID=…` finds it on every machine of a fleet.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::report::event::{Event, Listener};
use crate::report::{BootOutcome, Outcome, Report, StepReport};

/// A step started.
const STARTED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c101";
/// A step is about to change something.
const CHANGING: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c102";
/// A step succeeded.
const FINISHED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c103";
/// A step failed.
const FAILED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c104";
/// A step was skipped, because one that it needs failed.
const SKIPPED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c105";
/// A call is retried.
const RETRYING: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c106";
/// A program of a step printed a line.
const OUTPUT: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c107";
/// The progress of a step that takes long.
const ADVANCED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c109";
/// The boot ended.
const ENDED: &str = "5f1c2a5a0b6d4f0c9f4be8d0b8a0c108";

/// The log target of these entries: the logger omits them if a
/// [`Console`](super::console::Console) prints them already.
pub(crate) const TARGET: &str = "ingot::step";

/// The least interval between two entries about the progress of a step.
const ADVANCED_EVERY: Duration = Duration::from_secs(30);

/// Writes a boot to the log.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// When the progress of a step was last written.
    advanced: RefCell<BTreeMap<Address, Duration>>,
}

impl Journal {
    fn is_due(&self, step: &StepReport, now: Duration) -> bool {
        let mut advanced = self.advanced.borrow_mut();
        let started = || Duration::from_secs_f64(step.started_ms.unwrap_or_default() / 1e3);
        let last = advanced.entry(step.address.clone()).or_insert_with(started);
        let due = now >= *last + ADVANCED_EVERY;
        if due {
            *last = now;
        }
        due
    }
}

impl Listener for Journal {
    fn event(&self, finished: &StepReport, event: &Event<'_>) {
        let step = finished.address.as_str();
        match event {
            Event::Started => log::info!(target: TARGET, MESSAGE_ID = STARTED, STEP = step; "{step}: started"),
            Event::Changing(line) => log::info!(target: TARGET, MESSAGE_ID = CHANGING, STEP = step; "{step}: {line}"),
            Event::Waiting(reason) => log::debug!(target: TARGET, STEP = step; "{step}: waiting {reason}"),
            Event::Advanced(amount, now) => {
                if self.is_due(finished, *now) {
                    log::info!(target: TARGET, MESSAGE_ID = ADVANCED, STEP = step; "{step}: reading {amount}");
                }
            }
            Event::Output(line) => log::info!(target: TARGET, MESSAGE_ID = OUTPUT, STEP = step; "{step}| {line}"),
            Event::Warning(text) => log::warn!(target: TARGET, STEP = step; "{step}: {text}"),
            Event::Retrying { error, pause, attempt } => {
                let pause_ms = pause.as_millis() as u64;
                log::warn!(target: TARGET, MESSAGE_ID = RETRYING, STEP = step, ATTEMPT = *attempt, PAUSE_MS = pause_ms; "{step}: {error}");
            }
            Event::Finished => match (finished.outcome, &finished.error) {
                (Outcome::Failed, Some(error)) => {
                    log::error!(target: TARGET, MESSAGE_ID = FAILED, STEP = step; "{step}: failed: {}", super::console::told(error));
                }
                (Outcome::Skipped, _) => match &finished.skipped_for {
                    Some(needs) => {
                        log::warn!(target: TARGET, MESSAGE_ID = SKIPPED, STEP = step, NEEDS = needs.as_str(); "{step}: skipped: it needs {needs}")
                    }
                    None => log::warn!(target: TARGET, MESSAGE_ID = SKIPPED, STEP = step; "{step}: skipped"),
                },
                (outcome, _) => {
                    let took_ms = finished.finished_ms.unwrap_or_default() - finished.started_ms.unwrap_or_default();
                    log::info!(target: TARGET, MESSAGE_ID = FINISHED, STEP = step, OUTCOME = outcome.word(), TOOK_MS = took_ms; "{step}: {} in {took_ms:.0} ms", outcome.word());
                }
            },
        }
    }

    fn ended(&self, report: &Report) {
        let line = super::console::summary(report);
        match report.outcome {
            BootOutcome::Failed => log::error!(target: TARGET, MESSAGE_ID = ENDED; "{line}"),
            BootOutcome::Degraded | BootOutcome::NoDocument => log::warn!(target: TARGET, MESSAGE_ID = ENDED; "{line}"),
            _ => log::info!(target: TARGET, MESSAGE_ID = ENDED; "{line}"),
        }
    }
}
