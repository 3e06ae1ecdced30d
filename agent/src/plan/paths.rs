//! Paths at which a step conflicts with another: something is mounted where a file is, or should be created below it, or
//! two bundles have one directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use crate::address::{Address, of_kind};
use crate::document::Item;
use crate::document::error::Mistake;
use crate::step::Shapes;

/// Adds a mistake for each step that creates something at or below the path of a file, or where another bundle is.
pub(super) fn check(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    bundles(items, shapes, mistakes);
    // Steps with a `when:` are left out, because they may exclude each other. The keys are sorted, which gives the same
    // order for strings and for paths.
    let due = |kind| of_kind(items, kind).filter(|(_, item)| item.when.is_none());
    let all = |kind| due(kind).map(|(address, _)| (address.key(), address)).collect::<Vec<(&str, &Address)>>();
    let files = all("files");
    if files.is_empty() {
        return;
    }
    let mounts = all("mounts");
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

/// Two bundles in one directory would replace each other's current release.
fn bundles(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, mistakes: &mut Vec<Mistake>) {
    let mut taken: BTreeMap<&Path, &Address> = BTreeMap::new();
    let steps = items.iter().zip(shapes.values()).filter(|((address, item), _)| address.kind() == "bundles" && item.when.is_none());
    for ((address, item), shape) in steps {
        let Some(path) = shape.paths.first() else { continue };
        if let Some(other) = taken.insert(path.as_ref(), address) {
            let message = format!("{other} is unpacked into the same directory, {}", path.display());
            let place = item.written.as_ref().and_then(|node| node.get("into")).map_or(&item.place, |node| &node.place);
            mistakes.push(Mistake::at(place, message, "give each bundle a directory of its own with `into:`"));
        }
    }
}

/// The step at this path, among steps sorted by key.
fn find<'a>(path: &Path, among: &[(&str, &'a Address)]) -> Option<&'a Address> {
    let path = path.to_str()?;
    among.binary_search_by(|(key, _)| (*key).cmp(path)).ok().map(|at| among[at].1)
}
