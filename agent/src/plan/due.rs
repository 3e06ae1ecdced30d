//! Which steps are in the plan: `when:`, evaluated from values and facts alone, before anything is planned.
//!
//! ```yaml
//! commands:
//!   migrate: { run: [/opt/shop/migrate], when: "{{eq instance.tags.role \"leader\"}}" }
//!   seed: { run: [/opt/shop/seed], when: "{{values.seed}}" }
//! ```
//!
//! A step that is not due is removed from the document: no step waits for it, and a reference to its outputs is a
//! mistake, unless the reference is only tested. Where facts are not known, as on a dev box, a `when:` that depends on
//! one stays open, and its step counts as due.

use serde_json::Value as Json;

use crate::address::Reference;
use crate::document::BootDocument;
use crate::document::error::Mistake;
use crate::failure::Objection;
use crate::plan::values::{Facts, Filled, Values, is_open};
use crate::plan::wrong::{Wrong, in_facts, in_values, spot};
use crate::sorting::Sort as _;
use crate::template::{Scope, Template, TemplateError, descend};
use crate::text::{Place, Text, shown_on_a_line};

/// The result of a `when:`.
#[derive(Debug)]
enum Decision {
    Due,
    NotDue,
    /// It depends on unknown facts.
    Open,
    Wrong(Vec<Mistake>),
}

/// Everything needed to evaluate the conditions: the references in `when:` and, since these may name values, the
/// references in values. Empty if no step has a `when:`.
pub(crate) fn references(document: &BootDocument) -> Vec<Reference> {
    let texts: Vec<&Text> = document.items.values().filter_map(|item| item.when.as_ref()).collect();
    if texts.is_empty() {
        return Vec::new();
    }
    let values = Values::read(&document.values, &mut Vec::new());
    let templates = texts.iter().filter_map(|text| Template::parse(text.raw()).ok());
    templates.flat_map(Template::into_references).chain(values.references().cloned()).collect()
}

/// Removes the steps that are not due. A condition that depends on an unknown fact is left open.
///
/// # Errors
///
/// A value that cannot be rendered; nothing is decided in that case.
pub(crate) fn settle(document: &mut BootDocument, facts: Facts<'_>) -> Result<(), (Place, TemplateError)> {
    if document.items.values().all(|item| item.when.is_none()) {
        return Ok(());
    }
    let values = Values::read(&document.values, &mut Vec::new());
    let Filled { tree, open } = values.fill(facts)?;
    // Not through serde, which does not support every notation of a number that a document may contain.
    let roots = [("values".to_owned(), tree), ("instance".to_owned(), facts.known().cloned().unwrap_or_default())];
    let known = Json::Object(roots.into_iter().collect());
    let mut decided = Vec::new();
    for (address, item) in &document.items {
        if let Some(when) = &item.when {
            let start = when.place().unwrap_or(&item.place);
            let asked = Asked { when, start, values: &values, known: &known, open: &open, facts };
            decided.push((address.clone(), asked.decide()));
        }
    }
    for (address, decision) in decided {
        match decision {
            Decision::Open => continue,
            Decision::NotDue => {
                document.items.remove(&address);
                document.not_due.push(address);
                continue;
            }
            Decision::Due => {}
            Decision::Wrong(mistakes) => document.mistakes.extend(mistakes),
        }
        if let Some(item) = document.items.get_mut(&address) {
            item.when = None;
        }
    }
    document.not_due.order();
    Ok(())
}

/// One `when:`, and what is known for evaluating it.
struct Asked<'a> {
    when: &'a Text,
    start: &'a Place,
    values: &'a Values,
    known: &'a Json,
    open: &'a [&'a [String]],
    facts: Facts<'a>,
}

impl Asked<'_> {
    fn decide(&self) -> Decision {
        let wrong = |objection: Objection| Decision::Wrong(vec![Mistake::of(self.start, objection)]);
        if self.when.is_plain() {
            return truth(self.when.raw()).unwrap_or_else(wrong);
        }
        let template = match Template::parse(self.when.raw()) {
            Ok(template) => template,
            Err(error) => return Decision::Wrong(vec![Mistake::of_template(self.start, self.when.raw(), &error)]),
        };
        let mistakes = self.mistakes(&template);
        if !mistakes.is_empty() {
            return Decision::Wrong(mistakes);
        }
        if template.references().iter().any(|reference| is_open(reference, self.facts, self.open)) {
            return Decision::Open;
        }
        let mut scope = Scope::new();
        for reference in template.references() {
            if let Some(value) = descend(self.known, &reference.segments) {
                scope.insert(&reference.segments, value.clone());
            }
        }
        match template.render(&scope) {
            Ok(text) => truth(text.expose()).unwrap_or_else(wrong),
            Err(error) => Decision::Wrong(vec![Mistake::of_template(self.start, self.when.raw(), &error)]),
        }
    }

    /// The mistakes in references that do not exist, or are not known before the steps run.
    fn mistakes(&self, template: &Template) -> Vec<Mistake> {
        let wrong = |reference: &Reference| match reference.root() {
            "values" => in_values(reference, self.values.written()),
            "instance" => in_facts(reference),
            _ => Some(Wrong::new(
                format!("`when:` cannot refer to {reference}: whether a step is due is decided before the first one runs"),
                "refer to values and to instance only",
            )),
        };
        let found = template.references().iter().filter_map(|reference| Some((reference, wrong(reference)?)));
        found.map(|(reference, wrong)| wrong.at(spot(self.start, self.when.raw(), template, reference))).collect()
    }
}

fn truth(text: &str) -> Result<Decision, Objection> {
    match text.trim() {
        "true" => Ok(Decision::Due),
        "false" => Ok(Decision::NotDue),
        other => {
            let other: String = shown_on_a_line(other).chars().take(60).collect();
            let hint = "write true, false or a template that renders to one of them, as in \"{{eq values.env `prod`}}\"".replace('`', "'");
            Err(Objection::new(format!("`when:` is `{other}`, which is neither true nor false"), hint))
        }
    }
}
