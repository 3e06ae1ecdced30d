//! "The rest": what a service without `after:` waits for.
//!
//! All but services are part of it, unless they themselves depend on a service. Those, the late ones, a service waits for
//! only where that makes no cycle. Services are taken one by one, and each wait that is added counts for those that follow.
//!
//! There may be as many such waits as pairs of the two, so no one writes them down. Of two services that wait already, one
//! has all those late units behind it that the other has. (What is not behind the first comes before it. Is any of that
//! behind the second, then so is the first, with all that is behind it; otherwise what is behind the second is among what is
//! behind the first.) So they stand in a row, each with no less behind it than the one before, and whatever is waited for by
//! one is waited for by all before it: a number for each says everything.

use super::unit::{Rest, Unit, dependents_of, needed_by};

/// Decides for each unit how it stands to the rest.
pub(super) fn place(units: &mut [Unit], dependents: &[Vec<usize>]) {
    let is_service = |unit: &Unit| !matches!(unit.rest, Rest::Part(_)) && !unit.beside && !unit.last;
    let services: Vec<usize> = (0..units.len()).filter(|at| is_service(&units[*at])).collect();
    let behind = dependents_of(&services, dependents);
    let late: Vec<usize> = behind.iter().filter(|at| matches!(units[*at].rest, Rest::Part(_))).collect();
    let needed = needed_by(&late, units);
    let waiting = services.into_iter().filter(|at| matches!(units[*at].rest, Rest::After(_)));
    // Those with nothing behind them wait for all, and come first.
    let (others, first): (Vec<usize>, Vec<usize>) = waiting.partition(|at| needed.contains(*at));
    let mut row = Row::new(dependents, &late);
    others.into_iter().for_each(|service| row.insert(service));
    for at in late {
        units[at].rest = Rest::Part(first.len() + row.waiting_for(at).unwrap_or_default());
    }
    for (place, service) in first.into_iter().chain(row.services).enumerate() {
        units[service].rest = Rest::After(place);
    }
}

/// The services that wait for the rest, each with no less late units behind it than the one before.
struct Row<'a> {
    dependents: &'a [Vec<usize>],
    services: Vec<usize>,
    /// For each late unit its class: those of one class are waited for by the same.
    class_of: Vec<Option<usize>>,
    /// For each class, how many wait for it: those before this place in the row.
    waiting: Vec<usize>,
    /// For each unit, from which service it was last met.
    met_from: Vec<Option<usize>>,
}

impl<'a> Row<'a> {
    fn new(dependents: &'a [Vec<usize>], late: &[usize]) -> Self {
        let mut class_of = vec![None; dependents.len()];
        late.iter().for_each(|at| class_of[*at] = Some(0));
        Self { dependents, services: Vec::new(), class_of, waiting: vec![0], met_from: vec![None; dependents.len()] }
    }

    /// How many services wait for a unit, if it is a late one.
    fn waiting_for(&self, unit: usize) -> Option<usize> {
        self.class_of[unit].map(|class| self.waiting[class])
    }

    /// Has a service wait for all late units that are not behind it. Behind it are, at however many removes, those found
    /// here, and whatever is behind the services that wait for these.
    fn insert(&mut self, service: usize) {
        let behind = self.most_waited_for_behind(service);
        let place = behind.first().and_then(|at| self.waiting_for(*at)).unwrap_or_default();
        self.waiting.iter_mut().filter(|waiting| **waiting >= place).for_each(|waiting| *waiting += 1);
        self.waiting.push(place);
        behind.into_iter().for_each(|at| self.class_of[at] = Some(self.waiting.len() - 1));
        self.services.insert(place, service);
    }

    /// Of the late units that depend on a service, those for which most others wait.
    fn most_waited_for_behind(&mut self, service: usize) -> Vec<usize> {
        let (mut found, mut most) = (Vec::new(), 0);
        let mut next = vec![service];
        while let Some(at) = next.pop() {
            if self.met_from[at].replace(service) == Some(service) {
                continue;
            }
            if let Some(waiting) = self.waiting_for(at) {
                // For nothing that is behind it do more wait than for itself.
                if waiting < most {
                    continue;
                }
                if waiting > most {
                    found.clear();
                    most = waiting;
                }
                found.push(at);
            }
            next.extend(&self.dependents[at]);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::execute::schedule::{Ended, Schedule};
    use crate::plan::Need;
    use crate::plan::unit::dependents;
    use crate::step::Phase;

    /// Units of which each needs some before it; every other one is a service.
    fn units(needs: &[Vec<usize>]) -> Vec<Unit> {
        let unit = |(at, needs): (usize, &Vec<usize>)| {
            let needs: BTreeSet<usize> = needs.iter().filter(|need| **need < at).copied().collect();
            Unit {
                members: vec![at],
                needs: needs.into_iter().map(|unit| Need { unit, uses: unit % 3 == 0 }).collect(),
                rest: match at % 4 {
                    0 => Rest::After(0),
                    2 => Rest::Apart,
                    _ => Rest::ALL,
                },
                beside: false,
                last: false,
                phase: Phase::Warm,
                required: at % 5 != 0,
            }
        };
        needs.iter().enumerate().map(unit).collect()
    }

    /// The same with every wait written down, found by following all there are, each time.
    fn place_by_looking(units: &mut [Unit]) {
        let services: Vec<usize> = (0..units.len()).filter(|at| units[*at].rest != Rest::ALL).collect();
        let waiting: Vec<usize> = services.iter().copied().filter(|at| units[*at].rest != Rest::Apart).collect();
        units.iter_mut().for_each(|unit| unit.rest = Rest::Apart);
        for service in waiting {
            let behind = dependents_of(&[service], &dependents(units));
            for unit in (0..units.len()).filter(|at| !services.contains(at) && !behind.contains(*at)) {
                if !units[service].needs.iter().any(|need| need.unit == unit) {
                    units[service].needs.push(Need { unit, uses: false });
                }
            }
        }
    }

    fn ready(schedule: &mut Schedule) -> BTreeSet<usize> {
        std::iter::from_fn(|| schedule.next_ready()).collect()
    }

    proptest! {
        /// However the units end, and in whatever order.
        #[test]
        fn waits_as_if_every_wait_were_written_down(
            needs in prop::collection::vec(prop::collection::vec(0..24_usize, 0..3), 1..24),
            mut ends in prop::collection::vec((0..24_usize, prop::bool::weighted(0.9)), 24),
        ) {
            let (mut placed, mut looked) = (units(&needs), units(&needs));
            let of_each = dependents(&placed);
            place(&mut placed, &of_each);
            place_by_looking(&mut looked);
            let (mut one, mut other) = (Schedule::new(&placed), Schedule::new(&looked));
            let mut running = BTreeSet::new();
            let mut left = placed.len();
            loop {
                let begun = ready(&mut one);
                prop_assert_eq!(&begun, &ready(&mut other));
                running.extend(begun);
                let (Some((which, well)), false) = (ends.pop(), running.is_empty()) else { break };
                let unit = *running.iter().nth(which % running.len()).unwrap();
                running.remove(&unit);
                let ended = if well { Ended::Well } else { Ended::Badly { required: placed[unit].required } };
                let (mut skipped, mut other_skipped) = (one.finished(unit, ended), other.finished(unit, ended));
                skipped.sort_unstable();
                other_skipped.sort_unstable();
                left -= 1 + skipped.len();
                prop_assert_eq!(skipped, other_skipped);
            }
            prop_assert_eq!(left, 0);
        }
    }
}
