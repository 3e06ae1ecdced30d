//! Ports: of two steps that would listen on the same one, only the first could.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that listens on a port of a step before it.
pub(crate) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    let mut taken: BTreeMap<u16, &Address> = BTreeMap::new();
    for ((address, item), shape) in items.iter().zip(shapes.values()) {
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
