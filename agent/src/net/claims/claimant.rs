//! An instance that wants a claim, and its calls to the store.

use std::time::Duration;

use super::{Store, Wanter};
use crate::failure::Explanation;
use crate::host::Clock;

/// An instance that wants a claim.
pub(crate) struct Claimant<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) me: Wanter,
    /// The purpose of the claim, in readable form.
    pub(crate) release: String,
    /// When to give up, on the clock.
    pub(crate) until: Duration,
    /// Called with a description of what is being waited for.
    pub(crate) waiting: &'a dyn Fn(String),
}

/// The answer of a call, or an error if it does not arrive in time.
pub(super) async fn within<T>(
    time: Duration,
    clock: &dyn Clock,
    call: impl Future<Output = Result<T, Explanation>>,
) -> Result<T, Explanation> {
    tokio::select! {
        answer = call => answer,
        () = clock.sleep(time) => {
            let silence = Explanation::new(format!("no response within {time:?}"), Some("check the route to S3".into()));
            Err(Explanation { transient: true, unreachable: true, ..silence })
        }
    }
}
