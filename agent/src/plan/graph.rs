//! The graph of a plan: what runs as one, what runs after what, and whether that can be done at all.
//!
//! Nodes are [`Unit`]s: a step alone, or files that a service restarts on, which are staged first and renamed together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::address::{Address, Reference, Usage};
use crate::document::Item;
use crate::document::error::Mistake;
use crate::plan::{phases, rest};
use crate::step::{Order, Phase, Shapes};

/// What runs as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Indices into [`Plan::nodes`](super::Plan::nodes).
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

/// How a unit stands to «the rest», which services without `after:` wait for besides what they need. These stand in a row.
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

/// The units that the boot waits for: all but those that stand beside it and that no other needs.
pub(crate) fn awaited(units: &[Unit]) -> BTreeSet<usize> {
    let own: Vec<usize> = (0..units.len()).filter(|at| !units[*at].beside).collect();
    needed_by(&own, units)
}

/// Groups steps into units and finds their edges; cycles are mistakes.
pub(crate) fn units(
    items: &BTreeMap<Address, Item>,
    shapes: &Shapes<'_>,
    references: &[Vec<Reference>],
    mistakes: &mut Vec<Mistake>,
) -> Vec<Unit> {
    let addresses: Vec<&Address> = items.keys().collect();
    let index = |address: &Address| addresses.binary_search(&address).ok();
    let groups = groups(shapes, &index);
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of = vec![0; addresses.len()];
    let mut unit_of_group: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, (item, shape)) in items.values().zip(shapes.values()).enumerate() {
        let unit = *unit_of_group.entry(groups[at]).or_insert_with(|| {
            let order = shape.order;
            units.push(Unit {
                members: Vec::new(),
                needs: Vec::new(),
                rest: match order {
                    Order::AfterTheRest if item.after.is_none() => Rest::After(0),
                    Order::ByReferences => Rest::ALL,
                    _ => Rest::Apart,
                },
                beside: order == Order::Beside,
                last: order == Order::AfterEverything,
                phase: Phase::Warm,
                required: false,
            });
            units.len() - 1
        });
        units[unit].members.push(at);
        units[unit].required |= item.common.required.unwrap_or(true);
        unit_of[at] = unit;
    }
    let mounts = mounts(shapes);
    for (at, (item, shape)) in items.values().zip(shapes.values()).enumerate() {
        let used = references[at].iter().filter_map(|reference| Some((reference.address()?, reference.usage != Usage::Tested)));
        let after = item.after.iter().flatten().map(|(address, _)| (address.clone(), false));
        let watched = shape.watches.iter().map(|address| ((*address).clone(), false));
        let unit = unit_of[at];
        // Without the mount that is to hold it, a path means another place: there is no going on without it.
        for path in &shape.paths {
            if let Some(by) = holder(path, at, &mounts)
                && unit_of[by] != unit
            {
                units[unit].needs.push(Need { unit: unit_of[by], uses: true });
            }
        }
        for (address, uses) in used.chain(after).chain(watched) {
            if let Some(target) = index(&address)
                && unit_of[target] != unit
            {
                units[unit].needs.push(Need { unit: unit_of[target], uses });
            }
        }
    }
    for unit in &mut units {
        unit.needs.sort_by_key(|need| (need.unit, !need.uses));
        unit.needs.dedup_by_key(|need| need.unit);
    }
    report_cycles(&units, &addresses, items, mistakes);
    phases::place(&mut units, items, shapes, mistakes);
    if mistakes.is_empty() {
        rest::place(&mut units);
    }
    units
}

/// Where something is mounted, and by which steps.
fn mounts<'a>(shapes: &'a Shapes<'_>) -> BTreeMap<&'a Path, Vec<usize>> {
    let mut mounts: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (by, shape) in shapes.values().enumerate() {
        if let Some(at) = &shape.mounts_at {
            mounts.entry(at.as_ref()).or_default().push(by);
        }
    }
    mounts
}

/// The step that mounts what holds a path: the nearest, and not `own`.
fn holder(path: &Path, own: usize, mounts: &BTreeMap<&Path, Vec<usize>>) -> Option<usize> {
    path.ancestors().filter_map(|above| mounts.get(above)).find_map(|by| by.iter().rev().copied().find(|by| *by != own))
}

/// For each step the representative of its group: files watched by one service belong together.
fn groups(shapes: &Shapes<'_>, index: &dyn Fn(&Address) -> Option<usize>) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..shapes.len()).collect();
    fn root(parent: &mut [usize], mut at: usize) -> usize {
        while parent[at] != at {
            parent[at] = parent[parent[at]];
            at = parent[at];
        }
        at
    }
    for shape in shapes.values() {
        let files = shape.watches.iter().filter(|address| matches!(address.kind(), "files" | "credentials"));
        let files: Vec<usize> = files.filter_map(|address| index(address)).collect();
        for pair in files.windows(2) {
            let (a, b) = (root(&mut parent, pair[0]), root(&mut parent, pair[1]));
            parent[a.max(b)] = a.min(b);
        }
    }
    (0..shapes.len()).map(|at| root(&mut parent, at)).collect()
}

/// Names every cycle in full.
fn report_cycles(units: &[Unit], addresses: &[&Address], items: &BTreeMap<Address, Item>, mistakes: &mut Vec<Mistake>) {
    let mut left: BTreeSet<usize> = (0..units.len()).collect();
    let mut unmet: Vec<usize> = units.iter().map(|unit| unit.needs.len()).collect();
    let dependents = dependents(units);
    let mut free: Vec<usize> = left.iter().copied().filter(|at| unmet[*at] == 0).collect();
    loop {
        while let Some(at) = free.pop() {
            left.remove(&at);
            for dependent in &dependents[at] {
                unmet[*dependent] = unmet[*dependent].saturating_sub(1);
                if unmet[*dependent] == 0 && left.contains(dependent) {
                    free.push(*dependent);
                }
            }
        }
        // Every unit that is left needs another that is left; following needs must come round.
        let Some(start) = left.first().copied() else { return };
        let mut path = vec![start];
        let cycle = loop {
            let at = path[path.len() - 1];
            let next = units[at].needs.iter().map(|need| need.unit).find(|need| left.contains(need));
            let Some(next) = next else { return };
            if let Some(from) = path.iter().position(|seen| *seen == next) {
                break path.split_off(from);
            }
            path.push(next);
        };
        mistakes.push(cycle_mistake(&cycle, units, addresses, items));
        for at in cycle {
            unmet[at] = 0;
            free.push(at);
        }
    }
}

fn cycle_mistake(cycle: &[usize], units: &[Unit], addresses: &[&Address], items: &BTreeMap<Address, Item>) -> Mistake {
    let name = |at: &usize| {
        let names: Vec<&str> = units[*at].members.iter().map(|member| addresses[*member].as_str()).collect();
        names.join(" with ")
    };
    let mut names: Vec<String> = cycle.iter().map(name).collect();
    names.push(names[0].clone());
    let together = cycle.iter().any(|at| units[*at].members.len() > 1);
    let hint = if together {
        "files that one service restarts on are installed together: take one of them out of `restart_on:`, or one of these references away"
    } else {
        "take one of these references or `after:` away"
    };
    let first = addresses[units[cycle[0]].members[0]];
    Mistake::at(&items[first].place, format!("these steps wait for each other: {}", names.join(" needs ")), hint)
}

/// `start`, and whatever needs any of it, at however many removes.
pub(super) fn dependents_of(start: &[usize], units: &[Unit]) -> BTreeSet<usize> {
    let dependents = dependents(units);
    let mut found: BTreeSet<usize> = BTreeSet::new();
    let mut next: Vec<usize> = start.to_vec();
    while let Some(at) = next.pop() {
        if found.insert(at) {
            next.extend(&dependents[at]);
        }
    }
    found
}

/// `start`, and whatever any of it needs, at however many removes.
pub(super) fn needed_by(start: &[usize], units: &[Unit]) -> BTreeSet<usize> {
    let mut found: BTreeSet<usize> = BTreeSet::new();
    let mut next: Vec<usize> = start.to_vec();
    while let Some(at) = next.pop() {
        if found.insert(at) {
            next.extend(units[at].needs.iter().map(|need| need.unit));
        }
    }
    found
}

/// For each unit those that need it.
pub(super) fn dependents(units: &[Unit]) -> Vec<Vec<usize>> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (at, unit) in units.iter().enumerate() {
        unit.needs.iter().for_each(|need| dependents[need.unit].push(at));
    }
    dependents
}
