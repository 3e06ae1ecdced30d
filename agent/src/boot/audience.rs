//! Who is told how a boot goes, and what it came to.

use crate::document::error::DocumentError;
use crate::failure::Explanation;
use crate::report::event::Listener;
use crate::report::{BootOutcome, Report};

/// Whoever watches a boot. It decides nothing.
pub(crate) trait Audience {
    /// Who listens to every step of one boot.
    fn listeners(&self) -> Vec<Box<dyn Listener>>;

    /// A line for people: what the boot waits for, or what it could not do though that stops nothing.
    fn say(&self, line: &str);

    /// The document has mistakes. The signals that can be read are sent after this.
    fn mistakes(&self, error: &DocumentError);

    /// The boot failed before its first step.
    fn failed(&self, error: &Explanation);

    /// The boot is over and its report is written, though something may still go on beside it.
    fn over(&self, report: &Report, ending: &Ending);
}

/// What a boot came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything that is required is as the document says.
    Done,
    Failed,
    /// It failed, and for nothing but AWS or IMDS, which gave no answer.
    Unreachable,
    /// The document has mistakes.
    Document,
    /// Another process has just made the same boot, and nothing was done.
    AlreadyDone,
    /// What was asked for makes no sense, in words for people. Nothing was done.
    Refused(String),
}

impl Ending {
    /// What a report that is closed says.
    pub(crate) fn of(report: &Report) -> Self {
        match report.outcome {
            BootOutcome::Failed if report.is_unreachable() => Self::Unreachable,
            BootOutcome::Failed => Self::Failed,
            _ => Self::Done,
        }
    }
}
