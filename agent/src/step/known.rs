//! What is known while a boot runs: facts, values, and the outputs of steps.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::address::{Address, CREDENTIALS, Reference, Usage};
use crate::gather::Gather as _;
use crate::step::{Outputs, Verdict};
use crate::template::{Scope, Template};
use crate::text::Text;

/// Facts, values, and the outputs of finished steps.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// `instance` and `values`.
    roots: RefCell<BTreeMap<String, Scope>>,
    /// The outputs of each finished step, wiped when the boot is over, and its stamp.
    outputs: RefCell<BTreeMap<Address, (Scope, Option<String>)>>,
    /// Steps whose outputs are known before they have run.
    foretold: RefCell<BTreeSet<Address>>,
    /// In a rehearsal: the outputs that were given for steps, which are not run for them.
    given: RefCell<BTreeMap<Address, serde_json::Value>>,
    /// Which secrets have been given to which steps.
    used: RefCell<BTreeMap<Reference, BTreeSet<Address>>>,
    /// Databases whose credentials are the content of a secret.
    lenders: RefCell<BTreeMap<Address, Address>>,
    /// Secrets that have changed, and the steps that were given the previous value.
    stale: RefCell<BTreeMap<Address, BTreeSet<Address>>>,
    /// In a rehearsal: references without a value, which have a placeholder.
    pub(super) placeholders: RefCell<BTreeSet<String>>,
    /// The result of the boot, once it is known.
    verdict: RefCell<Option<Verdict>>,
    /// The units of each step that has any, and how often systemd had restarted each when the step last looked at it.
    units: RefCell<BTreeMap<Address, BTreeMap<String, u32>>>,
    /// Steps of which something was started early, and has not been checked since.
    unproven: RefCell<BTreeSet<Address>>,
}

impl Known {
    pub(crate) fn set_root(&self, name: &str, value: serde_json::Value) {
        self.roots.borrow_mut().insert(name.to_owned(), value.into());
    }

    /// Sets the result of the boot that signals report, unless it is set already.
    pub(crate) fn set_verdict(&self, verdict: impl FnOnce() -> Verdict) {
        self.verdict.borrow_mut().get_or_insert_with(verdict);
    }

    /// The result of the boot; success until it is set.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.borrow().clone().unwrap_or(Verdict::Well)
    }

    pub(crate) fn set_outputs(&self, address: Address, outputs: Outputs) {
        self.foretold.borrow_mut().remove(&address);
        self.outputs.borrow_mut().insert(address, (outputs.value.into(), outputs.stamp));
    }

    /// Sets the outputs of a step that has not run yet.
    pub(crate) fn foretell(&self, address: Address, outputs: Outputs) {
        self.set_outputs(address.clone(), outputs);
        self.foretold.borrow_mut().insert(address);
    }

    /// Sets the units of a step, each with its number of restarts until now. Replaces those set before.
    pub(crate) fn set_units(&self, address: &Address, units: BTreeMap<String, u32>) {
        self.units.borrow_mut().insert(address.clone(), units);
    }

    pub(crate) fn set_restarts(&self, address: &Address, unit: &str, restarts: u32) {
        self.units.borrow_mut().entry(address.clone()).or_default().insert(unit.to_owned(), restarts);
    }

    /// Records whether something of a step is running that has not been checked.
    pub(crate) fn set_unproven(&self, address: &Address, is_unproven: bool) {
        let mut unproven = self.unproven.borrow_mut();
        if is_unproven {
            unproven.insert(address.clone())
        } else {
            unproven.remove(address)
        };
    }

    pub(crate) fn is_unproven(&self, address: &Address) -> bool {
        self.unproven.borrow().contains(address)
    }

    /// The names of the units of a finished step.
    pub(crate) fn units(&self, address: &Address) -> Vec<String> {
        self.units.borrow().get(address).map_or_else(Vec::new, |units| units.keys().cloned().collect())
    }

    /// How often systemd has restarted a unit since the step looked at it; `now` is the number of restarts by now. The
    /// number starts at zero again when something other than systemd restarts the unit.
    pub(crate) fn restarts_since(&self, address: &Address, unit: &str, now: u32) -> u32 {
        let before = self.units.borrow().get(address).and_then(|units| units.get(unit)).copied().unwrap_or(0);
        now.checked_sub(before).unwrap_or(now)
    }

    /// The finished steps.
    pub(crate) fn done(&self) -> BTreeSet<Address> {
        let foretold = self.foretold.borrow();
        self.outputs.borrow().keys().filter(|address| !foretold.contains(*address)).cloned().gather()
    }

    /// Replaces the outputs of a secret that was read again, and records the steps that were given the previous value.
    pub(crate) fn replace_outputs(&self, address: &Address, outputs: Outputs) {
        let Some(before) = self.output(address) else { return };
        self.set_outputs(address.clone(), outputs);
        let now = self.output(address).unwrap_or_else(Scope::new);
        for (reference, users) in self.used.borrow().iter().filter(|(reference, _)| reference.address().as_ref() == Some(address)) {
            let path = &reference.segments[2..];
            if before.get(path) != now.get(path) {
                self.stale.borrow_mut().entry(address.clone()).or_default().extend(users.iter().cloned());
            }
        }
    }

    /// The steps that were given a secret before it changed. `None` if it has not changed.
    pub(crate) fn stale(&self, secret: &Address) -> Option<Vec<Address>> {
        self.stale.borrow().get(secret).map(|users| users.iter().cloned().collect())
    }

    pub(super) fn note_use(&self, user: &Address, references: &[Reference]) {
        for reference in references {
            let of_secret = if reference.root() == "secrets" { Some(reference.clone()) } else { self.lent(reference) };
            if let Some(of_secret) = of_secret {
                self.used.borrow_mut().entry(of_secret).or_default().insert(user.clone());
            }
        }
    }

    /// Records that the credentials of a database are the content of a secret.
    pub(crate) fn note_lender(&self, database: &Address, secret: &Address) {
        self.lenders.borrow_mut().insert(database.clone(), secret.clone());
    }

    /// The reference to a secret that corresponds to a reference to a database's credentials.
    fn lent(&self, reference: &Reference) -> Option<Reference> {
        let secret = self.lenders.borrow().get(&reference.address()?)?.clone();
        let fields = reference.segments.get(2..)?;
        // A reference to a whole database includes its credentials.
        let is_lent = fields.first().is_none_or(|field| CREDENTIALS.contains(&field.as_str()));
        let segments = [secret.kind(), secret.key()].into_iter().map(str::to_owned).chain(fields.iter().cloned());
        is_lent.then(|| Reference { segments: segments.collect(), ..reference.clone() })
    }

    /// Wipes the outputs that are secrets, which are no longer needed.
    pub(crate) fn forget_secrets(&self) {
        let mut outputs = self.outputs.borrow_mut();
        outputs.retain(|address, _| address.kind() != "secrets");
        for (address, (value, _)) in outputs.iter_mut() {
            for name in CREDENTIALS.map(str::to_owned) {
                if address.kind() == "databases" && value.get(std::slice::from_ref(&name)).is_some() {
                    value.insert(&[name], serde_json::Value::Null);
                }
            }
        }
    }

    /// Sets the outputs of a step that are used instead of running it.
    pub(crate) fn give(&self, address: Address, value: serde_json::Value) {
        self.given.borrow_mut().insert(address, value);
    }

    pub(crate) fn given(&self, address: &Address) -> Option<Outputs> {
        self.given.borrow().get(address).map(|value| Outputs { value: value.clone(), stamp: None })
    }

    /// The path of the file of a finished step.
    pub(crate) fn path(&self, address: &Address) -> Option<PathBuf> {
        self.text(address, "path").map(PathBuf::from)
    }

    /// A string in the outputs of a finished step.
    pub(crate) fn text(&self, address: &Address, field: &str) -> Option<String> {
        self.outputs.borrow().get(address)?.0.get(&[field.to_owned()])?.as_str().map(str::to_owned)
    }

    /// The secret that a missing path is a field of, if the secret has no fields, and what it is instead.
    pub(super) fn fieldless(&self, template: &Template, path: &str) -> Option<(String, &'static str)> {
        let missing = template.references().iter().find(|reference| reference.to_string() == path)?;
        let address = missing.address().filter(|address| address.kind() == "secrets" && missing.segments.len() > 2)?;
        let is = match self.outputs.borrow().get(&address)?.0.get(&[])? {
            serde_json::Value::String(text) if text.trim_start().starts_with('{') => "is not JSON, although it begins like a JSON object",
            serde_json::Value::String(text) if !text.trim_start().starts_with('[') => "is plain text, not a JSON object",
            serde_json::Value::String(_) | serde_json::Value::Array(_) => "is a JSON list, not a JSON object",
            _ => return None,
        };
        Some((address.to_string(), is))
    }

    /// All outputs of a finished step.
    pub(crate) fn output(&self, address: &Address) -> Option<Scope> {
        self.outputs.borrow().get(address).map(|(value, _)| value.clone())
    }

    /// The references that have a placeholder.
    pub(crate) fn placeholders(&self) -> BTreeSet<String> {
        self.placeholders.borrow().clone()
    }

    pub(crate) fn set_placeholders(&self, references: BTreeSet<String>) {
        *self.placeholders.borrow_mut() = references;
    }

    pub(crate) fn stamp(&self, address: &Address) -> Option<String> {
        self.outputs.borrow().get(address).and_then(|(_, stamp)| stamp.clone())
    }

    /// A document string as it may be shown: facts and values are rendered. Every other reference, such
    /// as one to a secret, is shown by name: `<secrets.db.password>`. If the result depends on such a
    /// reference in any other way, the string is shown as written.
    pub(crate) fn shown(&self, text: &Text) -> String {
        let template = if text.is_plain() { None } else { Template::parse(text.raw()).ok() };
        let is_known = |reference: &Reference| self.roots.borrow().contains_key(reference.root());
        let told = |template: &Template| template.references().iter().all(|one| one.usage == Usage::Printed || is_known(one));
        let rendered = template.filter(told).and_then(|template| {
            let mut scope = self.scope(template.references());
            for reference in template.references().iter().filter(|reference| !is_known(reference)) {
                scope.insert(&reference.segments, format!("<{reference}>").into());
            }
            template.render(&scope).ok()
        });
        rendered.map_or_else(|| text.raw().to_owned(), |rendered| rendered.expose().to_owned())
    }

    /// A scope with what `references` name and nothing else: a template cannot see a secret that it does not use.
    pub(crate) fn scope(&self, references: &[Reference]) -> Scope {
        let (roots, outputs) = (self.roots.borrow(), self.outputs.borrow());
        let mut scope = Scope::new();
        for reference in references {
            let found = match roots.get(reference.root()) {
                Some(root) => root.get(&reference.segments[1..]),
                None => {
                    let step = reference.address().and_then(|address| outputs.get(&address));
                    step.and_then(|(value, _)| value.get(&reference.segments[2..]))
                }
            };
            if let Some(value) = found {
                scope.insert(&reference.segments, value.clone());
            }
        }
        scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a boot claimed to have run a command that it never ran.
    #[test]
    fn nothing_is_computed_on_what_is_not_known() {
        let known = Known::default();
        known.set_root("values", serde_json::json!({ "env": "prod" }));
        for (text, shown) in [
            ("deploy {{values.env}} {{secrets.a}}", "deploy prod <secrets.a>"),
            ("{{#if (eq values.env 'prod')}}{{secrets.a}}{{else}}b{{/if}}", "<secrets.a>"),
            ("{{#if (eq secrets.a 'x')}}drop{{else}}keep{{/if}}", "{{#if (eq secrets.a 'x')}}drop{{else}}keep{{/if}}"),
            ("{{base64 secrets.a}}", "{{base64 secrets.a}}"),
        ] {
            assert_eq!(known.shown(&Text::new(text)), shown);
        }
    }
}
