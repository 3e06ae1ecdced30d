//! Units: the nodes of the plan's graph, their edges, and the walks along these.

use std::collections::BTreeSet;

use crate::gather::Gather as _;
use crate::sorting::Sort as _;
use crate::step::Phase;

/// A set of steps that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Indices into the nodes of the plan.
    pub(crate) members: Vec<usize>,
    pub(crate) needs: Vec<Need>,
    pub(crate) rest: Rest,
    /// Whether it runs in the background, so that the boot does not wait for it.
    pub(crate) beside: bool,
    /// Whether it runs after everything that the boot waits for, whatever the results are. Of its needs, it waits only
    /// for those whose values it uses.
    pub(crate) last: bool,
    pub(crate) phase: Phase,
    /// Whether any member is required. If a unit that is not required is skipped, only the units that use it are
    /// stopped.
    pub(crate) required: bool,
}

impl Unit {
    pub(crate) fn waits_for_rest(&self) -> bool {
        matches!(self.rest, Rest::After(_))
    }
}

/// An edge to another unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) unit: usize,
    /// Whether a value of the other unit is used, so that this one cannot run without it. All other edges only define
    /// the order: if the step they lead to is not required, its failure does not stop the steps after it.
    pub(crate) uses: bool,
}

/// A unit's relation to "the rest", which services without `after:` wait for in addition to their needs. These services
/// form a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Waits for the rest, at this index in the row, counted from 0.
    After(usize),
    /// Is part of the rest for this many services, from the start of the row.
    Part(usize),
    Apart,
}

impl Rest {
    /// Part of the rest for all services.
    pub(crate) const ALL: Self = Self::Part(usize::MAX);
}

/// The length of the row of units that wait for the rest.
pub(crate) fn row(units: &[Unit]) -> usize {
    let place = |unit: &Unit| if let Rest::After(place) = unit.rest { place + 1 } else { 0 };
    units.iter().map(place).max().unwrap_or(0)
}

/// A set of units.
pub(super) struct Met(Vec<bool>);

impl Met {
    /// The units visited by a walk from `start` that continues from each unit to those that `follow` adds.
    fn on_the_way(start: &[usize], count: usize, follow: impl Fn(usize, &mut Vec<usize>)) -> Self {
        let (mut met, mut next) = (vec![false; count], start.to_vec());
        while let Some(at) = next.pop() {
            if !std::mem::replace(&mut met[at], true) {
                follow(at, &mut next);
            }
        }
        Self(met)
    }

    pub(super) fn contains(&self, at: usize) -> bool {
        self.0[at]
    }

    /// In order of their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter_map(|(at, met)| met.then_some(at))
    }
}

/// The units that the boot waits for: all except background units that no other unit needs.
pub(crate) fn awaited(units: &[Unit]) -> BTreeSet<usize> {
    let own: Vec<usize> = (0..units.len()).filter(|at| !units[*at].beside).collect();
    needed_by(&own, units).iter().gather()
}

/// `start` and every unit that needs any of it, directly or indirectly. `dependents` is the result of [`dependents`].
pub(super) fn dependents_of(start: &[usize], dependents: &[Vec<usize>]) -> Met {
    Met::on_the_way(start, dependents.len(), |at, next| next.extend(&dependents[at]))
}

/// `start` and every unit that any of it needs, directly or indirectly.
pub(super) fn needed_by(start: &[usize], units: &[Unit]) -> Met {
    Met::on_the_way(start, units.len(), |at, next| next.extend(units[at].needs.iter().map(|need| need.unit)))
}

/// For each unit, the units that need it.
pub(super) fn dependents(units: &[Unit]) -> Vec<Vec<usize>> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (at, unit) in units.iter().enumerate() {
        unit.needs.iter().for_each(|need| dependents[need.unit].push(at));
    }
    dependents
}

/// The units in an order in which each comes after the units it waits for.
pub(super) fn in_order(units: &[Unit]) -> Vec<usize> {
    // A unit that waits for the rest comes after all of it, in the order of the row.
    let place = |unit: &Unit| if let Rest::After(place) = unit.rest { place + 1 } else { 0 };
    let mut starts: Vec<usize> = (0..units.len()).collect();
    starts.order_by_key(|at| (place(&units[*at]), *at));
    let (mut found, mut seen) = (Vec::with_capacity(units.len()), vec![false; units.len()]);
    for start in starts {
        // Each entry has the number of its needs that were visited. Chains may be long, so there is no recursion.
        let mut open = vec![(start, 0)];
        while let Some((at, looked)) = open.pop() {
            if looked == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match units[at].needs.get(looked) {
                Some(need) => open.extend([(at, looked + 1), (need.unit, 0)]),
                None => found.push(at),
            }
        }
    }
    found
}
