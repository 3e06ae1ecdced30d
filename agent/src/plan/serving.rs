//! Which steps serve, and the order in which they stop when the machine terminates.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::plan::unit::{self, Unit};
use crate::steps::drain;

/// The kinds of steps whose units are stopped when the machine terminates.
const SERVING: [&str; 4] = ["services", "applications", "workers", "mounts"];

/// As [`Siblings::serving`](crate::step::Siblings::serving), for the steps of a document; empty if it has no drain.
pub(super) fn serving(items: &BTreeMap<Address, Item>, units: &[Unit]) -> Vec<Address> {
    if !items.keys().any(|address| address.kind() == drain::KIND) {
        return Vec::new();
    }
    let addresses: Vec<&Address> = items.keys().collect();
    let members = unit::in_order(units).into_iter().flat_map(|at| &units[at].members);
    members.map(|at| addresses[*at]).filter(|address| SERVING.contains(&address.kind())).cloned().collect()
}
