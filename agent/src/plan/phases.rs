//! Which steps are due before an instance goes into its warm pool, and which only when it goes into service.
//!
//! Services and signals to a stack are due only in service; everything else is prepared. A step that needs a later step
//! is itself later. The author may override this for each step, but not for a step that needs a later one.

use std::collections::BTreeMap;

use super::unit::{Unit, dependents_of};
use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::{Phase, Shapes};

/// Determines the phase of each unit.
pub(super) fn place(
    units: &mut [Unit],
    dependents: &[Vec<usize>],
    items: &BTreeMap<Address, Item>,
    shapes: &Shapes<'_>,
    mistakes: &mut Vec<Mistake>,
) {
    let items: Vec<(&Address, &Item)> = items.iter().collect();
    let phases: Vec<Phase> = items.iter().zip(shapes.values()).map(|((_, item), shape)| item.common.phase.unwrap_or(shape.phase)).collect();
    let own = |member: &usize| phases[*member];
    let later: Vec<usize> = (0..units.len()).filter(|at| units[*at].members.iter().any(|member| own(member) == Phase::Serve)).collect();
    let later = dependents_of(&later, dependents);
    for at in later.iter() {
        for member in &units[at].members {
            let (address, item) = items[*member];
            if item.common.phase == Some(Phase::Warm) {
                mistakes.push(too_early(address, item, culprit(at, units, &items, &own, &|unit| later.contains(unit))));
            }
        }
    }
    for (at, unit) in units.iter_mut().enumerate() {
        unit.phase = if later.contains(at) { Phase::Serve } else { Phase::Warm };
    }
}

/// The step that makes a unit a later one: another member, or a step that it needs.
fn culprit<'a>(
    at: usize,
    units: &[Unit],
    items: &[(&'a Address, &Item)],
    own: &dyn Fn(&usize) -> Phase,
    is_later: &dyn Fn(usize) -> bool,
) -> Option<&'a Address> {
    let within = units[at].members.iter().find(|member| own(member) == Phase::Serve);
    let needed = || units[at].needs.iter().find(|need| is_later(need.unit)).and_then(|need| units[need.unit].members.first());
    within.or_else(needed).map(|member| items[*member].0)
}

fn too_early(address: &Address, item: &Item, culprit: Option<&Address>) -> Mistake {
    let culprit = culprit.map_or_else(|| "another step".to_owned(), ToString::to_string);
    let message = format!("{address} has phase warm, but needs {culprit}, which has phase serve");
    Mistake::at(&item.place, message, format!("give {culprit} `phase: warm` as well, or remove it here"))
}
