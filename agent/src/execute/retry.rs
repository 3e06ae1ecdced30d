//! When a step tries again: after a jittered pause, within its deadline.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::failure::Explanation;

/// The pause before try number `attempt + 1`. `None` if a retry is pointless: one of the failures is permanent, or the
/// time left is shorter than the pause.
pub(crate) fn pause<'e>(failures: impl Iterator<Item = &'e Explanation> + Clone, attempt: u32, left: Duration) -> Option<Duration> {
    if failures.clone().any(|failure| !failure.transient) {
        return None;
    }
    let first = failures.into_iter().next()?;
    let pause = match first.retry_after {
        Some(together) if first.paced => together,
        asked_for => Backoff::CALL.pause(attempt, asked_for),
    };
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn failure(transient: bool) -> Explanation {
        Explanation { transient, ..Explanation::new("no", None) }
    }

    #[test]
    fn tries_again_only_what_may_pass() {
        assert!(pause([&failure(true)].into_iter(), 1, MINUTE).is_some());
        assert_eq!(pause([&failure(true), &failure(false)].into_iter(), 1, MINUTE), None);
        assert_eq!(pause([].into_iter(), 1, MINUTE), None);
    }

    #[test]
    fn does_not_sleep_over_its_deadline() {
        let late = Explanation { retry_after: Some(MINUTE), ..failure(true) };
        assert_eq!(pause([&late].into_iter(), 1, MINUTE), None);
    }

    #[test]
    fn a_pause_that_was_drawn_for_many_is_taken_as_it_is() {
        let paced = Explanation { retry_after: Some(Duration::from_secs(3)), paced: true, ..failure(true) };
        assert_eq!(pause([&paced].into_iter(), 9, MINUTE), Some(Duration::from_secs(3)));
    }
}
