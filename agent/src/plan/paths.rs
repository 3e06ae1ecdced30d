//! Paths at which a file stands in the way of another step: something is mounted there, or is to be below it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that makes something where a file is.
pub(super) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    let find = |path: &Path, kind: &str| {
        let address = Address::new(kind, path.to_str()?);
        // Where it depends on facts, the other may be there instead.
        items.get_key_value(&address).filter(|(_, item)| item.when.is_none()).map(|(address, _)| address)
    };
    for ((address, item), shape) in items.iter().zip(shapes.values()) {
        let path = if address.kind() == "mounts" { Some(Path::new(address.key())) } else { shape.paths.first().map(AsRef::as_ref) };
        let (true, Some(path)) = (item.when.is_none(), path.filter(|path| path.is_absolute())) else { continue };
        let same = match address.kind() {
            "files" => find(path, "mounts"),
            "bundles" => find(path, "files"),
            "mounts" => None,
            _ => continue,
        };
        let file = path.ancestors().skip(1).find_map(|above| find(above, "files"));
        let message = match (same, file) {
            (Some(other), _) => format!("{other} has the same path"),
            (None, Some(file)) => format!("{file} is a file, so nothing can be below it"),
            (None, None) => continue,
        };
        mistakes.push(Mistake::at(&item.place, message, "give one of the two another path"));
    }
}
