//! What steps report while they run.

use crate::failure::Explanation;
use crate::step::amount::Amount;

/// A report of a step while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What it is waiting for, as in "waiting for …".
    Waiting(String),
    /// The same for an answer of AWS: until it arrives, AWS counts as unreachable.
    Asking(String),
    /// The wait is over, for something or for an answer of AWS.
    Answered,
    /// A request was refused or not answered, and is retried without restarting the step.
    Refused(Explanation),
    /// The progress of a read.
    Advanced(Amount),
    /// A line that a program of this step printed, without secrets.
    Output(String),
    /// Something an operator should know, though it stops nothing.
    Warning(String),
}
