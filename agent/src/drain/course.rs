//! The course of a drain: the order of its stages, and which of them are done. Pure.

use super::sign::Sign;
use crate::steps::drain::settings::Settings;

/// A stage of a drain, in order. Completed stages are on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Workers take no more messages, and finish those in hand.
    Workers,
    /// Requests are served until no more arrive.
    Requests,
    /// Units are stopped.
    Units,
    /// The evidence is written to S3.
    Evidence,
    /// The lifecycle hook is completed.
    Hook,
}

impl Stage {
    pub(super) const ALL: [Self; 5] = [Self::Workers, Self::Requests, Self::Units, Self::Evidence, Self::Hook];

    /// The name of the stage in the record.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Requests => "requests",
            Self::Units => "units",
            Self::Evidence => "evidence",
            Self::Hook => "hook",
        }
    }
}

/// The course of a drain.
#[derive(Debug, Clone)]
pub(super) struct Course {
    open: Vec<Stage>,
}

impl Course {
    /// The course of a drain by `sign`; `done` says which stages are done.
    pub(super) fn new(settings: &Settings, sign: Sign, done: impl Fn(Stage) -> bool) -> Self {
        let asked_for = |stage: Stage| match stage {
            Stage::Workers => true,
            Stage::Requests => settings.serves() || !settings.targets.is_empty(),
            Stage::Units => sign.stops_units(),
            Stage::Evidence => !settings.evidence.is_empty(),
            Stage::Hook => settings.hook.is_some(),
        };
        Self { open: Stage::ALL.into_iter().filter(|stage| asked_for(*stage) && !done(*stage)).collect() }
    }

    /// The stages to run next: the first two at the same time, since an application serves its
    /// worker; the others one by one.
    pub(super) fn next(&self) -> &[Stage] {
        let both = self.open.iter().take_while(|stage| matches!(stage, Stage::Workers | Stage::Requests)).count();
        &self.open[..both.max(1).min(self.open.len())]
    }

    pub(super) fn is_done(&mut self, stage: Stage) {
        self.open.retain(|open| *open != stage);
    }
}

#[cfg(test)]
mod tests {
    use super::Stage::{Evidence, Hook, Requests, Units, Workers};
    use super::*;
    use crate::drain::tests::settings;

    /// All stages in the order in which they run; stages that run at the same time are in one list.
    fn whole(mut course: Course) -> Vec<Vec<Stage>> {
        let mut all = Vec::new();
        while !course.next().is_empty() {
            let next = course.next().to_vec();
            next.iter().for_each(|stage| course.is_done(*stage));
            all.push(next);
        }
        all
    }

    #[test]
    fn the_hook_is_completed_last() {
        let course = |sign| Course::new(&settings(), sign, |_| false);
        let all = [vec![Workers, Requests], vec![Units], vec![Evidence], vec![Hook]];
        let at = jiff::Timestamp::UNIX_EPOCH;
        for sign in [Sign::Terminated, Sign::Interrupted(at), Sign::Rebalance(at), Sign::ByHand] {
            assert_eq!(whole(course(sign)), all, "{sign}");
        }
        // systemd stops the units itself.
        assert_eq!(whole(course(Sign::Shutdown)), [vec![Workers, Requests], vec![Evidence], vec![Hook]]);
    }

    #[test]
    fn what_the_document_does_not_have_is_not_waited_for() {
        let bare = Settings { serving: Vec::new(), targets: Vec::new(), evidence: Vec::new(), hook: None, ..settings() };
        assert_eq!(whole(Course::new(&bare, Sign::Terminated, |_| false)), [vec![Workers], vec![Units]]);
    }

    /// Killed after any stage and restarted, a drain runs the remaining stages in the same order.
    #[test]
    fn what_is_on_record_is_not_done_again() {
        let cases: [(&[Stage], &[&[Stage]]); 7] = [
            (&[], &[&[Workers, Requests], &[Units], &[Evidence], &[Hook]]),
            (&[Workers], &[&[Requests], &[Units], &[Evidence], &[Hook]]),
            (&[Requests], &[&[Workers], &[Units], &[Evidence], &[Hook]]),
            (&[Workers, Requests], &[&[Units], &[Evidence], &[Hook]]),
            (&[Workers, Requests, Units], &[&[Evidence], &[Hook]]),
            (&[Workers, Requests, Units, Evidence], &[&[Hook]]),
            (&Stage::ALL, &[]),
        ];
        for (done, left) in cases {
            let course = Course::new(&settings(), Sign::Terminated, |stage| done.contains(&stage));
            assert_eq!(whole(course), left, "{done:?}");
        }
    }
}
