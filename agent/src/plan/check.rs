//! Finds what is wrong between steps: references to nothing, templates that are not there, secrets in the open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::address::{Address, Reference, Usage};
use crate::document::error::{Mistake, Sources};
use crate::document::source::TemplateTexts;
use crate::document::tree::Node;
use crate::document::{Item, KINDS};
use crate::facts;
use crate::failure::nearest;
use crate::gather::Gather as _;
use crate::plan::advice::Adviser;
use crate::plan::values::Values;
use crate::plan::{grace, place, trust};
use crate::step::{HasFields, Order, Shape, Shapes, Written};
use crate::template::{Bare, Scope, Template, TemplateError, descend};
use crate::text::{Place, Text};

pub(crate) struct Checker<'a> {
    items: &'a BTreeMap<Address, Item>,
    shapes: &'a Shapes<'a>,
    broken: &'a [Address],
    not_due: &'a [Address],
    sources: &'a mut Sources,
    mistakes: &'a mut Vec<Mistake>,
    /// What an author should know, though it is not a mistake; `None` where nobody asks.
    advice: Option<&'a mut Vec<Mistake>>,
    /// Of what is in `sources` and is looked for places in.
    index: place::Index,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        items: &'a BTreeMap<Address, Item>,
        shapes: &'a Shapes<'a>,
        (broken, not_due): (&'a [Address], &'a [Address]),
        sources: &'a mut Sources,
        mistakes: &'a mut Vec<Mistake>,
        advice: Option<&'a mut Vec<Mistake>>,
    ) -> Self {
        Self { items, shapes, broken, not_due, sources, mistakes, advice, index: place::Index::default() }
    }

    pub(crate) fn values(&mut self, node: &Node) -> Values {
        let values = Values::read(node, self.mistakes);
        for text in values.texts() {
            for reference in text.template.references() {
                if matches!(reference.root(), "instance" | "values") {
                    self.resolve(reference, &values, |this| this.place_in_text(&text.place, &text.template, reference));
                } else {
                    let message = format!("a value cannot refer to {reference}");
                    self.mistakes.push(Mistake::at(
                        &text.place,
                        message,
                        "refer to it where it is used; values know facts and other values only",
                    ));
                }
            }
        }
        values
    }

    /// Parses every template file.
    pub(crate) fn templates(&mut self, texts: &TemplateTexts) -> BTreeMap<PathBuf, Template> {
        let mut templates = BTreeMap::new();
        for (path, text) in texts {
            match text {
                Ok(text) => {
                    let file: Arc<str> = path.display().to_string().into();
                    self.sources.insert(file.clone(), text.clone());
                    match Template::parse(text) {
                        Ok(template) => {
                            templates.insert(path.clone(), template);
                        }
                        Err(error) => self.mistakes.push(Mistake::of_template(&Place { file, line: 1, column: 1 }, &error)),
                    }
                }
                Err(error) => self.missing_template(path, error.as_ref()),
            }
        }
        templates
    }

    fn missing_template(&mut self, path: &Path, error: Option<&crate::failure::Explanation>) {
        let users = self.items.values().filter(|item| item.step.template() == Some(path));
        for item in users {
            let message = match error {
                None => format!("there is no template file {}", path.display()),
                Some(error) => format!("cannot use the template file {}: {}", path.display(), error.message),
            };
            let hint = error.and_then(|error| error.hint.clone());
            let hint =
                hint.unwrap_or_else(|| "bake it into the image there; on a dev box, put it into templates/ beside the document".into());
            self.mistakes.push(Mistake::at(&item.place, message, hint));
        }
    }

    /// Adds the advice about a step beside what others write.
    pub(crate) fn beside(&mut self, texts: &TemplateTexts) {
        let Some(advice) = &mut self.advice else { return };
        let text = |item: &'a Item| match (item.step.content(), item.step.template()) {
            (Some(text), _) => Some(text.raw()),
            (None, Some(path)) => texts.get(path)?.as_deref().ok(),
            (None, None) => None,
        };
        let files = self.items.iter().filter(|(address, _)| address.kind() == "files");
        let written = Written::new(Box::new(move || files.filter_map(|(address, item)| Some((address.key(), text(item)?))).gather()));
        for (address, item) in self.items {
            for objection in item.step.advice_beside(address.key(), &written) {
                advice.push(Mistake::of(&item.place, objection));
            }
        }
        trust::advise(self.items, self.shapes, advice);
        grace::advise(self.items, advice);
    }

    /// Every reference of every step, in the order of the steps, checked.
    pub(crate) fn nodes(&mut self, values: &Values, templates: &BTreeMap<PathBuf, Template>) -> Vec<Vec<Reference>> {
        let steps = self.items.iter().zip(self.shapes.values());
        steps.map(|((address, item), shape)| self.node(address, item, shape, values, templates)).collect()
    }

    fn node(
        &mut self,
        address: &Address,
        item: &Item,
        shape: &Shape<'_>,
        values: &Values,
        templates: &BTreeMap<PathBuf, Template>,
    ) -> Vec<Reference> {
        let mut references: Vec<Reference> = Vec::new();
        let file = item.step.template();
        for (n, text) in shape.texts.iter().enumerate() {
            let start = text.place().unwrap_or(&item.place);
            let Some(template) = self.parse(text, start) else { continue };
            for reference in template.references() {
                self.resolve(reference, values, |this| this.place_in_text(start, &template, reference));
            }
            self.fits(&template, values, start);
            if let Some(advice) = &mut self.advice {
                let helper = if n == 0 && file.is_none() { item.step.quoted_by(address.key()) } else { None };
                let mut search = None;
                let place = |bare: &Bare| {
                    let search = search.get_or_insert_with(|| place::Search::of(&self.index, self.sources, start));
                    search.find(bare.position.line, &bare.written)
                };
                Adviser::new(values.written(), advice).look_at(&template, text.raw(), helper, place);
            }
            references.append(&mut template.into_references());
        }
        if let Some((path, template)) = file.and_then(|path| templates.get_key_value(path)) {
            for reference in template.references() {
                self.resolve(reference, values, |_| {
                    let (line, column) = template.position_of(reference).map_or((1, 1), |position| (position.line, position.column));
                    Place { file: path.display().to_string().into(), line, column }
                });
            }
            self.fits(template, values, &Place { file: path.display().to_string().into(), line: 1, column: 1 });
            if let (Some(advice), Some((file, text))) = (&mut self.advice, self.sources.get_key_value(&*path.to_string_lossy())) {
                let place = |bare: &Bare| Place { file: file.clone(), line: bare.position.line, column: bare.position.column };
                Adviser::new(values.written(), advice).look_at(template, text, item.step.quoted_by(address.key()), place);
            }
            references.extend_from_slice(template.references());
        }
        references.sort_unstable();
        references.dedup();
        self.open_uses(address, item, &references);
        for (target, place) in item.after.iter().flatten() {
            self.names(target, place, address, false);
        }
        for target in &shape.watches {
            self.names(target, &item.place, address, shape.needs_watched);
        }
        let secret = references.iter().any(Reference::is_secret);
        for objection in item.step.objections(address.key(), secret) {
            self.mistakes.push(Mistake::of(&item.place, objection));
        }
        references
    }

    /// Adds the advice about the use of a step that may not be due where this one is.
    fn open_uses(&mut self, address: &Address, item: &Item, references: &[Reference]) {
        let Some(advice) = &mut self.advice else { return };
        let used = references.iter().filter(|reference| reference.usage != Usage::Tested).filter_map(Reference::address);
        let mut open: Vec<(Address, &Text)> = used.filter_map(|used| Some((used.clone(), self.items.get(&used)?.when.as_ref()?))).collect();
        open.dedup();
        for (used, when) in open.iter().filter(|(_, when)| item.when.as_ref().map(Text::raw) != Some(when.raw())) {
            let message = format!("{address} uses {used}, which is only there where `{}` is true", when.raw());
            advice.push(Mistake::at(&item.place, message, "give both the same `when:`, unless one follows from the other"));
        }
    }

    /// Fills in what goes over lists of values within each other, and finds out now that it becomes too large.
    fn fits(&mut self, template: &Template, values: &Values, start: &Place) {
        if !template.multiplies() || template.references().iter().any(|reference| reference.root() != "values") {
            return;
        }
        let Ok(known) = values.resolve(&Json::Null) else { return };
        if let Err(error @ TemplateError::TooLarge { .. }) =
            template.render(&Scope::from(Json::Object([("values".to_owned(), known)].into_iter().collect())))
        {
            self.mistakes.push(Mistake::of_template(start, &error));
        }
    }

    fn parse(&mut self, text: &Text, start: &Place) -> Option<Template> {
        if text.is_plain() {
            return None;
        }
        match Template::parse(text.raw()) {
            Ok(template) => Some(template),
            Err(error) => {
                self.mistakes.push(Mistake::of_template(start, &error));
                None
            }
        }
    }

    fn place_in_text(&self, start: &Place, template: &Template, reference: &Reference) -> Place {
        let line = template.position_of(reference).map_or(1, |position| position.line);
        place::in_text(&self.index, self.sources, start, line, &reference.written)
    }

    /// Checks that a whole step that is named is there, or is one that is not due and that nobody needs.
    fn names(&mut self, target: &Address, place: &Place, own: &Address, is_needed: bool) {
        if target == own {
            self.mistakes.push(Mistake::at(place, format!("{own} names itself"), "take it away"));
        } else if let Some(shape) = self.shapes.get(target) {
            let late = shape.order == Order::AfterEverything;
            let message = late.then(|| format!("{own} cannot wait for {target}, which comes after everything"));
            self.mistakes.extend(message.map(|message| Mistake::at(place, message, "take it away")));
        } else if !self.is_declared(target) && (is_needed || !self.not_due.contains(target)) {
            let (hint, known) = self.nearest_address(target);
            let wrong = match self.not_due.contains(target) {
                true => left_out(&format!("{own} needs {target}"), target),
                false => Wrong { message: format!("there is no step {target}"), hint, may_come_later: !known },
            };
            self.mistakes.push(wrong.at(place));
        }
    }

    fn is_declared(&self, address: &Address) -> bool {
        self.items.contains_key(address) || self.broken.contains(address)
    }

    /// What to do about a step that is not there, and whether another was meant that is.
    fn nearest_address(&self, address: &Address) -> (String, bool) {
        match nearest(address.as_str(), self.items.keys().map(Address::as_str)) {
            Some(near) => (format!("did you mean {near}?"), true),
            None => (format!("add {} to `{}:`", address.key(), address.kind()), false),
        }
    }

    /// Checks that there is something to refer to. Its place is only looked for where there is not: that reads the document.
    fn resolve(&mut self, reference: &Reference, values: &Values, place: impl FnOnce(&Self) -> Place) {
        let wrong = match reference.root() {
            "values" => in_values(reference, values.written()),
            "instance" => in_facts(reference),
            root if KINDS.iter().any(|kind| kind.name == root) || self.items.keys().any(|address| address.kind() == root) => {
                self.in_steps(reference)
            }
            root => {
                let roots = ["values", "instance"].into_iter().chain(KINDS.iter().map(|kind| kind.name));
                let hint = match nearest(root, roots) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write `values.{root}` and define it under `values:`, or begin with instance or secrets"),
                };
                Some(Wrong::new(format!("`{reference}` refers to nothing"), hint))
            }
        };
        if let Some(wrong) = wrong {
            let place = place(self);
            self.mistakes.push(wrong.at(&place));
        }
    }

    fn in_steps(&self, reference: &Reference) -> Option<Wrong> {
        let Some(address) = reference.address() else {
            let message = format!("`{reference}` names a kind of step, not a step");
            return Some(Wrong::new(message, format!("write `{reference}.NAME`")));
        };
        if !self.is_declared(&address) {
            let tested = reference.usage == Usage::Tested;
            return (!tested).then(|| {
                if self.not_due.contains(&address) {
                    return left_out(&format!("`{reference}` is not there"), &address);
                }
                let (hint, known) = self.nearest_address(&address);
                Wrong { message: format!("`{reference}` refers to nothing: there is no step {address}"), hint, may_come_later: !known }
            });
        }
        let shape = self.shapes.get(&address)?;
        if let Some(wrong) = in_fields(reference, &address, shape.fields) {
            return Some(wrong);
        }
        let offers = shape.offers?;
        match reference.segments.get(2) {
            Some(field) if offers.contains(&field.as_str()) => None,
            _ if offers.is_empty() => Some(Wrong::new(format!("{address} offers nothing to refer to"), "use `after:` to wait for it")),
            _ => Some(Wrong::new(format!("{address} does not offer `{reference}`"), format!("it offers: {}", offers.join(", ")))),
        }
    }
}

/// What is wrong with the use of a step that is not due.
fn left_out(what: &str, target: &Address) -> Wrong {
    let message = format!("{what}: {target} is not due, for its `when:` is false");
    Wrong::new(message, "give both the same `when:`, or use it only where {{#if (has …)}} finds it")
}

/// What is wrong with a reference.
pub(super) struct Wrong {
    message: String,
    hint: String,
    /// See [`Mistake::may_come_later`]. A slip of the finger will not come.
    may_come_later: bool,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), may_come_later: false }
    }

    pub(super) fn at(self, place: &Place) -> Mistake {
        Mistake { may_come_later: self.may_come_later, ..Mistake::at(place, self.message, self.hint) }
    }
}

/// A field of what has none, or a map in the place of a text.
fn in_fields(reference: &Reference, address: &Address, fields: HasFields) -> Option<Wrong> {
    let field = reference.segments.get(2);
    match fields {
        HasFields::Never(hint) if reference.usage != Usage::Tested && field.is_some_and(|field| field.parse::<usize>().is_err()) => {
            Some(Wrong::new(format!("`{reference}` is a field, and {address} is read as one text"), hint))
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
                    None => format!("define it under `values:`, or give {{{{default {reference} …}}}} a second choice"),
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
            Json::Null => format!("give it a value, or a second choice: {{{{default {reference} …}}}}"),
            _ => format!("print one of its parts, or use a helper: {{{{json {reference}}}}}, {{{{#each {reference}}}}}"),
        };
        Wrong::new(format!("`{reference}` is {what}, which cannot be printed as it is"), hint)
    })
}

pub(super) fn in_facts(reference: &Reference) -> Option<Wrong> {
    let Some(name) = reference.segments.get(1) else {
        return Some(Wrong::new("`instance` alone names no fact", "name one, as in instance.id"));
    };
    if name == facts::TAGS && reference.segments.len() == 2 {
        // Each tag is a request to IMDS, so only those that are named are read.
        return Some(Wrong::new("`instance.tags` alone names no tag", "name one, as in instance.tags.Name"));
    }
    let known = || facts::FACTS.iter().map(|(name, _)| *name).chain([facts::TAGS]);
    if known().any(|known| known == name) {
        return None;
    }
    let hint = match nearest(name, known()) {
        Some(near) => format!("did you mean instance.{near}?"),
        None => format!("known facts: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Some(Wrong::new(format!("`{reference}` refers to nothing"), hint))
}
