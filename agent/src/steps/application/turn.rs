//! Work for which applications take turns, because they share releases and one nginx.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::trouble::ApplicationError;
use crate::step::Context;

/// A rollback gets its turn even after the step's time is used up: work on the proxy takes others a few seconds.
const AT_LEAST: Duration = Duration::from_secs(15);

/// Waits for a turn, at most for the time left to the step. `what` describes the other application's work.
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

/// Two applications may use the same release.
pub(super) const BUILDS: &str = "that builds the same release";

/// All applications share one nginx.
pub(super) const CONFIGURES: &str = "that configures the proxy";
