//! Mistakes in references: to a value, a fact or a field that does not exist, or that cannot be printed.

use serde_json::Value as Json;

use crate::address::{Address, Reference, Usage};
use crate::document::error::Mistake;
use crate::document::scalar::Within;
use crate::facts;
use crate::failure::nearest;
use crate::plan::meant::fact_meant;
use crate::step::HasFields;
use crate::template::{Template, descend};
use crate::text::Place;

/// The mistake of using a step that is not due.
pub(super) fn left_out(what: &str, target: &Address) -> Wrong {
    let message = format!("{what}: {target} is not due, because its `when:` is false");
    Wrong::new(message, "give both the same `when:`, or use it only where {{#if (has …)}} finds it")
}

/// A place, or a character of the string that begins there.
pub(super) type Spot = (Place, Option<Within>);

/// The mistake in a reference.
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) hint: String,
    /// See [`Mistake::may_come_later`]. False for an obvious misspelling.
    pub(super) may_come_later: bool,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), may_come_later: false }
    }

    pub(super) fn at(self, (place, within): Spot) -> Mistake {
        Mistake { may_come_later: self.may_come_later, within, ..Mistake::at(&place, self.message, self.hint) }
    }
}

/// A reference to a field of something without fields, or to a map where a text is needed.
pub(super) fn in_fields(reference: &Reference, address: &Address, fields: HasFields) -> Option<Wrong> {
    let field = reference.segments.get(2);
    match fields {
        HasFields::Never(hint) if reference.usage != Usage::Tested && field.is_some_and(|field| field.parse::<usize>().is_err()) => {
            Some(Wrong::new(format!("`{reference}` is a field, but {address} is read as plain text"), hint))
        }
        HasFields::Always if reference.usage == Usage::Printed && field.is_none() => {
            let hint = format!("name one of its fields, as in {reference}.NAME, or use a helper: {{{{json {reference}}}}}");
            Some(Wrong::new(format!("`{reference}` is a map, which cannot be printed as it is"), hint))
        }
        _ => None,
    }
}

pub(super) fn in_values(reference: &Reference, tree: &Json) -> Option<Wrong> {
    let mut at = tree;
    for (depth, segment) in reference.segments.iter().enumerate().skip(1) {
        match descend(at, std::slice::from_ref(segment)) {
            Some(value) => at = value,
            None if reference.usage == Usage::Tested => return None,
            None => {
                let known: Vec<&str> = at.as_object().into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect();
                let parent = reference.segments[..depth].join(".");
                let near = nearest(segment, known.iter().copied());
                let hint = match near {
                    Some(near) => format!("did you mean {parent}.{near}?"),
                    None => format!("define it under `values:`, or give it a default: {{{{default {reference} …}}}}"),
                };
                let message = format!("`{reference}` refers to nothing");
                return Some(Wrong { message, hint, may_come_later: near.is_none() });
            }
        }
    }
    let what = match at {
        Json::Object(_) => "a map",
        Json::Array(_) => "a list",
        Json::Null => "null",
        _ => return None,
    };
    (reference.usage == Usage::Printed).then(|| {
        let hint = match at {
            Json::Null => format!("give it a value, or a default: {{{{default {reference} …}}}}"),
            _ => format!("print one of its parts, or use a helper: {{{{json {reference}}}}}, {{{{#each {reference}}}}}"),
        };
        Wrong::new(format!("`{reference}` is {what}, which cannot be printed as it is"), hint)
    })
}

pub(super) fn in_facts(reference: &Reference) -> Option<Wrong> {
    let Some(name) = reference.segments.get(1) else {
        return Some(Wrong::new("`instance` alone does not name a fact", "name one, as in instance.id"));
    };
    if name == facts::TAGS && reference.segments.len() == 2 {
        // Each tag is a separate request to IMDS, so only tags that are named are read.
        return Some(Wrong::new("`instance.tags` alone does not name a tag", "name one, as in instance.tags.Name"));
    }
    let known = || facts::FACTS.iter().map(|(name, _)| *name).chain([facts::TAGS]);
    if known().any(|known| known == name) {
        return None;
    }
    let hint = match fact_meant(name).or_else(|| nearest(name, known())) {
        Some(facts::TAGS) => "name one tag, as in instance.tags.Name".to_owned(),
        Some(near) => format!("did you mean instance.{near}?"),
        None => format!("write one of the known facts: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Some(Wrong::new(format!("`{reference}` refers to nothing"), hint))
}

/// The position of a reference in a text that begins at `start`.
pub(super) fn spot(start: &Place, text: &str, template: &Template, reference: &Reference) -> Spot {
    let offset = template.position_of(reference).and_then(|position| position.offset_in(text));
    (start.clone(), offset.and_then(|offset| Within::at(text, offset)))
}
