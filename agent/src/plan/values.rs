//! `values:` — plain facts given by the user. Strings in it may refer to facts of the instance and to other values.

use serde_json::Value as Json;

use crate::address::{Reference, Usage};
use crate::document::error::Mistake;
use crate::document::tree::{Node, Value};
use crate::template::{SIZE_LIMIT, Scope, Template, TemplateError, descend};
use crate::text::Place;

/// Which facts of the instance are known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Facts<'a> {
    None,
    /// Facts that the user supplied on a dev box. Any other fact is unknown, unless it is only tested.
    Given(&'a Json),
    All(&'a Json),
}

impl<'a> Facts<'a> {
    /// The known part of the `instance` object.
    pub(super) fn known(self) -> Option<&'a Json> {
        match self {
            Self::None => None,
            Self::Given(instance) | Self::All(instance) => Some(instance),
        }
    }

    /// Whether a referenced fact is unknown.
    fn is_open(self, reference: &Reference) -> bool {
        let is_missing = |instance| reference.usage != Usage::Tested && descend(instance, &reference.segments[1..]).is_none();
        reference.root() == "instance"
            && match self {
                Self::None => true,
                Self::Given(instance) => is_missing(instance),
                Self::All(_) => false,
            }
    }
}

/// The values of a document, with the strings to render in an order in which that is possible.
#[derive(Debug, Default)]
pub(crate) struct Values {
    tree: Json,
    texts: Vec<ValueText>,
}

/// Rendered values.
pub(super) struct Filled<'a> {
    pub(super) tree: Json,
    /// The paths of values that stay as they were written.
    pub(super) open: Vec<&'a [String]>,
}

#[derive(Debug)]
pub(crate) struct ValueText {
    path: Vec<String>,
    pub(crate) place: Place,
    pub(super) raw: String,
    pub(crate) template: Template,
}

impl Values {
    /// Finds the strings that have to be rendered.
    pub(crate) fn read(node: &Node, mistakes: &mut Vec<Mistake>) -> Self {
        let mut texts = Vec::new();
        find_texts(node, &mut Vec::new(), &mut texts, mistakes);
        let tree = match node.to_json() {
            Json::Null => Json::Object(serde_json::Map::new()),
            tree => tree,
        };
        Self { texts: in_order(texts, mistakes), tree }
    }

    pub(crate) fn texts(&self) -> &[ValueText] {
        &self.texts
    }

    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.texts.iter().flat_map(|text| text.template.references())
    }

    /// The values as they were written: strings that have to be rendered are still templates.
    pub(crate) fn written(&self) -> &Json {
        &self.tree
    }

    /// The paths of the values that refer to the one at `path`, directly or indirectly.
    pub(super) fn depending_on(&self, path: &[String]) -> Vec<Vec<String>> {
        let mut found: Vec<Vec<String>> = Vec::new();
        for text in &self.texts {
            let mut wanted = text.template.references().iter().filter(|reference| reference.root() == "values");
            let is_one = |wanted: &[String]| touches(wanted, path) || found.iter().any(|found| touches(wanted, found));
            if wanted.any(|reference| is_one(&reference.segments[1..])) {
                found.push(text.path.clone());
            }
        }
        found
    }

    /// Renders the values, now that the facts are known.
    pub(crate) fn resolve(&self, instance: &Json) -> Result<Json, (Place, TemplateError)> {
        self.fill(Facts::All(instance)).map(|filled| filled.tree)
    }

    /// Renders the values. A value that depends on an unknown fact stays open.
    pub(super) fn fill(&self, facts: Facts<'_>) -> Result<Filled<'_>, (Place, TemplateError)> {
        let (mut tree, mut open) = (self.tree.clone(), Vec::new());
        // A value may contain another one twice, which in turn contains another one twice.
        let mut total = 0;
        for text in &self.texts {
            if text.template.references().iter().any(|reference| is_open(reference, facts, &open)) {
                open.push(text.path.as_slice());
                continue;
            }
            let mut scope = Scope::new();
            for reference in text.template.references() {
                let root = if reference.root() == "instance" { facts.known().unwrap_or(&Json::Null) } else { &tree };
                if let Some(value) = descend(root, &reference.segments[1..]) {
                    scope.insert(&reference.segments, value.clone());
                }
            }
            let rendered = text.template.render(&scope).map_err(|error| (text.place.clone(), error))?;
            total += rendered.expose().len();
            if total > SIZE_LIMIT {
                let what = format!("makes the values larger than {} MiB in total", SIZE_LIMIT >> 20);
                return Err((text.place.clone(), TemplateError::too_large(what)));
            }
            let slot = text.path.iter().try_fold(&mut tree, |value, segment| match value {
                Json::Array(items) => segment.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
                other => other.get_mut(segment),
            });
            if let Some(slot) = slot {
                *slot = Json::from(rendered.expose());
            }
        }
        Ok(Filled { tree, open })
    }
}

/// Whether a reference is unknown with these facts. `open` holds the paths of unknown values.
pub(super) fn is_open(reference: &Reference, facts: Facts<'_>, open: &[&[String]]) -> bool {
    let path = &reference.segments[1..];
    facts.is_open(reference) || reference.root() == "values" && open.iter().any(|open| touches(open, path))
}

/// Whether one of two paths is a prefix of the other.
pub(super) fn touches(one: &[String], other: &[String]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn find_texts(node: &Node, path: &mut Vec<String>, texts: &mut Vec<ValueText>, mistakes: &mut Vec<Mistake>) {
    let mut below = |name: String, child: &Node| {
        path.push(name);
        find_texts(child, path, texts, mistakes);
        path.pop();
    };
    match &node.value {
        Value::Sequence(items) => items.iter().enumerate().for_each(|(index, item)| below(index.to_string(), item)),
        Value::Map(entries) => entries.iter().for_each(|(key, child)| below(key.name.clone(), child)),
        Value::String(text) if text.contains("{{") => match Template::parse(text) {
            Ok(template) => texts.push(ValueText { path: path.clone(), place: node.place.clone(), raw: text.clone(), template }),
            Err(error) => mistakes.push(Mistake::of_template(&node.place, text, &error)),
        },
        _ => {}
    }
}

/// Sorts texts so that each comes after those it refers to.
fn in_order(texts: Vec<ValueText>, mistakes: &mut Vec<Mistake>) -> Vec<ValueText> {
    let needs: Vec<Vec<usize>> = texts
        .iter()
        .map(|text| {
            let wanted = text.template.references().iter().filter(|reference| reference.root() == "values");
            let wanted: Vec<&[String]> = wanted.map(|reference| &reference.segments[1..]).collect();
            (0..texts.len()).filter(|other| wanted.iter().any(|wanted| touches(wanted, &texts[*other].path))).collect()
        })
        .collect();
    let mut done = vec![false; texts.len()];
    let mut order = Vec::new();
    loop {
        let before = order.len();
        for index in 0..texts.len() {
            if !done[index] && needs[index].iter().all(|need| done[*need]) {
                done[index] = true;
                order.push(index);
            }
        }
        if order.len() == before {
            break;
        }
    }
    for (index, text) in texts.iter().enumerate().filter(|(index, _)| !done[*index]) {
        let others: Vec<String> =
            needs[index].iter().filter(|need| !done[**need]).map(|need| format!("values.{}", texts[*need].path.join("."))).collect();
        let message =
            format!("values.{} can never be known: it refers to {}, which refers back to it", text.path.join("."), others.join(" and "));
        mistakes.push(Mistake::at(&text.place, message, "write one of them without referring to the other"));
    }
    let mut texts: Vec<Option<ValueText>> = texts.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| texts[index].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;
    use serde_json::json;

    fn values(text: &str) -> (Values, Vec<Mistake>) {
        let node = parse(&"x".into(), text).0.unwrap();
        let mut mistakes = Vec::new();
        (Values::read(&node, &mut mistakes), mistakes)
    }

    #[test]
    fn fills_in_values_in_the_order_of_their_references() {
        let (values, mistakes) = values("a: '{{values.b}}-a'\nb: '{{instance.id}}'\nlist: ['{{values.a}}', 1]\n");
        assert_eq!(mistakes, []);
        let resolved = values.resolve(&json!({"id": "i-1"})).unwrap();
        assert_eq!(resolved, json!({"a": "i-1-a", "b": "i-1", "list": ["i-1-a", 1]}));
    }

    #[test]
    fn refuses_values_that_double_each_other() {
        let doubled: String = (1..40).map(|number| format!("v{number}: '{{{{values.v{0}}}}}{{{{values.v{0}}}}}'\n", number - 1)).collect();
        let (values, mistakes) = values(&format!("v0: x\n{doubled}"));
        assert!(mistakes.is_empty());
        let (place, error) = values.resolve(&Json::Null).unwrap_err();
        assert_eq!(error.to_string(), "the result of this template makes the values larger than 16 MiB in total");
        assert_eq!(place.line, 25);
    }

    #[test]
    fn refuses_values_that_refer_to_each_other() {
        let (_, mistakes) = values("a: '{{values.b}}'\nb: '{{values.a}}'\n");
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].message, "values.a can never be known: it refers to values.b, which refers back to it");
    }
}
