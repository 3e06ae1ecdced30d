//! The audience that a boot is shown to, and the result of a boot.

use crate::document::error::DocumentError;
use crate::failure::Explanation;
use crate::report::event::Listener;
use crate::report::{BootOutcome, Report};

/// Shows a boot to people and programs. Decides nothing.
pub(crate) trait Audience {
    /// The listeners for the steps of one boot.
    fn listeners(&self) -> Vec<Box<dyn Listener>>;

    /// Shows a line to people: what the boot waits for, or a warning.
    fn say(&self, line: &str);

    /// Shows the mistakes of the document. Called before the signals are sent.
    fn mistakes(&self, error: &DocumentError);

    /// Shows why the boot failed before its first step.
    fn failed(&self, error: &Explanation);

    /// Shows the result of the boot. The report is written; steps that outlast the boot may still run.
    fn over(&self, report: &Report, ending: &Ending);
}

/// The result of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every required step is as the document says.
    Done,
    Failed,
    /// The boot failed only because AWS or IMDS did not answer.
    Unreachable,
    /// The document has mistakes.
    Document,
    /// Another process has just completed the same boot. Nothing was done.
    AlreadyDone,
    /// Another release was requested after this one, and has changed this instance in the meantime. Nothing was done.
    Superseded(String),
    /// The request is invalid, for the reason given. Nothing was done.
    Refused(String),
}

impl Ending {
    /// The result in a completed report.
    pub(crate) fn of(report: &Report) -> Self {
        match report.outcome {
            BootOutcome::Failed if report.is_unreachable() => Self::Unreachable,
            BootOutcome::Failed => Self::Failed,
            _ => Self::Done,
        }
    }
}
