//! Decides which step points the `current` of a bundle to its next release: the bundle, once it is complete, or the
//! application that runs it, once it serves.

use std::collections::BTreeMap;

use crate::address::{Address, Reference};
use crate::document::Item;
use crate::step::{Leader, Shapes};

const APPLICATIONS: &str = "applications";

/// The outputs of a bundle that lead through its `current`.
const THROUGH_CURRENT: [&str; 2] = ["path", "file"];

/// The bundles that applications run, each with the first of these applications by name.
pub(super) fn leaders(items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>, references: &[Vec<Reference>]) -> BTreeMap<Address, Leader> {
    let mut leaders: BTreeMap<Address, Leader> = BTreeMap::new();
    for (address, shape) in shapes.iter().filter(|(address, _)| address.kind() == APPLICATIONS) {
        for bundle in &shape.watches {
            let is_needed = || follows(bundle, items, shapes) || is_needed_before(bundle, shapes, references);
            let leader = || Leader { application: address.key().to_owned(), switches: !is_needed() };
            leaders.entry((*bundle).clone()).or_insert_with(leader);
        }
    }
    leaders
}

/// Whether a step other than an application runs again because of the bundle, or has an `after:` on it. Such a step may
/// use the release through `current` in ways that the document does not show, for example in a unit's program.
fn follows(bundle: &Address, items: &BTreeMap<Address, Item>, shapes: &Shapes<'_>) -> bool {
    let is_named = |item: &Item| item.after.as_ref().is_some_and(|after| after.iter().any(|(address, _)| address == bundle));
    let mut others = shapes.iter().filter(|(address, _)| address.kind() != APPLICATIONS);
    others.any(|(address, shape)| shape.watches.contains(&bundle) || items.get(address).is_some_and(is_named))
}

/// Whether a step uses the next release through `current`, and therefore before the application points it there.
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
