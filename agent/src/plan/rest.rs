//! "The rest": what a service without `after:` waits for.
//!
//! The rest is every unit that is not a service: a service starts once all files, mounts, commands and so on are done.
//! A unit of the rest that itself depends on a service, such as a command that talks to it, is called late. A service
//! waits for a late unit only if that creates no cycle. Services are processed one at a time, and each wait that is
//! added counts for the services that follow.
//!
//! The number of such waits may be the product of services and late units, so they are not stored individually. Let the
//! units behind a service be those that depend on it, directly or indirectly. Of any two services A and B that already
//! wait, the late units behind one include all late units behind the other. Proof: A waits for every late unit that is
//! not behind it, so such a unit comes before A. If a late unit behind B is not behind A, it comes before A; then A is
//! behind B, and with it everything behind A. Otherwise every late unit behind B is also behind A.
//!
//! Therefore the services form a row in which each has all the late units behind it that its predecessor has, and a
//! late unit that one service waits for is also waited for by every service earlier in the row. One number for each
//! late unit, the count of services that wait for it, describes all waits.

use super::unit::{Rest, Unit, dependents_of, needed_by};

/// Determines the relation of each unit to the rest.
pub(super) fn place(units: &mut [Unit], dependents: &[Vec<usize>]) {
    let is_service = |unit: &Unit| !matches!(unit.rest, Rest::Part(_)) && !unit.beside && !unit.last;
    let services: Vec<usize> = (0..units.len()).filter(|at| is_service(&units[*at])).collect();
    let behind = dependents_of(&services, dependents);
    let late: Vec<usize> = behind.iter().filter(|at| matches!(units[*at].rest, Rest::Part(_))).collect();
    let needed = needed_by(&late, units);
    let waiting = services.into_iter().filter(|at| matches!(units[*at].rest, Rest::After(_)));
    // Services that no late unit depends on wait for everything, and come first.
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

/// The services that wait for the rest, each with at least the late units behind it that its predecessor has.
struct Row<'a> {
    dependents: &'a [Vec<usize>],
    services: Vec<usize>,
    /// The class of each late unit: units of the same class are waited for by the same services.
    class_of: Vec<Option<usize>>,
    /// For each class, how many services wait for it: those before this index in the row.
    waiting: Vec<usize>,
    /// For each unit, the service from which it was last visited.
    met_from: Vec<Option<usize>>,
}

impl<'a> Row<'a> {
    fn new(dependents: &'a [Vec<usize>], late: &[usize]) -> Self {
        let mut class_of = vec![None; dependents.len()];
        late.iter().for_each(|at| class_of[*at] = Some(0));
        Self { dependents, services: Vec::new(), class_of, waiting: vec![0], met_from: vec![None; dependents.len()] }
    }

    /// How many services wait for a unit. `None` if the unit is not late.
    fn waiting_for(&self, unit: usize) -> Option<usize> {
        self.class_of[unit].map(|class| self.waiting[class])
    }

    /// Makes a service wait for all late units that are not behind it. The late units behind it are those found here
    /// and everything behind the services that wait for these, directly or indirectly.
    fn insert(&mut self, service: usize) {
        let behind = self.most_waited_for_behind(service);
        let place = behind.first().and_then(|at| self.waiting_for(*at)).unwrap_or_default();
        self.waiting.iter_mut().filter(|waiting| **waiting >= place).for_each(|waiting| *waiting += 1);
        self.waiting.push(place);
        behind.into_iter().for_each(|at| self.class_of[at] = Some(self.waiting.len() - 1));
        self.services.insert(place, service);
    }

    /// Among the late units that depend on a service, those that the most services wait for.
    fn most_waited_for_behind(&mut self, service: usize) -> Vec<usize> {
        let (mut found, mut most) = (Vec::new(), 0);
        let mut next = vec![service];
        while let Some(at) = next.pop() {
            if self.met_from[at].replace(service) == Some(service) {
                continue;
            }
            if let Some(waiting) = self.waiting_for(at) {
                // Whatever depends on this unit has no more services waiting for it than this unit has.
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

    /// Units that each need some earlier ones; every other unit is a service.
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

    /// A reference implementation that stores every wait, and finds cycles by following all of them each time.
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
        /// Holds for every result of the units, in every order.
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
