//! Whether the application is ready, as far as that is known, and how many messages it may have at the same time. While
//! it is not ready, no messages are received, and those that arrive wait for the result of a probe. Pure.
//!
//! An application that was gone is first tried with one message, and with twice as many after each answer: so a message
//! that crashes it takes few others with it, and is identified soon. Messages that it had before, and still has, do not
//! count: one of its processes has ended, while others continue.

use std::time::Duration;

use crate::backoff::Backoff;

/// The interval of probes after an answer that leaves open whether the application is ready.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// The interval of probes while the application has messages and does not answer.
const WHILE_BUSY: Duration = Duration::from_secs(10);

/// After this many consecutive answers of a proxy, without one of the application, the application counts as gone.
const SUSPECTS: u32 = 5;

/// What an answer means for the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works, or asks for a pause.
    Alive,
    /// It answers with a failure.
    Failed,
    /// It does not answer in time.
    Silent,
    /// It may be gone: a proxy in front of it has answered instead.
    Suspect,
    /// It is gone.
    Gone,
}

/// Why no messages are taken while the worker is held.
const HELD: &str = "the application is being replaced";

/// Starts closed: an application that was never ready is probed first.
#[derive(Debug)]
pub(super) struct Gate {
    is_open: bool,
    /// Whether another process is about to stop the application.
    is_held: bool,
    is_asking: bool,
    /// Whether the probe in flight may have reached another process than the current one.
    is_outdated: bool,
    /// The number of consecutive probes that failed.
    tries: u32,
    /// When a closed gate is probed next.
    next: Duration,
    /// How often the application was gone since it last had as many messages as it may.
    doubts: u32,
    /// How many messages of this trial the application may have.
    window: usize,
    /// Counts how often the gate was closed. Messages of earlier trials are still being handled by
    /// processes that have not ended.
    trial: u32,
    suspects: u32,
    /// Whether an answer has left open whether the application is ready.
    is_suspected: bool,
    /// When the application was last known to be ready.
    known: Duration,
    /// Why the application is not ready.
    why: String,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            is_open: false,
            is_held: false,
            is_asking: false,
            is_outdated: false,
            tries: 0,
            next: Duration::ZERO,
            doubts: 0,
            window: usize::MAX,
            trial: 0,
            suspects: 0,
            is_suspected: false,
            known: Duration::ZERO,
            why: String::new(),
        }
    }
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.is_open && !self.is_held
    }

    /// How many messages of this [trial](Self::trial) the application may have at the same time.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// The number of the trial: a new one begins each time the gate is closed.
    pub(super) fn trial(&self) -> u32 {
        self.trial
    }

    /// Whether to probe the application now. `is_busy` means that it has messages.
    pub(super) fn asks(&mut self, now: Duration, is_busy: bool) -> bool {
        let is_due = self.next_due(is_busy).is_some_and(|due| now >= due);
        self.is_asking |= is_due;
        is_due
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Another process is about to stop the application, or is done: then the application is
    /// probed, since it may be another one.
    pub(super) fn hold(&mut self, held: bool, now: Duration) {
        match held {
            true => self.is_held = true,
            false => {
                let Self { is_asking, trial, .. } = *self;
                *self = Self { next: now, is_asking, is_outdated: is_asking, trial, ..Self::default() };
            }
        }
    }

    /// When the next probe is due.
    pub(super) fn next_due(&self, is_busy: bool) -> Option<Duration> {
        match self.is_open {
            _ if self.is_asking || self.is_held => None,
            false => Some(self.next),
            true if self.is_suspected => Some(self.known + AFTER_A_FAILURE),
            true => is_busy.then_some(self.known + WHILE_BUSY),
        }
    }

    /// Takes in an answer to a message. `room` is how many messages the application may have when nothing is wrong.
    pub(super) fn answered(&mut self, sign: Sign, now: Duration, room: usize) {
        match sign {
            Sign::Alive => (self.is_suspected, self.known, self.suspects) = (false, now, 0),
            Sign::Failed => (self.is_suspected, self.suspects) = (true, 0),
            Sign::Silent => self.is_suspected = true,
            Sign::Suspect => {
                (self.is_suspected, self.suspects) = (true, self.suspects + 1);
                if self.suspects >= SUSPECTS {
                    self.doubt(now);
                }
            }
            Sign::Gone => self.doubt(now),
        }
        if matches!(sign, Sign::Alive | Sign::Failed) && self.window < usize::MAX {
            self.window *= 2;
            if self.window >= room {
                (self.window, self.doubts) = (usize::MAX, 0);
            }
        }
    }

    /// Closes the gate because the application may be gone. However soon it is ready again, it gets
    /// a pause, longer each time.
    fn doubt(&mut self, now: Duration) {
        if self.is_open {
            self.doubts += 1;
            self.shut(now + Backoff::TRUSTING.pause(self.doubts, None), 0);
        }
    }

    fn shut(&mut self, next: Duration, tries: u32) {
        (self.is_open, self.window, self.suspects, self.is_suspected) = (false, 1, 0, false);
        (self.next, self.tries, self.trial) = (next, tries, self.trial + 1);
    }

    /// Takes in the result of a probe; `is_late` if there was no answer in time.
    pub(super) fn probed(&mut self, answer: Result<(), String>, is_late: bool, now: Duration) {
        self.is_asking = false;
        if std::mem::take(&mut self.is_outdated) {
            return;
        }
        self.known = now;
        let was_suspected = std::mem::take(&mut self.is_suspected);
        let Err(why) = answer else {
            if !self.why.is_empty() {
                log::info!("the application is ready");
            }
            (self.is_open, self.why) = (true, String::new());
            return;
        };
        // An application that handles one message at a time cannot answer a probe in the meantime.
        if self.is_open && is_late && !was_suspected {
            return;
        }
        let tries = if self.is_open { 1 } else { self.tries + 1 };
        let next = now + Backoff::FEEDING.pause(tries, None);
        if self.is_open {
            self.shut(next, tries);
        } else {
            (self.next, self.tries) = (next, tries);
        }
        if self.why != why {
            log::warn!("the application is not ready ({why}): no messages are taken until it is");
            self.why = why;
        }
    }

    /// Whether a probe has found that the application is not ready.
    pub(super) fn has_failed(&self) -> bool {
        !self.is_open && self.tries > 0
    }

    /// Why no messages are taken. `None` if they are.
    pub(super) fn why(&self) -> Option<&str> {
        match self.is_held {
            true => Some(HELD),
            false => (!self.is_open).then_some(if self.why.is_empty() { "asking whether the application is ready" } else { &self.why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 4;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn open() -> Gate {
        let mut gate = Gate::default();
        assert!(gate.asks(at(0), false));
        gate.probed(Ok(()), false, at(0));
        gate
    }

    #[test]
    fn it_opens_when_the_application_is_ready_and_shuts_when_it_is_gone() {
        let mut gate = Gate::default();
        assert!(gate.asks(at(10), false) && !gate.asks(at(10), false) && gate.next_due(false).is_none(), "once at a time");
        gate.probed(Err("connection refused".into()), false, at(10));
        assert_eq!((gate.is_open(), gate.has_failed(), gate.why()), (false, true, Some("connection refused")));
        assert!(!gate.asks(at(10), false));
        let due = gate.next_due(false).unwrap();
        assert!(gate.asks(due, false));
        gate.probed(Ok(()), false, due);
        assert!(gate.is_open() && gate.why().is_none() && gate.next_due(false).is_none() && gate.window() == usize::MAX);
        gate.answered(Sign::Gone, at(20), ROOM);
        gate.answered(Sign::Gone, at(30), ROOM);
        assert_eq!(
            (gate.is_open(), gate.has_failed(), gate.next_due(true)),
            (false, false, Some(at(20) + Backoff::TRUSTING.pause(1, None)))
        );
        assert!(gate.why().is_some());
    }

    #[test]
    fn one_that_is_gone_again_and_again_rests_for_longer_and_gets_one_message() {
        let mut gate = open();
        let mut rests = Vec::new();
        for _ in 0..9 {
            gate.answered(Sign::Gone, at(100), ROOM);
            rests.push((gate.next_due(false).unwrap() - at(100)).as_millis());
            assert!(gate.asks(at(200), false));
            gate.probed(Ok(()), false, at(200));
            assert_eq!(gate.window(), 1);
        }
        assert_eq!(rests, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        gate.answered(Sign::Failed, at(201), ROOM);
        assert_eq!(gate.window(), 2);
        gate.answered(Sign::Alive, at(202), ROOM);
        assert_eq!(gate.window(), usize::MAX);
        gate.answered(Sign::Gone, at(300), ROOM);
        assert_eq!(gate.next_due(false), Some(at(300) + Duration::from_millis(500)), "it is trusted as before");
    }

    #[test]
    fn one_that_fails_is_asked_and_one_that_works_is_not() {
        let mut gate = open();
        gate.answered(Sign::Alive, at(8), ROOM);
        assert_eq!((gate.next_due(true), gate.next_due(false)), (Some(at(18)), None));
        gate.answered(Sign::Failed, at(9), ROOM);
        assert_eq!(gate.next_due(false), Some(at(13)));
        assert!(gate.asks(at(13), false) && gate.is_open());
        gate.probed(Err("status 503".into()), false, at(13));
        assert_eq!((gate.is_open(), gate.why()), (false, Some("status 503")));
    }

    #[test]
    fn one_that_is_busy_may_have_no_time_for_a_probe() {
        let mut gate = open();
        assert!(gate.asks(at(10), true));
        gate.probed(Err("no response within 5s".into()), true, at(15));
        assert!(gate.is_open());
        gate.answered(Sign::Silent, at(20), ROOM);
        assert!(gate.asks(at(20), true));
        gate.probed(Err("no response within 5s".into()), true, at(25));
        assert!(!gate.is_open(), "a message has had no answer either");
    }

    #[test]
    fn answers_of_a_proxy_alone_say_that_it_is_gone() {
        let mut gate = open();
        (0..4).for_each(|_| gate.answered(Sign::Suspect, at(1), ROOM));
        gate.answered(Sign::Alive, at(1), ROOM);
        (0..4).for_each(|_| gate.answered(Sign::Suspect, at(1), ROOM));
        assert!(gate.is_open());
        gate.answered(Sign::Suspect, at(1), ROOM);
        assert!(!gate.is_open());
    }

    #[test]
    fn what_the_one_before_has_answered_says_nothing_of_the_next() {
        let mut gate = open();
        assert!(gate.asks(at(10), true));
        gate.hold(true, at(11));
        gate.hold(false, at(12));
        assert!(!gate.asks(at(12), false), "one at a time");
        gate.probed(Ok(()), false, at(13));
        assert!(!gate.is_open() && gate.asks(at(13), false));
        gate.probed(Ok(()), false, at(14));
        assert!(gate.is_open());
    }

    #[test]
    fn it_is_shut_while_it_is_held_and_asks_afterwards() {
        let mut gate = open();
        gate.hold(true, at(10));
        gate.answered(Sign::Gone, at(10), ROOM);
        assert_eq!((gate.is_open(), gate.asks(at(20), true), gate.next_due(true), gate.why()), (false, false, None, Some(HELD)));
        // The answer to a probe from before.
        gate.probed(Ok(()), false, at(10));
        assert!(!gate.is_open());
        gate.hold(false, at(20));
        assert!(!gate.is_open() && gate.asks(at(20), false) && gate.why() != Some(HELD));
    }
}
