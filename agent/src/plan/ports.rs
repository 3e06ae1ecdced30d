//! Ports and whatever else there is one of: of two steps that would have the same, only the first could.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that wants what a step before it has.
pub(crate) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    let mut taken: BTreeMap<u16, &Address> = BTreeMap::new();
    let mut alone: BTreeMap<&str, &Address> = BTreeMap::new();
    for ((address, item), shape) in items.iter().zip(shapes.values()) {
        if let Some(what) = shape.only_one {
            let by = *alone.entry(what).or_insert(address);
            if by != address {
                let message = format!("{address} {what}, and so does {by}");
                mistakes.push(Mistake::at(&item.place, message, "keep it in one of the two"));
            }
        }
        let clash = shape.ports.iter().find_map(|port| Some((port, taken.get(port)?)));
        if let Some((port, by)) = clash {
            let message = format!("{address} listens on port {port}, and so does {by}");
            mistakes.push(Mistake::at(&item.place, message, "give one of the two another `port`, or its proxy another `listen`"));
        }
        for port in &shape.ports {
            taken.entry(*port).or_insert(address);
        }
    }
}
