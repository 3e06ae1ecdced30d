//! Finds mistakes between steps: references to nothing, missing template files, exposed secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::address::{Address, Reference, Usage};
use crate::document::error::{Mistake, Sources};
use crate::document::source::TemplateTexts;
use crate::document::tree::{Node, Value};
use crate::document::{Item, KINDS, template_of};
use crate::gather::Gather as _;
use crate::plan::advice::Adviser;
use crate::plan::filled::Known;
use crate::plan::meant::{reference_meant, step_meant};
use crate::plan::rendered::{Judge, Source};
use crate::plan::values::Values;
use crate::plan::wrong::{Spot, Wrong, in_facts, in_fields, in_values, left_out, spot};
use crate::plan::{grace, place, trust};
use crate::sorting::Sort as _;
use crate::step::{Order, Shape, Shapes, Written};
use crate::template::{Bare, Scope, Template, TemplateError};
use crate::text::{Place, SecretText, Text};

pub(crate) struct Checker<'a> {
    items: &'a BTreeMap<Address, Item>,
    shapes: &'a Shapes<'a>,
    broken: &'a [(Address, Node)],
    not_due: &'a [Address],
    /// Whether missing steps may be in a part of the document that could not be read.
    is_torn: bool,
    sources: &'a mut Sources,
    mistakes: &'a mut Vec<Mistake>,
    /// Collects warnings for the author; `None` if nobody reads them.
    advice: Option<&'a mut Vec<Mistake>>,
    /// The index with which places in `sources` are found.
    index: place::Index,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        items: &'a BTreeMap<Address, Item>,
        shapes: &'a Shapes<'a>,
        (broken, not_due): (&'a [(Address, Node)], &'a [Address]),
        is_torn: bool,
        sources: &'a mut Sources,
        mistakes: &'a mut Vec<Mistake>,
        advice: Option<&'a mut Vec<Mistake>>,
    ) -> Self {
        Self { items, shapes, broken, not_due, is_torn, sources, mistakes, advice, index: place::Index::default() }
    }

    pub(crate) fn values(&mut self, node: &Node) -> Values {
        let values = Values::read(node, self.mistakes);
        for text in values.texts() {
            for reference in text.template.references() {
                if matches!(reference.root(), "instance" | "values") {
                    self.resolve(reference, &values, || spot(&text.place, &text.raw, &text.template, reference));
                } else {
                    let hint = "refer to it where it is used; values can refer only to facts and other values";
                    let wrong = Wrong::new(format!("a value cannot refer to {reference}"), hint);
                    self.mistakes.push(wrong.at(spot(&text.place, &text.raw, &text.template, reference)));
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
                        Err(error) => self.mistakes.push(Mistake::of_template_file(file, &error)),
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
                None => format!("the template file {} does not exist", path.display()),
                Some(error) => format!("cannot use the template file {}: {}", path.display(), error.message),
            };
            let hint = error.and_then(|error| error.hint.clone());
            let hint =
                hint.unwrap_or_else(|| "bake it into the image there; on a dev box, put it into templates/ next to the document".into());
            let place = item.written.as_ref().and_then(|node| node.get("template")).map_or(&item.place, |node| &node.place);
            self.mistakes.push(Mistake::at(place, message, hint));
        }
    }

    /// Adds warnings about a step that depend on what other steps write.
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

    /// Checks every reference of every step and returns them in the order of the steps. References of steps with
    /// mistakes are checked as well. Texts are rendered if values are `known`.
    pub(crate) fn nodes(
        &mut self,
        values: &Values,
        known: Option<&Known<'_>>,
        templates: &BTreeMap<PathBuf, Template>,
    ) -> Vec<Vec<Reference>> {
        for (address, node) in self.broken {
            self.strings(node, values);
            if let Some((path, template)) = template_of(address, node).and_then(|path| templates.get_key_value(&path)) {
                self.file(path, template, values);
            }
        }
        let steps = self.items.iter().zip(self.shapes.values());
        steps.map(|((address, item), shape)| self.node(address, item, shape, (values, known), templates)).collect()
    }

    fn node(
        &mut self,
        address: &Address,
        item: &Item,
        shape: &Shape<'_>,
        (values, known): (&Values, Option<&Known<'_>>),
        templates: &BTreeMap<PathBuf, Template>,
    ) -> Vec<Reference> {
        let mut references: Vec<Reference> = Vec::new();
        let file = item.step.template();
        let misfit = |filled: &SecretText| item.step.misfit(address.key(), filled);
        let misfit = item.step.is_parsed(address.key()).then_some(&misfit as Judge<'_>);
        for (n, text) in shape.texts.iter().enumerate() {
            let start = text.place().unwrap_or(&item.place);
            let is_content = n == 0 && file.is_none();
            let misfit = misfit.filter(|_| is_content);
            let Some(template) = self.parse(text, start, misfit.is_some() && known.is_some()) else { continue };
            if let Some(known) = known {
                let source = Source { template: &template, text: text.raw(), start: Some(start), file: start.file.clone(), misfit };
                self.mistakes.extend(source.mistake(known));
            }
            for reference in template.references() {
                self.resolve(reference, values, || spot(start, text.raw(), &template, reference));
            }
            self.fits(&template, values, |error| Mistake::of_template(start, text.raw(), error));
            if let Some(advice) = &mut self.advice {
                let helper = if is_content { item.step.quoted_by(address.key()) } else { None };
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
            self.file(path, template, values);
            self.content_of_file(path, template, (values, known), (item.step.quoted_by(address.key()), misfit));
            references.extend_from_slice(template.references());
        }
        references.order();
        references.dedup();
        self.open_uses(address, item, &references);
        for (target, place) in item.after.iter().flatten() {
            self.names(target, place, address, false);
        }
        for program in item.step.programs().into_iter().filter(|program| program.raw().trim().is_empty()) {
            let place = program.place().unwrap_or(&item.place);
            self.mistakes.push(Mistake::at(place, "the name of this program is empty", "write the program first: [PROGRAM, ARGUMENT, …]"));
        }
        for target in &shape.watches {
            self.names(target, &item.place, address, shape.needs_watched);
        }
        let secret = references.iter().any(Reference::is_secret);
        let objections = item.step.objections(address.key(), secret).into_iter();
        self.mistakes.extend(objections.map(|objection| Mistake::of(item.place_of(&objection), objection)));
        references
    }

    /// Checks the references of a template file.
    fn file(&mut self, path: &Path, template: &Template, values: &Values) {
        for reference in template.references() {
            self.resolve(reference, values, || {
                let (line, column) = template.position_of(reference).map_or((1, 1), |position| (position.line, position.column));
                (Place { file: path.display().to_string().into(), line, column }, None)
            });
        }
    }

    /// Checks the rendered content of a template file. `helper` quotes for its format.
    fn content_of_file(
        &mut self,
        path: &Path,
        template: &Template,
        (values, known): (&Values, Option<&Known<'_>>),
        (helper, misfit): (Option<&'static str>, Option<Judge<'_>>),
    ) {
        self.fits(template, values, |error| Mistake::of_template_file(path.display().to_string().into(), error));
        let Some((file, text)) = self.sources.get_key_value(&*path.to_string_lossy()) else { return };
        if let Some(known) = known {
            let source = Source { template, text, start: None, file: file.clone(), misfit };
            self.mistakes.extend(source.mistake(known));
        }
        if let Some(advice) = &mut self.advice {
            let place = |bare: &Bare| Place { file: file.clone(), line: bare.position.line, column: bare.position.column };
            Adviser::new(values.written(), advice).look_at(template, text, helper, place);
        }
    }

    /// Checks the strings of a step that has mistakes. It is not known which of them are rendered, but a reference to
    /// something in the document is certainly meant as one.
    fn strings(&mut self, node: &Node, values: &Values) {
        match &node.value {
            Value::Sequence(items) => items.iter().for_each(|item| self.strings(item, values)),
            Value::Map(entries) => {
                // The field `build` is not rendered.
                entries.iter().filter(|(key, _)| key.name != "build").for_each(|(_, node)| self.strings(node, values));
            }
            Value::String(text) if text.contains("{{") => {
                let text = Text::at(text.as_str(), node.place.clone());
                let Some(template) = self.parse(&text, &node.place, false) else { return };
                for reference in template.references() {
                    self.resolve(reference, values, || spot(&node.place, text.raw(), &template, reference));
                }
            }
            _ => {}
        }
    }

    /// Warns about the use of a step that may not be due in cases where this step is.
    fn open_uses(&mut self, address: &Address, item: &Item, references: &[Reference]) {
        let Some(advice) = &mut self.advice else { return };
        let used = references.iter().filter(|reference| reference.usage != Usage::Tested).filter_map(Reference::address);
        let mut open: Vec<(Address, &Text)> = used.filter_map(|used| Some((used.clone(), self.items.get(&used)?.when.as_ref()?))).collect();
        open.dedup();
        for (used, when) in open.iter().filter(|(_, when)| item.when.as_ref().map(Text::raw) != Some(when.raw())) {
            let message = format!("{address} uses {used}, which exists only if `{}` is true", when.raw());
            advice.push(Mistake::at(&item.place, message, "give both the same `when:`, unless one implies the other"));
        }
    }

    /// Renders templates with nested loops over lists of values, to find out now whether the result becomes too large.
    fn fits(&mut self, template: &Template, values: &Values, mistake: impl FnOnce(&TemplateError) -> Mistake) {
        if !template.multiplies() || template.references().iter().any(|reference| reference.root() != "values") {
            return;
        }
        let Ok(known) = values.resolve(&Json::Null) else { return };
        if let Err(error @ TemplateError::TooLarge { .. }) =
            template.render(&Scope::from(Json::Object([("values".to_owned(), known)].into_iter().collect())))
        {
            self.mistakes.push(mistake(&error));
        }
    }

    /// Parses the template in a text. `None` if it has mistakes, or, unless `plain_too`, if it contains no reference.
    fn parse(&mut self, text: &Text, start: &Place, plain_too: bool) -> Option<Template> {
        if text.is_plain() && !plain_too {
            return None;
        }
        match Template::parse(text.raw()) {
            Ok(template) => Some(template),
            Err(error) => {
                self.mistakes.push(Mistake::of_template(start, text.raw(), &error));
                None
            }
        }
    }

    /// Checks that a whole step that is named exists. A step that is not due is accepted unless it is needed.
    fn names(&mut self, target: &Address, place: &Place, own: &Address, is_needed: bool) {
        if target == own {
            self.mistakes.push(Mistake::at(place, format!("{own} names itself"), "remove it"));
        } else if let Some(shape) = self.shapes.get(target) {
            let late = shape.order == Order::AfterEverything;
            let message = late.then(|| format!("{own} cannot wait for {target}, which comes after everything"));
            self.mistakes.extend(message.map(|message| Mistake::at(place, message, "remove it")));
        } else if !self.is_declared(target) && (is_needed || !self.not_due.contains(target)) {
            let (hint, known) = self.nearest_address(target, Some(own));
            let wrong = match self.not_due.contains(target) {
                true => left_out(&format!("{own} needs {target}"), target),
                false => {
                    Wrong { message: format!("the step {target} is not in the document"), hint, may_come_later: !known || self.is_torn }
                }
            };
            self.mistakes.push(wrong.at((place.clone(), None)));
        }
    }

    fn is_declared(&self, address: &Address) -> bool {
        self.items.contains_key(address) || self.broken.iter().any(|(broken, _)| broken == address)
    }

    /// The hint for a step that does not exist, and whether it resembles an existing one; `own` cannot wait for itself
    /// or for what comes after everything.
    fn nearest_address(&self, address: &Address, own: Option<&Address>) -> (String, bool) {
        let can_be_meant =
            |(known, shape): &(&'a Address, &Shape<'_>)| own.is_none() || Some(*known) != own && shape.order != Order::AfterEverything;
        let known: Vec<&str> = self.items.keys().zip(self.shapes.values()).filter(can_be_meant).map(|(known, _)| known.as_str()).collect();
        step_meant(address, &known)
    }

    /// Checks that the target of a reference exists. `spot` is called only if it does not, because it searches the
    /// document.
    fn resolve(&mut self, reference: &Reference, values: &Values, spot: impl FnOnce() -> Spot) {
        let wrong = match reference.root() {
            "values" => in_values(reference, values.written()),
            "instance" => in_facts(reference),
            root if KINDS.iter().any(|kind| kind.name == root) || self.items.keys().any(|address| address.kind() == root) => {
                self.in_steps(reference)
            }
            _ => {
                let steps = self.items.keys().map(Address::as_str);
                Some(Wrong::new(format!("`{reference}` refers to nothing"), reference_meant(reference, values.written(), steps)))
            }
        };
        self.mistakes.extend(wrong.map(|wrong| Wrong { may_come_later: wrong.may_come_later || self.is_torn, ..wrong }.at(spot())));
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
                    return left_out(&format!("`{reference}` does not exist"), &address);
                }
                let (hint, known) = self.nearest_address(&address, None);
                Wrong {
                    message: format!("`{reference}` refers to nothing: the step {address} is not in the document"),
                    hint,
                    may_come_later: !known,
                }
            });
        }
        let shape = self.shapes.get(&address)?;
        if let Some(wrong) = in_fields(reference, &address, shape.fields) {
            return Some(wrong);
        }
        let offers = shape.offers?;
        match reference.segments.get(2) {
            Some(field) if offers.contains(&field.as_str()) => None,
            _ if offers.is_empty() => {
                Some(Wrong::new(format!("{address} offers nothing to refer to"), "remove the reference; use `after:` to wait for a step"))
            }
            _ => Some(Wrong::new(format!("{address} does not offer `{reference}`"), format!("it offers: {}", offers.join(", ")))),
        }
    }
}
