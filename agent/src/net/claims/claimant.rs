//! One who wants a claim, and asks its store.

use std::time::Duration;

use super::{Store, Wanter};
use crate::failure::Explanation;
use crate::host::Clock;

/// One who wants a claim.
pub(crate) struct Claimant<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) me: Wanter,
    /// What it is claimed for, for people.
    pub(crate) release: String,
    /// When to give up, on the clock.
    pub(crate) until: Duration,
    /// Is told what is waited for.
    pub(crate) waiting: &'a dyn Fn(String),
}

/// An answer, or that there was none in time.
pub(super) async fn within<T>(
    time: Duration,
    clock: &dyn Clock,
    call: impl Future<Output = Result<T, Explanation>>,
) -> Result<T, Explanation> {
    tokio::select! {
        answer = call => answer,
        () = clock.sleep(time) => {
            let silence = Explanation::new(format!("no answer within {time:?}"), Some("check the route to S3".into()));
            Err(Explanation { transient: true, unreachable: true, ..silence })
        }
    }
}
