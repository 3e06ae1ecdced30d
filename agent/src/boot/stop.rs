//! Why a boot ends early.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::document::error::DocumentError;
use crate::execute::Halt;
use crate::failure::{Explanation, Failure};
use crate::host::Clock;
use crate::template::TemplateError;
use crate::text::Place;

/// Completes with the name of a signal, such as SIGTERM, when one asks the boot to end.
pub(super) type Asked<'a> = Pin<&'a mut dyn Future<Output = &'static str>>;

/// Why a boot ended before its first step.
#[derive(Debug)]
pub(crate) enum Stop {
    Document(DocumentError),
    /// The document is fine, but the requested release is not. No signal of failure is sent for such a slip.
    Release(DocumentError),
    /// The request is invalid.
    Refused(String),
    Failed(Explanation),
    /// A signal asked the boot to end.
    Asked(Explanation),
    /// Another process has just completed the same boot.
    AlreadyDone,
    /// Another release was requested in the meantime.
    Superseded(Explanation),
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
            let hint = "run `ingot status` to see what it waited for, or give `ingot boot` a longer --deadline";
            Halt::Deadline(Explanation::new(format!("the boot's deadline of {deadline:?} passed"), Some(hint.into())))
        }
    }
}

/// Completes when the time limit `within` for a boot's last signals is over, or when a signal asks for it.
pub(super) async fn enough(within: Duration, clock: &dyn Clock, asked: Asked<'_>) -> Halt {
    tokio::select! {
        biased;
        signal = asked => Halt::Asked(stopped_by(signal)),
        () = clock.sleep(within) => Halt::Asked(Explanation::new(format!("AWS did not accept it within {within:?}"), None)),
    }
}

/// The failure of a boot in which a value of the document could not be rendered.
pub(super) fn unfilled(place: &Place, error: &TemplateError) -> Stop {
    let error = Explanation::of(error);
    Stop::Failed(Explanation { message: format!("{place}: {}", error.message), ..error })
}

pub(super) fn stopped_by(signal: &str) -> Explanation {
    Explanation::new(format!("stopped by {signal}"), Some("run `ingot boot` to resume".into()))
}
