//! Ports and other things that only one step can have: if two steps asked for the same, only the first would succeed.
//! Also checks that time limits are sufficient.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that claims what an earlier step has. Steps whose `when:` is undecided are skipped,
/// because perhaps only one of them is due.
pub(crate) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    let mut taken: BTreeMap<u16, &Address> = BTreeMap::new();
    let mut alone: BTreeMap<&str, &Address> = BTreeMap::new();
    let mut made: BTreeMap<&Address, (&str, &Address)> = BTreeMap::new();
    for ((address, item), shape) in items.iter().zip(shapes.values()).filter(|((_, item), _)| item.when.is_none()) {
        if let Some(what) = shape.only_one {
            let by = *alone.entry(what).or_insert(address);
            if by != address {
                let message = format!("{address} {what}, and so does {by}");
                mistakes.push(Mistake::at(&item.place, message, "keep it in only one of the two"));
            }
        }
        if let Some((of, how)) = &shape.makes {
            let (first, by) = *made.entry(*of).or_insert((how, address));
            if first != how {
                let message = format!("{address} builds {of} with other commands than {by}, but both use the same directory");
                let hint = "give both the same `build`, or each its own bundle with another `into`";
                mistakes.push(Mistake::at(&item.place, message, hint));
            }
        }
        if let Some(limit) = item.common.timeout
            && limit.0 <= 2 * shape.reserve
        {
            let (limit, reserve) = (limit.0, shape.reserve);
            let message =
                format!("`timeout` of {address} is {limit:?}; half of it is reserved for the rollback, which may take {reserve:?}");
            mistakes.push(Mistake::at(&item.place, message, "make it longer, or shorten `ready.timeout` or `stop.grace`"));
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
