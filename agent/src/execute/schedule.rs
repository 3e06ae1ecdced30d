//! Decides which units of a plan may start next, without I/O. plan/rest.rs explains "the rest" and the row of services.

use std::collections::VecDeque;

use crate::plan::{Need, Rest, Unit, awaited, row};
use crate::sorting::Sort as _;

/// How a unit ended, as far as its dependents care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    /// `required` is whether any of its failed steps was required.
    Badly {
        required: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Started,
    Ended,
}

/// Which units are waiting, running and done.
#[derive(Debug)]
pub(crate) struct Schedule {
    states: Vec<State>,
    unmet: Vec<usize>,
    dependents: Vec<Vec<Need>>,
    required: Vec<bool>,
    /// For each unit, how many services wait for it as part of "the rest": the first ones of the row.
    rest: Vec<usize>,
    /// For each such number, how many units with that number have not ended.
    rest_left: Vec<usize>,
    /// The services from this index of the row on no longer wait for the rest: all of it has ended.
    rest_done: usize,
    /// The services that still wait for the rest: the index in the row, and the unit.
    after_rest: VecDeque<(usize, usize)>,
    /// Units that run last, after everything the boot waits for, and may not start yet.
    last: Vec<usize>,
    is_last: Vec<bool>,
    /// For each unit, whether the boot waits for it, and therefore the units that run last do as well.
    awaited: Vec<bool>,
    awaited_left: usize,
    ready: VecDeque<usize>,
}

impl Schedule {
    pub(crate) fn new(units: &[Unit]) -> Self {
        let mut dependents: Vec<Vec<Need>> = vec![Vec::new(); units.len()];
        for (at, unit) in units.iter().enumerate() {
            for need in waited_for(unit) {
                dependents[need.unit].push(Need { unit: at, uses: need.uses });
            }
        }
        let row = row(units);
        let waiting = |unit: &Unit| if let Rest::Part(waiting) = unit.rest { waiting.min(row) } else { 0 };
        let rest: Vec<usize> = units.iter().map(waiting).collect();
        let mut rest_left = vec![0; row + 1];
        rest.iter().for_each(|waiting| rest_left[*waiting] += 1);
        let place = |(at, unit): (usize, &Unit)| if let Rest::After(place) = unit.rest { Some((place, at)) } else { None };
        let mut after_rest: Vec<(usize, usize)> = units.iter().enumerate().filter_map(place).collect();
        after_rest.order();
        let by_boot = awaited(units);
        let awaited: Vec<bool> = (0..units.len()).map(|at| by_boot.contains(&at) && !units[at].last).collect();
        let mut schedule = Self {
            states: vec![State::Waiting; units.len()],
            unmet: units.iter().map(|unit| waited_for(unit).count()).collect(),
            dependents,
            required: units.iter().map(|unit| unit.required).collect(),
            rest,
            rest_left,
            rest_done: row,
            after_rest: after_rest.into(),
            last: (0..units.len()).filter(|at| units[*at].last).collect(),
            is_last: units.iter().map(|unit| unit.last).collect(),
            awaited_left: awaited.iter().filter(|awaited| **awaited).count(),
            awaited,
            ready: VecDeque::new(),
        };
        // Waiting for "the rest" counts as one more unmet need, and so does running last.
        for at in schedule.after_rest.iter().map(|(_, at)| at).chain(&schedule.last) {
            schedule.unmet[*at] += 1;
        }
        schedule.ready = (0..units.len()).filter(|at| schedule.unmet[*at] == 0).collect();
        schedule.release_after_rest();
        if schedule.awaited_left == 0 {
            schedule.release_last();
        }
        schedule
    }

    /// Gives up all units except those that run last, which may start now. Returns those of them that can never run.
    pub(crate) fn cut_off(&mut self) -> Vec<usize> {
        self.ready.clear();
        let mut skipped = Vec::new();
        for at in 0..self.states.len() {
            if self.is_last[at] && self.states[at] != State::Ended {
                let used = self.unmet[at] - usize::from(self.last.contains(&at));
                self.states[at] = if used == 0 { State::Waiting } else { State::Ended };
                if used == 0 { self.ready.push_back(at) } else { skipped.push(at) }
            } else {
                self.states[at] = State::Ended;
            }
        }
        self.last.clear();
        skipped
    }

    /// Whether a unit has ended, or will never run.
    pub(crate) fn has_ended(&self, unit: usize) -> bool {
        self.states[unit] == State::Ended
    }

    /// Returns a unit that can start now, and marks it as started.
    pub(crate) fn next_ready(&mut self) -> Option<usize> {
        let at = self.ready.pop_front()?;
        self.states[at] = State::Started;
        Some(at)
    }

    /// Records how a unit ended. Returns the units that will never run because of it, each with the need that failed.
    pub(crate) fn finished(&mut self, unit: usize, ended: Ended) -> Vec<(usize, usize)> {
        let mut skipped = Vec::new();
        let mut ends = VecDeque::from([(unit, ended)]);
        while let Some((at, ended)) = ends.pop_front() {
            self.states[at] = State::Ended;
            self.awaited_left -= usize::from(self.awaited[at]);
            let cannot_be_good = matches!(ended, Ended::Badly { required: true }) && !self.is_last[at];
            if cannot_be_good || self.awaited_left == 0 {
                self.release_last();
            }
            let mut behind = self.dependents[at].clone();
            self.rest_left[self.rest[at]] -= 1;
            if matches!(ended, Ended::Badly { required: true }) {
                let stopped = self.after_rest.partition_point(|(place, _)| *place < self.rest[at]);
                behind.extend(self.after_rest.drain(..stopped).map(|(_, unit)| Need { unit, uses: false }));
                // Sorted, so that a unit with several skipped needs names the first, however it was waiting for it.
                behind.order();
            }
            for need in behind {
                if self.states[need.unit] != State::Waiting {
                    continue;
                }
                let stops = match ended {
                    Ended::Well => false,
                    Ended::Badly { required } => required || need.uses,
                };
                if stops {
                    self.states[need.unit] = State::Ended;
                    skipped.push((need.unit, at));
                    ends.push_back((need.unit, Ended::Badly { required: self.required[need.unit] }));
                } else {
                    self.met(need.unit);
                }
            }
            self.release_after_rest();
        }
        skipped
    }

    fn met(&mut self, at: usize) {
        self.unmet[at] = self.unmet[at].saturating_sub(1);
        if self.unmet[at] == 0 && self.states[at] == State::Waiting {
            self.ready.push_back(at);
        }
    }

    fn release_after_rest(&mut self) {
        while self.rest_done > 0 && self.rest_left[self.rest_done] == 0 {
            self.rest_done -= 1;
        }
        let released = self.after_rest.partition_point(|(place, _)| *place < self.rest_done);
        let mut released: Vec<usize> = self.after_rest.drain(released..).map(|(_, at)| at).collect();
        released.order();
        for at in released {
            self.met(at);
        }
    }

    fn release_last(&mut self) {
        for at in std::mem::take(&mut self.last) {
            self.met(at);
        }
    }

    #[cfg(test)]
    fn is_done(&self) -> bool {
        self.states.iter().all(|state| *state == State::Ended)
    }
}

/// The needs that keep a unit from starting. A unit that runs last waits only for those whose values it uses.
fn waited_for(unit: &Unit) -> impl Iterator<Item = &Need> {
    unit.needs.iter().filter(|need| need.uses || !unit.last)
}

/// An order in which the units could run one by one.
pub(crate) fn order(units: &[Unit]) -> Vec<usize> {
    let mut schedule = Schedule::new(units);
    let mut order = Vec::new();
    while let Some(unit) = schedule.next_ready() {
        order.push(unit);
        schedule.finished(unit, Ended::Well);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Phase;

    /// `a b:a c:b?`: b uses a value of a, c only comes after b. `!s` waits for the rest, `.z` for everything, `+w` is
    /// in the background, `~d` is not required.
    fn units(spec: &str) -> (Vec<String>, Vec<Unit>) {
        let words: Vec<&str> = spec.split_whitespace().collect();
        let name = |word: &str| word.split(':').next().unwrap().trim_start_matches(['!', '~', '.', '+']).to_owned();
        let names: Vec<String> = words.iter().map(|word| name(word)).collect();
        let units = words.iter().enumerate().map(|(at, word)| {
            let needs = word.split(':').nth(1).into_iter().flat_map(|needs| needs.split(',')).map(|need| Need {
                unit: names.iter().position(|name| *name == need.trim_end_matches('?')).unwrap(),
                uses: !need.ends_with('?'),
            });
            let (service, last, beside) = (word.starts_with('!'), word.starts_with('.'), word.starts_with('+'));
            Unit {
                members: vec![at],
                needs: needs.collect(),
                rest: match (service, last || beside) {
                    (true, _) => Rest::After(0),
                    (false, true) => Rest::Apart,
                    (false, false) => Rest::ALL,
                },
                beside,
                last,
                phase: Phase::Warm,
                required: !word.starts_with('~'),
            }
        });
        (names.clone(), units.collect())
    }

    struct Play {
        names: Vec<String>,
        schedule: Schedule,
    }

    impl Play {
        fn new(spec: &str) -> Self {
            let (names, units) = units(spec);
            Self { names, schedule: Schedule::new(&units) }
        }

        fn ready(&mut self) -> String {
            std::iter::from_fn(|| self.schedule.next_ready()).map(|at| self.names[at].clone()).collect::<Vec<_>>().join(" ")
        }

        fn finish(&mut self, name: &str, ended: Ended) -> String {
            let at = self.names.iter().position(|known| known == name).unwrap();
            let skipped = self.schedule.finished(at, ended);
            skipped.iter().map(|(at, needs)| format!("{}<{}", self.names[*at], self.names[*needs])).collect::<Vec<_>>().join(" ")
        }
    }

    const FAILED: Ended = Ended::Badly { required: true };
    const FAILED_BUT_OPTIONAL: Ended = Ended::Badly { required: false };

    #[test]
    fn a_failure_skips_only_what_depends_on_it() {
        let mut play = Play::new("a b:a c:b x");
        assert_eq!(play.ready(), "a x");
        assert_eq!(play.finish("a", FAILED), "b<a c<b");
        assert_eq!(play.finish("x", Ended::Well), "");
        assert!(play.schedule.is_done());
    }

    #[test]
    fn a_step_that_is_not_required_stops_only_those_that_use_it() {
        let mut play = Play::new("a b:a c:a?");
        play.ready();
        assert_eq!(play.finish("a", FAILED_BUT_OPTIONAL), "b<a");
        assert_eq!(play.ready(), "c");
    }

    /// Regression: it counted as a required step that failed, and no service was started.
    #[test]
    fn what_is_not_required_and_skipped_stops_only_those_that_use_it() {
        let mut play = Play::new("~a ~b:a c:b d:b? !s");
        assert_eq!(play.ready(), "a");
        assert_eq!(play.finish("a", FAILED_BUT_OPTIONAL), "b<a c<b s<c");

        let mut play = Play::new("~a ~b:a d:b? !s");
        play.ready();
        assert_eq!(play.finish("a", FAILED_BUT_OPTIONAL), "b<a");
        assert_eq!(play.ready(), "d");
        play.finish("d", Ended::Well);
        assert_eq!(play.ready(), "s");
    }

    #[test]
    fn a_service_waits_for_the_rest() {
        let mut play = Play::new("a b !s");
        assert_eq!(play.ready(), "a b");
        play.finish("a", Ended::Well);
        assert_eq!(play.ready(), "");
        play.finish("b", Ended::Well);
        assert_eq!(play.ready(), "s");
    }

    #[test]
    fn a_service_does_not_start_on_a_machine_that_is_half_made() {
        let mut play = Play::new("a b !s");
        play.ready();
        assert_eq!(play.finish("a", FAILED), "s<a");
        play.finish("b", Ended::Well);
        assert_eq!(play.ready(), "");
        assert!(play.schedule.is_done());
    }

    #[test]
    fn services_alone_start_at_once() {
        assert_eq!(Play::new("!s !t").ready(), "s t");
    }

    #[test]
    fn what_waits_for_two_starts_once() {
        let mut play = Play::new("a b c:a,b");
        play.ready();
        play.finish("b", Ended::Well);
        assert_eq!(play.ready(), "");
        play.finish("a", Ended::Well);
        assert_eq!(play.ready(), "c");
    }

    #[test]
    fn what_comes_last_waits_for_everything_that_the_boot_waits_for() {
        let mut play = Play::new("a ~b !s +w .z");
        assert_eq!(play.ready(), "a b w");
        play.finish("a", Ended::Well);
        play.finish("b", FAILED_BUT_OPTIONAL);
        assert_eq!(play.ready(), "s");
        play.finish("s", Ended::Well);
        assert_eq!(play.ready(), "z");
    }

    #[test]
    fn what_comes_last_may_come_after_what_is_beside_the_boot() {
        let mut play = Play::new("a +w .z:w?");
        assert_eq!(play.ready(), "a w");
        play.finish("a", Ended::Well);
        assert_eq!(play.ready(), "");
        play.finish("w", Ended::Well);
        assert_eq!(play.ready(), "z");
    }

    #[test]
    fn what_comes_last_comes_at_once_when_nothing_can_be_good_any_more() {
        let mut play = Play::new("a b:a x .y .z:x?");
        play.ready();
        assert_eq!(play.finish("a", FAILED), "b<a");
        assert_eq!(play.ready(), "y z");
        play.finish("x", FAILED);
        assert_eq!(play.ready(), "");
        assert_eq!(play.finish("y", FAILED), "");
    }

    #[test]
    fn what_comes_last_waits_for_what_it_uses_and_goes_without_nothing_else() {
        let mut play = Play::new("a x .y:x .z:a");
        play.ready();
        assert_eq!(play.finish("a", FAILED), "z<a");
        assert_eq!(play.ready(), "");
        play.finish("x", Ended::Well);
        assert_eq!(play.ready(), "y");
    }

    /// A skipped signal is not a failure of the boot: the other signals still wait for the end.
    #[test]
    fn what_comes_last_and_fails_releases_nothing() {
        let mut play = Play::new("~a x .y:a .z");
        play.ready();
        assert_eq!(play.finish("a", FAILED_BUT_OPTIONAL), "y<a");
        assert_eq!(play.ready(), "");
        play.finish("x", Ended::Well);
        assert_eq!(play.ready(), "z");
    }

    #[test]
    fn what_comes_last_is_all_that_is_left_of_a_boot_that_is_cut_off() {
        let mut play = Play::new("a x b:x .y:a .z:x .v");
        assert_eq!(play.ready(), "a x");
        play.finish("a", Ended::Well);
        assert_eq!(play.schedule.cut_off(), [4]);
        assert_eq!(play.ready(), "y v");
        play.finish("y", FAILED);
        play.finish("v", Ended::Well);
        assert!(play.schedule.is_done());
    }
}
