//! What steps tell while they run.

use crate::failure::Explanation;
use crate::step::amount::Amount;

/// What a step says while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What it is waiting for, as in "waiting for …".
    Waiting(String),
    /// The same of an answer of AWS: until it is there, AWS could not be reached.
    Asking(String),
    /// What was waited for, or AWS was asked for, is there.
    Answered,
    /// What it has asked for was refused, or no one answered, and it asks again without beginning again.
    Refused(Explanation),
    /// How far it has come with what it reads.
    Advanced(Amount),
    /// A line that a program of this step printed, without secrets.
    Output(String),
    /// Something an operator should know, though it stops nothing.
    Warning(String),
}
