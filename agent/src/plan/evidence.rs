//! The evidence of one boot has one key below its prefix: if two signals had the same prefix, the second would
//! overwrite the first.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::plan::values::Values;
use crate::steps::signal::Signal;
use crate::template::{Scope, Template};

/// Adds a mistake for each signal that writes to the same place as another one, as far as that is known before a boot.
pub(crate) fn check(items: &BTreeMap<Address, Item>, values: &Values, mistakes: &mut Vec<Mistake>) {
    let prefix = |item: &Item| item.step.any().downcast_ref::<Signal>().and_then(Signal::prefix).cloned();
    let prefixes: Vec<_> = items.iter().filter(|(_, item)| item.when.is_none()).filter_map(|of| Some((of, prefix(of.1)?))).collect();
    if prefixes.len() < 2 {
        return;
    }
    // The `json!` macro is not used, because numbers in values keep their original notation, which is not always valid
    // JSON.
    let of = |known| Scope::from(Json::Object(serde_json::Map::from_iter([("values".to_owned(), known)])));
    let scope = values.resolve(&Json::Null).ok().map(of);
    let mut taken: BTreeMap<String, &Address> = BTreeMap::new();
    for ((address, item), prefix) in &prefixes {
        let rendered = scope.as_ref().and_then(|scope| Template::parse(prefix.raw()).ok()?.render(scope).ok());
        let place = rendered.as_ref().map_or(prefix.raw(), |rendered| rendered.expose()).trim_end_matches('/').to_owned();
        let by = *taken.entry(place).or_insert(address);
        if by != *address {
            let message = format!("{address} writes its evidence to the same key as {by}");
            mistakes.push(Mistake::at(
                &item.place,
                message,
                "keep one of the two, with the `logs` of both, or give one of them another prefix",
            ));
        }
    }
}
