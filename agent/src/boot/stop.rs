//! Why a boot ends early.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::document::error::DocumentError;
use crate::execute::{Halt, LAST_WORDS};
use crate::failure::{Explanation, Failure};
use crate::host::Clock;

/// Completes with the name of a signal, such as SIGTERM, when one asks the boot to end.
pub(super) type Asked<'a> = Pin<&'a mut dyn Future<Output = &'static str>>;

/// Why a boot ended before its first step.
#[derive(Debug)]
pub(crate) enum Stop {
    Document(DocumentError),
    /// The request is invalid.
    Refused(String),
    Failed(Explanation),
    /// A signal asked for it.
    Asked(Explanation),
    /// Another process has just completed the same boot.
    AlreadyDone,
}

impl<F: Failure> From<F> for Stop {
    fn from(failure: F) -> Self {
        Self::Failed(Explanation::of(&failure))
    }
}

/// Completes when the boot has to end: at its deadline, or when a signal asks for it.
pub(super) async fn stopped(deadline: Duration, clock: &dyn Clock, asked: Asked<'_>) -> Halt {
    let left = deadline.saturating_sub(clock.elapsed());
    tokio::select! {
        biased;
        signal = asked => Halt::Asked(stopped_by(signal)),
        () = clock.sleep(left) => {
            let hint = "see what it waited for, or give `ingot boot` a longer --deadline";
            Halt::Deadline(Explanation::new(format!("the boot's deadline of {deadline:?} passed"), Some(hint.into())))
        }
    }
}

/// Completes when the time for the last signals of a boot is over, or when a signal asks for it.
pub(super) async fn enough(clock: &dyn Clock, asked: Asked<'_>) -> Halt {
    tokio::select! {
        biased;
        signal = asked => Halt::Asked(stopped_by(signal)),
        () = clock.sleep(LAST_WORDS) => Halt::Asked(Explanation::new(format!("AWS did not take it within {LAST_WORDS:?}"), None)),
    }
}

pub(super) fn stopped_by(signal: &str) -> Explanation {
    Explanation::new(format!("stopped by {signal}"), Some("run `ingot boot` to go on where it was".into()))
}
