//! The graph of a plan: which steps form a unit, which units depend on which, and whether there are cycles.
//!
//! Nodes are [`Unit`]s: a single step, or files that a service restarts on, which are staged first and renamed
//! together.

use std::collections::BTreeMap;
use std::path::Path;

use crate::address::{Address, Reference, Usage};
use crate::document::Item;
use crate::document::error::Mistake;
use crate::plan::unit::{Need, Rest, Unit, dependents, dependents_of, needed_by};
use crate::plan::{phases, rest};
use crate::sorting::Sort as _;
use crate::step::{Order, Phase, Shape, Shapes};

/// Groups steps into units and finds their edges; cycles are mistakes.
pub(crate) fn units(
    items: &BTreeMap<Address, Item>,
    shapes: &Shapes<'_>,
    references: &[Vec<Reference>],
    mistakes: &mut Vec<Mistake>,
) -> Vec<Unit> {
    let addresses: Vec<&Address> = items.keys().collect();
    let index = |address: &Address| addresses.binary_search(&address).ok();
    let (mut units, unit_of) = grouped(items, shapes, &index);
    find_needs(&mut units, &unit_of, items, shapes, references, &index);
    put_services_last(&mut units, &unit_of, items, shapes);
    let dependents = dependents(&units);
    report_cycles(&units, &dependents, &addresses, items, mistakes);
    phases::place(&mut units, &dependents, items, shapes, mistakes);
    if mistakes.is_empty() {
        rest::place(&mut units, &dependents);
    }
    units
}

/// The units without their edges, and the unit of each step.
fn grouped(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, index: &dyn Fn(&Address) -> Option<usize>) -> (Vec<Unit>, Vec<usize>) {
    let groups = groups(shapes, index);
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of = vec![0; items.len()];
    let mut unit_of_group: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, (item, shape)) in items.values().zip(shapes.values()).enumerate() {
        let unit = *unit_of_group.entry(groups[at]).or_insert_with(|| {
            let order = shape.order;
            units.push(Unit {
                members: Vec::new(),
                needs: Vec::new(),
                rest: match order {
                    // Regardless of its other dependencies.
                    Order::AfterServices => Rest::After(0),
                    Order::AfterTheRest | Order::BeforeServices if item.after.is_none() => Rest::After(0),
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
    (units, unit_of)
}

/// Adds the edges of each unit: to the steps it refers to, waits for or watches, and to the mounts that hold its paths.
fn find_needs(
    units: &mut [Unit],
    unit_of: &[usize],
    items: &BTreeMap<Address, Item>,
    shapes: &Shapes<'_>,
    references: &[Vec<Reference>],
    index: &dyn Fn(&Address) -> Option<usize>,
) {
    let mounts = mounts(shapes);
    for (at, (item, shape)) in items.values().zip(shapes.values()).enumerate() {
        let used = references[at].iter().filter_map(|reference| Some((index(&reference.address()?)?, reference.usage != Usage::Tested)));
        let after = item.after.iter().flatten().map(|(address, _)| address);
        let others = after.chain(shape.watches.iter().copied()).filter_map(|address| Some((index(address)?, false)));
        // Without the mount that should hold it, a path refers to another place, so the step cannot continue without
        // the mount.
        let holders = shape.paths.iter().filter_map(|path| Some((holder(path, at, &mounts)?, true)));
        let needs = holders.chain(used).chain(others).map(|(target, uses)| Need { unit: unit_of[target], uses });
        let unit = unit_of[at];
        units[unit].needs.extend(needs.filter(|need| need.unit != unit));
    }
    for unit in units {
        unit.needs.order_by_key(|need| (need.unit, !need.uses));
        unit.needs.dedup_by_key(|need| need.unit);
    }
}

/// Makes services without `after:` run after the applications, unless the applications depend on them. Steps ordered
/// after services run after both.
fn put_services_last(units: &mut [Unit], unit_of: &[usize], items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>) {
    let of = |order: Order| {
        let all = items.values().zip(shapes.values()).enumerate();
        let found = all.filter(move |(_, (item, shape))| shape.order == order && (order != Order::AfterTheRest || item.after.is_none()));
        found.map(|(at, _)| unit_of[at]).collect::<Vec<_>>()
    };
    for application in of(Order::BeforeServices) {
        let needed = needed_by(&[application], units);
        for service in of(Order::AfterTheRest) {
            let is_named = units[service].needs.iter().any(|need| need.unit == application);
            if !needed.contains(service) && !is_named {
                units[service].needs.push(Need { unit: application, uses: false });
            }
        }
    }
    let serves = |shape: &Shape<'_>| matches!(shape.order, Order::AfterTheRest | Order::BeforeServices);
    let serving: Vec<usize> = shapes.values().enumerate().filter(|(_, shape)| serves(shape)).map(|(at, _)| unit_of[at]).collect();
    for last in of(Order::AfterServices) {
        let behind = dependents_of(&[last], &dependents(units));
        for unit in serving.iter().copied().filter(|unit| !behind.contains(*unit)) {
            if !units[last].needs.iter().any(|need| need.unit == unit) {
                units[last].needs.push(Need { unit, uses: false });
            }
        }
    }
}

/// The mount points, and the steps that mount something there.
fn mounts<'a>(shapes: &'a Shapes<'_>) -> BTreeMap<&'a Path, Vec<usize>> {
    let mut mounts: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (by, shape) in shapes.values().enumerate() {
        if let Some(at) = &shape.mounts_at {
            mounts.entry(at.as_ref()).or_default().push(by);
        }
    }
    mounts
}

/// The step that mounts the nearest mount point holding a path, other than `own`.
fn holder(path: &Path, own: usize, mounts: &BTreeMap<&Path, Vec<usize>>) -> Option<usize> {
    // Most documents mount nothing, and splitting a path would cost time for each step.
    let above = if mounts.is_empty() { None } else { Some(path.ancestors()) };
    above.into_iter().flatten().filter_map(|above| mounts.get(above)).find_map(|by| by.iter().rev().copied().find(|by| *by != own))
}

/// For each step, the representative of its group: files watched by the same service form a group.
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

/// Reports every cycle in full.
fn report_cycles(
    units: &[Unit],
    dependents: &[Vec<usize>],
    addresses: &[&Address],
    items: &BTreeMap<Address, Item>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut left = vec![true; units.len()];
    let mut unmet: Vec<usize> = units.iter().map(|unit| unit.needs.len()).collect();
    let mut free: Vec<usize> = (0..units.len()).filter(|at| unmet[*at] == 0).collect();
    let mut gone = 0;
    loop {
        while let Some(at) = free.pop() {
            left[at] = false;
            for dependent in &dependents[at] {
                unmet[*dependent] = unmet[*dependent].saturating_sub(1);
                if unmet[*dependent] == 0 && left[*dependent] {
                    free.push(*dependent);
                }
            }
        }
        // Every remaining unit needs another remaining unit, so following the needs must lead around a cycle.
        let Some(start) = (gone..units.len()).find(|at| left[*at]) else { return };
        gone = start;
        let mut path = vec![start];
        let cycle = loop {
            let at = path[path.len() - 1];
            let next = units[at].needs.iter().map(|need| need.unit).find(|need| left[*need]);
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
        "files that one service restarts on are installed together: remove one of them from `restart_on:`, or one of these references"
    } else {
        "remove one of these references or `after:`"
    };
    let first = addresses[units[cycle[0]].members[0]];
    Mistake::at(&items[first].place, format!("these steps wait for each other: {}", names.join(" needs ")), hint)
}
