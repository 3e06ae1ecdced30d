//! What is told while a deployment goes on.

use crate::deployment::course::Operation;
use crate::failure::Failure;
use crate::release::name::Name;
use crate::story::Event;

/// Who is told.
pub(crate) trait Tell {
    /// An operation on the stack begins.
    fn begins(&self, operation: Operation);

    /// Instances get a release in place, or what ran before.
    fn sends(&self, release: &Name, ids: &[String], goes_back: bool);

    /// Somebody else works on the stack, which is in this status.
    fn waits_for_others(&self, status: &str);

    /// AWS gives no answer for now.
    fn silent(&self, failure: &Failure);

    /// Something happened to the stack.
    fn event(&self, event: &Event);

    /// An instance has failed, or something stands in the way of launching one.
    fn news(&self, sentence: &str);

    /// A while has passed.
    async fn look(&self);
}
