//! What applications do one after the other, each in its turn: they share releases and one nginx.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::trouble::ApplicationError;
use crate::step::Context;

/// Going back has its turn after the time of the step, too: what others do with the proxy takes seconds.
const AT_LEAST: Duration = Duration::from_secs(15);

/// Waits for a turn, at most for as long as the step has time. `what` says what the others do.
pub(super) async fn turn<'l>(lock: &'l Mutex<()>, what: &'static str, cx: &Context<'_>) -> Result<MutexGuard<'l, ()>, ApplicationError> {
    if let Ok(turn) = lock.try_lock() {
        return Ok(turn);
    }
    cx.waiting(format!("for another application {what}"));
    tokio::select! {
        biased;
        turn = lock.lock() => Ok(turn),
        () = cx.host().clock.sleep(cx.time_left().max(AT_LEAST)) => Err(ApplicationError::Turn { what }),
    }
}

/// Two applications may have one release.
pub(super) const BUILDS: &str = "that builds the same release";

/// All have one nginx.
pub(super) const CONFIGURES: &str = "that configures the proxy";
