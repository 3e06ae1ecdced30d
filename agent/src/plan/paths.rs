//! Paths at which a file conflicts with another step: something is mounted at the same path, or should be created below
//! it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that creates something at or below the path of a file.
pub(super) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    // Steps with a `when:` are left out, because they may exclude each other. The keys are sorted, which gives the same
    // order for strings and for paths.
    let of_kind = |kind: &'static str| items.iter().filter(move |(address, item)| address.kind() == kind && item.when.is_none());
    let all = |kind| of_kind(kind).map(|(address, _)| (address.key(), address)).collect::<Vec<(&str, &Address)>>();
    let (files, mounts) = (all("files"), all("mounts"));
    // For many steps in one directory, the directories above it are searched only once.
    let mut above: (Option<&OsStr>, Option<&Address>) = (None, None);
    for ((address, item), shape) in items.iter().zip(shapes.values()) {
        let path = if address.kind() == "mounts" { Some(Path::new(address.key())) } else { shape.paths.first().map(AsRef::as_ref) };
        let (true, Some(path)) = (item.when.is_none(), path.filter(|path| path.is_absolute())) else { continue };
        let same = match address.kind() {
            "files" => find(path, &mounts),
            "bundles" => find(path, &files),
            "mounts" => None,
            _ => continue,
        };
        let parent = path.parent().map(Path::as_os_str);
        if above.0 != parent {
            above = (parent, path.ancestors().skip(1).find_map(|above| find(above, &files)));
        }
        let message = match (same, above.1) {
            (Some(other), _) => format!("{other} has the same path"),
            (None, Some(file)) => format!("{file} is a file, so nothing can be below it"),
            (None, None) => continue,
        };
        mistakes.push(Mistake::at(&item.place, message, "give one of the two another path"));
    }
}

/// The step at this path, among steps sorted by key.
fn find<'a>(path: &Path, among: &[(&str, &'a Address)]) -> Option<&'a Address> {
    let path = path.to_str()?;
    among.binary_search_by(|(key, _)| (*key).cmp(path)).ok().map(|at| among[at].1)
}
