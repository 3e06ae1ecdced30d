//! Who has the `current` of a bundle lead to its next release: the bundle, once that is whole, or the application that
//! runs it, once it serves.

use std::collections::BTreeMap;

use crate::address::{Address, Reference, of_kind};
use crate::document::Item;
use crate::step::{Leader, Shapes};

const APPLICATIONS: &str = "applications";

/// What a bundle offers that leads through its `current`.
const THROUGH_CURRENT: [&str; 2] = ["path", "file"];

/// The bundles that applications run, each with the first of these by name.
pub(super) fn leaders(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, references: &[Vec<Reference>]) -> BTreeMap<Address, Leader> {
    let mut leaders: BTreeMap<Address, Leader> = BTreeMap::new();
    for (address, _) in of_kind(items, APPLICATIONS) {
        for bundle in shapes.get(address).map(|shape| &shape.watches).into_iter().flatten() {
            let is_needed = || follows(bundle, items, shapes) || is_needed_before(bundle, shapes, references);
            let leader = || Leader { application: address.key().to_owned(), switches: !is_needed() };
            leaders.entry((*bundle).clone()).or_insert_with(leader);
        }
    }
    leaders
}

/// Whether a step other than applications does something again because of the bundle, or comes after it by its author's word:
/// what it works in is nowhere to be read, as a unit's program is not.
fn follows(bundle: &Address, items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>) -> bool {
    let is_named = |item: &Item| item.after.as_ref().is_some_and(|after| after.iter().any(|(address, _)| address == bundle));
    let mut others = shapes.iter().filter(|(address, _)| address.kind() != APPLICATIONS);
    others.any(|(address, shape)| shape.watches.contains(&bundle) || items.get(address).is_some_and(is_named))
}

/// Whether a step works in the next release by way of `current`, and so before an application has that lead there.
fn is_needed_before(bundle: &Address, shapes: &Shapes<'_>, references: &[Vec<Reference>]) -> bool {
    let Some(current) = shapes.get(bundle).and_then(|shape| shape.mounts_at.as_deref()) else { return true };
    let names = |reference: &Reference| {
        let field = reference.segments.get(2).map(String::as_str);
        reference.address().as_ref() == Some(bundle) && field.is_none_or(|field| THROUGH_CURRENT.contains(&field))
    };
    let written = current.to_string_lossy();
    shapes.iter().zip(references).any(|((address, shape), references)| {
        let is_written = || shape.texts.iter().any(|text| text.raw().contains(&*written));
        address != bundle && (shape.paths.iter().any(|path| path.starts_with(current)) || references.iter().any(names) || is_written())
    })
}
