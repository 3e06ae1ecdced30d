//! Finds mistakes in steps after rendering the values that are known on a dev box. An instance would find them when it
//! reaches the step, but a host with a port, for example, is wrong wherever it is written. Texts that are passed on
//! unchanged, such as the content of a file, are not examined: they may be long, and little can be wrong with them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::address::{Address, Reference};
use crate::document::error::Mistake;
use crate::document::names::is_text;
use crate::document::tree::{Node, Value};
use crate::document::{Item, KINDS};
use crate::failure::Objection;
use crate::plan::values::{Facts, Filled, Values, is_open};
use crate::plan::wrong::in_values;
use crate::sorting::Sort as _;
use crate::template::{SIZE_LIMIT, Scope, Template, TemplateError};

/// Reads every step again with its values rendered, and adds the mistakes that were not there before. `references` are
/// those of the steps, in the same order.
pub(super) fn check(
    items: &BTreeMap<Address, Item>,
    references: &[Vec<Reference>],
    known: Option<&Known<'_>>,
    mistakes: &mut Vec<Mistake>,
) {
    // The reason why values cannot be rendered is reported at the values themselves.
    let Some(known) = known else { return };
    for ((address, item), references) in items.iter().zip(references).filter(|(_, references)| !references.is_empty()) {
        let Some(mut node) = item.written.as_ref().filter(|node| has_template(node)).cloned() else { continue };
        let (mut found, mut changed) = (Vec::new(), false);
        known.fill(&mut node, &mut changed, &mut found);
        if changed
            && let Some(kind) = KINDS.iter().find(|kind| kind.name == address.kind())
            && let Some(step) = (kind.decode)(&node, &mut found)
        {
            let secret = references.iter().any(Reference::is_secret);
            let before = item.step.objections(address.key(), secret);
            let is_new = |objection: &Objection| !before.iter().any(|known| known.message == objection.message);
            let new = step.objections(address.key(), secret).into_iter().filter(is_new);
            found.extend(new.map(|objection| Mistake::of(node.quoted_in(&objection.message).unwrap_or(&item.place), objection)));
        }
        mistakes.append(&mut found);
    }
}

fn has_template(node: &Node) -> bool {
    match &node.value {
        Value::Sequence(items) => items.iter().any(has_template),
        Value::Map(entries) => entries.iter().any(|(key, node)| !is_text(&key.name) && has_template(node)),
        Value::String(text) => text.contains("{{"),
        Value::Null | Value::Bool(..) | Value::Number(_) => false,
    }
}

/// What is known of a document without an instance.
pub(crate) struct Known<'a> {
    scope: Scope,
    open: Vec<&'a [String]>,
    /// The length in bytes of the longest value that is printed as it is.
    longest: usize,
}

impl<'a> Known<'a> {
    pub(crate) fn of(values: &'a Values) -> Option<Self> {
        let Filled { tree, open } = values.fill(Facts::None).ok()?;
        let longest = longest(&tree);
        let values = Json::Object([("values".to_owned(), tree)].into_iter().collect());
        Some(Self { scope: Scope::from(values), open, longest })
    }

    /// A text with its values rendered. `None` if it needs anything else.
    pub(crate) fn text(&self, text: &str) -> Option<String> {
        let template = Template::parse(text).ok()?;
        let is_known = template.references().iter().all(|reference| self.has(reference));
        is_known.then(|| template.render(&self.scope).ok())?.map(|text| text.expose().to_owned())
    }

    /// All values.
    pub(super) fn values(&self) -> &Scope {
        &self.scope
    }

    /// Whether a template of this text cannot become too large if it prints nothing but values.
    pub(super) fn fits_in(&self, text: &str) -> bool {
        text.len().saturating_mul(self.longest.max(1)) <= SIZE_LIMIT
    }

    /// The scope for a template with these references: values, and the text of `stand_in` for unknown references that
    /// have one.
    pub(super) fn with<'t>(&self, references: &[Reference], stand_in: &dyn Fn(&Reference) -> Option<&'t str>) -> Scope {
        let mut scope = Scope::new();
        let mut references: Vec<&Reference> = references.iter().collect();
        references.order();
        for reference in references {
            let value =
                if self.has(reference) { self.scope.get(&reference.segments).cloned() } else { stand_in(reference).map(Json::from) };
            if let Some(value) = value {
                scope.insert(&reference.segments, value);
            }
        }
        scope
    }

    /// Renders the strings that refer to nothing but known values.
    fn fill(&self, node: &mut Node, changed: &mut bool, mistakes: &mut Vec<Mistake>) {
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.fill(item, changed, mistakes)),
            Value::Map(entries) => {
                entries.iter_mut().filter(|(key, _)| !is_text(&key.name)).for_each(|(_, node)| self.fill(node, changed, mistakes));
            }
            Value::String(text) if text.contains("{{") => {
                // Strings that do not parse are reported elsewhere.
                let Ok(template) = Template::parse(text) else { return };
                if !template.references().iter().all(|reference| self.has(reference)) {
                    return;
                }
                match template.render(&self.scope) {
                    // Intentional braces in the result would be parsed as a template again.
                    Ok(filled) if !filled.expose().contains("{{") => {
                        *changed = true;
                        *text = filled.expose().to_owned();
                    }
                    Ok(_) | Err(TemplateError::TooLarge { .. }) => {}
                    Err(error) => mistakes.push(Mistake::of_template(&node.place, text, &error)),
                }
            }
            Value::String(_) | Value::Null | Value::Bool(..) | Value::Number(_) => {}
        }
    }

    /// Whether a reference can be rendered. The reason why it cannot is reported elsewhere.
    pub(super) fn has(&self, reference: &Reference) -> bool {
        let is_closed = || !is_open(reference, Facts::None, &self.open);
        reference.root() == "values" && is_closed() && self.tree().is_some_and(|tree| in_values(reference, tree).is_none())
    }

    fn tree(&self) -> Option<&Json> {
        self.scope.get(&[])?.get("values")
    }
}

/// The length in bytes of the longest text, number or boolean in a value.
fn longest(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Number(number) => number.as_str().len(),
        Json::Bool(_) => "false".len(),
        Json::Null => 0,
        Json::Array(items) => items.iter().map(longest).max().unwrap_or_default(),
        Json::Object(fields) => fields.values().map(longest).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::document::BootDocument;
    use crate::document::source::Layers;
    use crate::plan::Plan;

    fn mistakes(text: &str) -> String {
        let mut layers = Layers::default();
        layers.add("doc", &format!("version: 1\n{text}\n"));
        let (plan, _) = Plan::compile_with_advice(BootDocument::of_a_desk(layers), &BTreeMap::new());
        plan.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_a_value_makes_of_a_field_is_looked_at() {
        for (text, says) in [
            ("values: { h: 'q:1' }\ndatabases: { d: { host: '{{values.h}}', engine: postgres } }", "ends with a port"),
            (
                "values: { v: '1' }\nbundles: { a: { s3: 's3://b/app-{{values.v}}.tar.gz', into: /opt/a } }",
                "`b` is not the name of a bucket",
            ),
            ("values: { v: b, w: '{{values.v}}' }\nbundles: { a: { s3: 's3://{{values.w}}/a.tar', into: /opt/a } }", "name of a bucket"),
            ("values: { n: '!!!' }\nsecrets: { s: { secrets_manager: '{{unbase64 values.n}}' } }", "base64"),
            ("values: { a: x }\nmounts: { /srv/a: { device: '{{values.a}}' } }", "`x` is not an absolute path"),
        ] {
            let said = mistakes(text);
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    /// Regression: it was reported twice, once for the template and once for its result.
    #[test]
    fn what_cannot_be_printed_is_told_once() {
        for value in ["", "[1]", "{ a: 1 }"] {
            let said = mistakes(&format!("values: {{ h: {value} }}\ndatabases: {{ d: {{ host: '{{{{values.h}}}}', engine: postgres }} }}"));
            assert_eq!(said.matches("printed as it is").count(), 1, "{said}");
        }
    }

    #[test]
    fn what_prints_a_long_value_too_often_is_told() {
        let (value, printed) = ("x".repeat(1 << 20), "{{values.v}}");
        for (times, is_told) in [(15, false), (17, true)] {
            let said = mistakes(&format!("values: {{ v: {value} }}\nfiles: {{ /etc/a: {{ content: '{}' }} }}", printed.repeat(times)));
            assert_eq!(said.contains("the result of this template is larger than 16 MiB"), is_told, "{times}");
        }
    }

    #[test]
    fn what_is_not_known_yet_is_left_alone() {
        for text in [
            "values: { h: '{{instance.region}}:1' }\ndatabases: { d: { host: '{{values.h}}', engine: postgres } }",
            "values: { h: db }\ndatabases: { d: { host: '{{values.h}}.{{instance.region}}', engine: postgres } }",
            "values: { h: db }\ndatabases: { d: { host: '{{values.h}}.internal', engine: postgres } }",
            "values: { v: 1.20 }\nbundles: { a: { s3: 's3://shop/app-{{values.v}}.tar.gz', into: /opt/a } }",
            "values: { v: a }\ncredentials: { a: '{{values.v}}', b: { value: '{{values.v}}' } }",
            "values: { v: a }\nfiles: { /etc/a: { content: '{{values.v}} \\{{ left }}' } }",
        ] {
            assert_eq!(mistakes(text), "", "{text}");
        }
    }
}
