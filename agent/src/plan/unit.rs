//! Units: the nodes of the plan's graph, their edges, and the walks along these.

use std::collections::BTreeSet;

use crate::gather::Gather as _;
use crate::sorting::Sort as _;
use crate::step::Phase;

/// What runs as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Indices into the nodes of the plan.
    pub(crate) members: Vec<usize>,
    pub(crate) needs: Vec<Need>,
    pub(crate) rest: Rest,
    /// Whether the boot is over before it is.
    pub(crate) beside: bool,
    /// Whether it comes after everything that the boot waits for, however that ended. Of what it needs, it waits for what it
    /// uses, and for nothing else.
    pub(crate) last: bool,
    pub(crate) phase: Phase,
    /// Whether any member is. A unit that is not, and is skipped, stops only those that use it.
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
    /// Whether a value of it is used, so that there is no going on without it. Other edges are about order: where the
    /// step they lead to is not required, its failure does not stop those behind it.
    pub(crate) uses: bool,
}

/// How a unit stands to "the rest", which services without `after:` wait for besides what they need. These stand in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Waits for it, at this place of the row, counted from 0.
    After(usize),
    /// Is part of it for so many, from the start of the row on.
    Part(usize),
    Apart,
}

impl Rest {
    /// Part of it for all.
    pub(crate) const ALL: Self = Self::Part(usize::MAX);
}

/// How long the row is of those that wait for the rest.
pub(crate) fn row(units: &[Unit]) -> usize {
    let place = |unit: &Unit| if let Rest::After(place) = unit.rest { place + 1 } else { 0 };
    units.iter().map(place).max().unwrap_or(0)
}

/// Some of the units.
pub(super) struct Met(Vec<bool>);

impl Met {
    /// Those that a walk comes to which goes on from each to what `follow` adds.
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

    /// In their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().filter_map(|(at, met)| met.then_some(at))
    }
}

/// The units that the boot waits for: all but those that stand beside it and that no other needs.
pub(crate) fn awaited(units: &[Unit]) -> BTreeSet<usize> {
    let own: Vec<usize> = (0..units.len()).filter(|at| !units[*at].beside).collect();
    needed_by(&own, units).iter().gather()
}

/// `start`, and whatever needs any of it, at however many removes. `dependents` are those [of each](dependents).
pub(super) fn dependents_of(start: &[usize], dependents: &[Vec<usize>]) -> Met {
    Met::on_the_way(start, dependents.len(), |at, next| next.extend(&dependents[at]))
}

/// `start`, and whatever any of it needs, at however many removes.
pub(super) fn needed_by(start: &[usize], units: &[Unit]) -> Met {
    Met::on_the_way(start, units.len(), |at, next| next.extend(units[at].needs.iter().map(|need| need.unit)))
}

/// For each unit those that need it.
pub(super) fn dependents(units: &[Unit]) -> Vec<Vec<usize>> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (at, unit) in units.iter().enumerate() {
        unit.needs.iter().for_each(|need| dependents[need.unit].push(at));
    }
    dependents
}

/// The units one after the other, each after those that it waits for.
pub(super) fn in_order(units: &[Unit]) -> Vec<usize> {
    // Who waits for the rest comes after all of it, in the order of the row.
    let place = |unit: &Unit| if let Rest::After(place) = unit.rest { place + 1 } else { 0 };
    let mut starts: Vec<usize> = (0..units.len()).collect();
    starts.order_by_key(|at| (place(&units[*at]), *at));
    let (mut found, mut seen) = (Vec::with_capacity(units.len()), vec![false; units.len()]);
    for start in starts {
        // Each with how many of its needs were looked at. Chains are long: no recursion.
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
