//! «The rest»: what a service without `after:` waits for.
//!
//! All but services are part of it, unless they themselves depend on a service. Those, the late ones, a service waits for
//! only where that makes no cycle. Services are taken one by one, and each wait that is added counts for those that follow.

use std::collections::BTreeSet;

use super::graph::{Need, Unit, dependents, dependents_of};

/// Decides for each unit whether it is of the rest, and adds the waits for those that are late.
pub(super) fn place(units: &mut [Unit]) {
    let services: Vec<usize> = (0..units.len()).filter(|at| !units[*at].rest && !units[*at].beside && !units[*at].last).collect();
    let behind_services = dependents_of(&services, units);
    for at in &behind_services {
        units[*at].rest = false;
    }
    let is_service: BTreeSet<usize> = services.iter().copied().collect();
    let late: Vec<usize> =
        behind_services.into_iter().filter(|at| !is_service.contains(at) && !units[*at].beside && !units[*at].last).collect();
    if late.is_empty() {
        return;
    }
    let mut lateness = Lateness::new(units, &late);
    for service in services.into_iter().filter(|at| units[*at].after_rest).collect::<Vec<_>>() {
        let behind = lateness.behind(service);
        let known: BTreeSet<usize> = units[service].needs.iter().map(|need| need.unit).collect();
        for unit in late.iter().filter(|unit| !behind.contains(unit) && !known.contains(unit)) {
            units[service].needs.push(Need { unit: *unit, uses: false });
        }
        lateness.waits_for_all_but(&behind);
    }
}

/// Which late units come after which services, without a look at the waits that were added: those may be as many as there
/// are pairs of the two.
///
/// Of two services that wait already, one has all those late units behind it that the other has. (What is not behind the
/// first comes before it. Is any of that behind the second, then so is the first, with all that is behind it; otherwise
/// what is behind the second is among what is behind the first.) So they stand in a row, each with more behind it than the
/// one before.
struct Lateness {
    dependents: Vec<Vec<usize>>,
    /// For each late unit how many in the row it is not behind, counted from the start of the row: these wait for it.
    waited_for_by: Vec<Option<usize>>,
    late: Vec<usize>,
    row: usize,
}

impl Lateness {
    fn new(units: &[Unit], late: &[usize]) -> Self {
        let mut waited_for_by = vec![None; units.len()];
        late.iter().for_each(|at| waited_for_by[*at] = Some(0));
        Self { dependents: dependents(units), waited_for_by, late: late.to_vec(), row: 0 }
    }

    /// The late units behind a service, at however many removes.
    fn behind(&self, service: usize) -> BTreeSet<usize> {
        let mut seen = vec![false; self.dependents.len()];
        let mut found = BTreeSet::new();
        let mut reached = 0;
        let mut next = vec![service];
        while let Some(at) = next.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if let Some(waiting) = self.waited_for_by[at] {
                found.insert(at);
                reached = reached.max(waiting);
            }
            next.extend(&self.dependents[at]);
        }
        // What is behind the last one reached in the row is behind all before it too.
        found.extend(self.late.iter().filter(|at| self.waited_for_by[**at].is_some_and(|waiting| waiting < reached)));
        found
    }

    /// Takes in that a service now waits for all late units that are not behind it.
    fn waits_for_all_but(&mut self, behind: &BTreeSet<usize>) {
        // Its place in the row: after those that have less behind them.
        let place = behind.iter().filter_map(|at| self.waited_for_by[*at]).filter(|waiting| *waiting < self.row).max();
        let place = place.map_or(0, |waiting| waiting + 1);
        for at in &self.late {
            let Some(waiting) = &mut self.waited_for_by[*at] else { continue };
            if behind.contains(at) {
                *waiting = (*waiting).min(place);
            } else {
                *waiting += 1;
            }
        }
        self.row += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::steps::Phase;

    /// Units of which each needs some before it; every other one is a service.
    fn units(needs: &[Vec<usize>]) -> Vec<Unit> {
        let unit = |(at, needs): (usize, &Vec<usize>)| {
            let needs: BTreeSet<usize> = needs.iter().filter(|need| **need < at).copied().collect();
            Unit {
                members: vec![at],
                needs: needs.into_iter().map(|unit| Need { unit, uses: true }).collect(),
                after_rest: at % 4 == 0,
                rest: at % 2 == 1,
                beside: false,
                last: false,
                phase: Phase::Warm,
                required: true,
            }
        };
        needs.iter().enumerate().map(unit).collect()
    }

    /// The same by following every wait there is, each time.
    fn place_by_looking(units: &mut [Unit]) {
        let services: Vec<usize> = (0..units.len()).filter(|at| !units[*at].rest).collect();
        let behind_services = dependents_of(&services, units);
        behind_services.iter().for_each(|at| units[*at].rest = false);
        let late: Vec<usize> = behind_services.into_iter().filter(|at| !services.contains(at)).collect();
        for service in services.into_iter().filter(|at| units[*at].after_rest).collect::<Vec<_>>() {
            let behind = dependents_of(&[service], units);
            for unit in late.iter().filter(|at| !behind.contains(at)) {
                if !units[service].needs.iter().any(|need| need.unit == *unit) {
                    units[service].needs.push(Need { unit: *unit, uses: false });
                }
            }
        }
    }

    proptest! {
        #[test]
        fn finds_what_following_every_wait_finds(needs in prop::collection::vec(prop::collection::vec(0..24_usize, 0..3), 1..24)) {
            let (mut placed, mut looked) = (units(&needs), units(&needs));
            place(&mut placed);
            place_by_looking(&mut looked);
            prop_assert_eq!(placed, looked);
        }
    }
}
