//! Decides which signals wait for others.
//!
//! If a boot failed, all wait a few seconds for its evidence, because a signal of failure may end
//! the instance. If it succeeded, those that wait for load balancers come after the lifecycle
//! hooks: before that, no load balancer knows the instance.

use std::time::Duration;

use crate::step::Turn;

/// How long S3 may make no progress before signals stop waiting for the evidence. Connecting is
/// limited to the same time.
const SILENCE: Duration = Duration::from_secs(3);

/// Whether the signals of a failed boot wait for its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// They have not begun to wait.
    Not,
    /// They wait until it has been written, or until `then`; and until `last` while S3 is making progress.
    Until { then: Duration, last: Duration },
    /// They no longer wait.
    Over,
}

impl Hold {
    /// The state after its time has passed; `silent` is how long S3 has made no progress, if it ever made any.
    pub(super) fn once_over(self, now: Duration, silent: Option<Duration>) -> Self {
        match (self, silent) {
            (Self::Until { last, .. }, Some(silent)) if silent < SILENCE && now < last => {
                Self::Until { then: (now + (SILENCE - silent)).min(last), last }
            }
            _ => Self::Over,
        }
    }
}

/// Whether a signal has to wait for others, given which turns have not ended.
pub(super) fn must_wait(turn: Turn, failed: bool, hold: Hold, is_left: impl Fn(Turn) -> bool) -> bool {
    match (turn, failed) {
        (Turn::Evidence, _) => false,
        (_, true) => matches!(hold, Hold::Until { .. }) && is_left(Turn::Evidence),
        (Turn::AfterHooks, false) => is_left(Turn::Hook),
        (_, false) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_first_moment_they_wait_only_while_s3_takes_it() {
        let seconds = Duration::from_secs;
        let hold = Hold::Until { then: seconds(5), last: seconds(10) };
        assert_eq!(hold.once_over(seconds(5), None), Hold::Over);
        assert_eq!(hold.once_over(seconds(5), Some(seconds(4))), Hold::Over);
        assert_eq!(hold.once_over(seconds(5), Some(seconds(1))), Hold::Until { then: seconds(7), last: seconds(10) });
        assert_eq!(hold.once_over(seconds(9), Some(seconds(0))), Hold::Until { then: seconds(10), last: seconds(10) });
        assert_eq!(hold.once_over(seconds(10), Some(seconds(0))), Hold::Over);
    }

    #[test]
    fn a_failure_waits_for_its_evidence_and_a_success_for_hooks() {
        let all = |_| true;
        let held = Hold::Until { then: Duration::ZERO, last: Duration::ZERO };
        for turn in [Turn::Any, Turn::Hook, Turn::AfterHooks] {
            assert!(must_wait(turn, true, held, all), "{turn:?}");
            assert!(!must_wait(turn, true, Hold::Over, all), "{turn:?}");
            assert!(!must_wait(turn, true, held, |left| left != Turn::Evidence), "{turn:?}");
            assert_eq!(must_wait(turn, false, Hold::Not, all), turn == Turn::AfterHooks, "{turn:?}");
        }
        assert!(!must_wait(Turn::AfterHooks, false, Hold::Not, |left| left != Turn::Hook));
        assert!(!must_wait(Turn::Evidence, true, held, all));
    }
}
