//! What is reported while a deployment runs.

use crate::deployment::course::Operation;
use crate::failure::Failure;
use crate::release::name::Name;
use crate::story::Event;

/// Receiver of the reports.
pub(crate) trait Tell {
    /// An operation on the stack begins.
    fn begins(&self, operation: Operation);

    /// Instances are sent a release in place, or the previous one.
    fn sends(&self, release: &Name, ids: &[String], goes_back: bool);

    /// Another operation runs on the stack, which has this status.
    fn waits_for_others(&self, status: &str);

    /// AWS does not answer at the moment.
    fn silent(&self, failure: &Failure);

    /// Something happened to the stack.
    fn event(&self, event: &Event);

    /// An instance has failed or cannot be launched.
    fn news(&self, sentence: &str);

    /// Called at intervals, to show progress.
    async fn look(&self);
}
