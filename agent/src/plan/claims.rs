//! `claims:` and the steps that need it.
//!
//! ```yaml
//! claims: s3://shop-releases/{{values.application}}/environments/{{values.environment}}/claims/
//! ```

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::address::Address;
use crate::aws::s3::Prefix;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::plan::values::Values;
use crate::step::{Claiming, Shapes};
use crate::template::{Scope, Template};
use crate::text::Text;

/// Adds the mistakes in `claims:`, and in steps that claim something.
pub(crate) fn check(
    claims: Option<&Text>,
    items: &BTreeMap<Address, Item>,
    shapes: &Shapes<'_>,
    values: &Values,
    mistakes: &mut Vec<Mistake>,
) {
    if let Some(text) = claims {
        place(text, values, mistakes);
    }
    for ((address, item), shape) in items.iter().zip(shapes.values()) {
        let Some(Claiming { says, values: needed }) = shape.claims else { continue };
        let why = match (says, claims) {
            (Some(says), Some(_)) => format!("says {says}, which needs"),
            (None, Some(_)) => "is used with `claims:`, and therefore needs".to_owned(),
            (None, None) => continue,
            (Some(says), None) => {
                let message = format!("{address} says {says}, but the document has no `claims:`");
                let hint =
                    "add `claims: s3://BUCKET/PREFIX/` at the top, with a prefix that the instances of this environment can read and write";
                mistakes.push(Mistake { may_come_later: true, ..Mistake::at(&item.place, message, hint) });
                continue;
            }
        };
        for name in needed.iter().filter(|name| !is_word(&values.written()[**name])) {
            let message = format!("{address} {why} `values.{name}`");
            let hint = format!("define `{name}` under `values:`, the same on all instances");
            mistakes.push(Mistake { may_come_later: true, ..Mistake::at(&item.place, message, hint) });
        }
    }
}

/// Whether a value is a number or non-blank text.
fn is_word(value: &Json) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| !text.trim().is_empty())
}

/// Checks the location itself, as far as it is known before a boot.
fn place(text: &Text, values: &Values, mistakes: &mut Vec<Mistake>) {
    let place = text.place().expect("it was read with its place");
    let template = match Template::parse(text.raw()) {
        Ok(template) => template,
        Err(error) => return mistakes.push(Mistake::of_template(place, text.raw(), &error)),
    };
    if let Some(reference) = template.references().iter().find(|reference| reference.root() != "values") {
        let message = format!("`claims` cannot refer to {reference}");
        return mistakes.push(Mistake::at(place, message, "refer to values only: the place is the same on all instances"));
    }
    // Values that refer to facts are known only during a boot.
    let Ok(known) = values.resolve(&Json::Null) else { return };
    // The `json!` macro is not used, because numbers in values keep their original notation, which is not always valid
    // JSON.
    let known = Json::Object(serde_json::Map::from_iter([("values".to_owned(), known)]));
    match template.render(&Scope::from(known)) {
        Err(error) => mistakes.push(Mistake::of_template(place, text.raw(), &error)),
        Ok(rendered) => {
            if let Err(objection) = Prefix::parse(rendered.expose()) {
                mistakes.push(Mistake::of(place, objection));
            }
        }
    }
}
