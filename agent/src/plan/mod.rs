//! The plan: the steps and their edges, checked. Planning is pure and touches nothing.
//!
//! Every mistake in a document is found here or earlier: references to nothing, cycles, secrets in world-readable
//! files, missing template files.

mod advice;
mod check;
mod claims;
mod current;
pub(crate) mod due;
mod evidence;
mod filled;
mod grace;
mod graph;
mod line_breaks;
mod longest;
mod meant;
mod names;
mod paths;
mod phases;
mod place;
mod ports;
mod release;
mod rendered;
mod rest;
mod resumed;
mod serving;
mod siblings;
mod trust;
mod unit;
mod values;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{Address, Reference};
use crate::document::BootDocument;
use crate::document::error::{DocumentError, Mistake};
use crate::document::source::TemplateTexts;
use crate::sorting::Sort as _;
use crate::step::{AnyStep, AsksAws, Leader, Outline, Phase, Shapes};
use crate::template::Template;
use crate::text::Text;

pub(crate) use filled::Known as KnownValues;
pub(crate) use meant::fact_meant;
pub(crate) use release::{Known, OfRelease};
pub(crate) use unit::{Need, Rest, Unit, awaited, row};
pub(crate) use values::{Facts, Values};

/// The steps to run, and their order.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Ordered by address.
    pub(crate) nodes: Vec<PlanNode>,
    /// What runs as a unit: a step, or files that are installed together. In the order of their first members.
    pub(crate) units: Vec<Unit>,
    pub(crate) templates: BTreeMap<PathBuf, Template>,
    pub(crate) values: Values,
    /// Whether the phase of this instance matters.
    pub(crate) heeds_phase: bool,
    /// Steps that are left out because their `when:` is false.
    pub(crate) not_due: Vec<Address>,
    /// Steps that count as due because the facts that decide it are unknown, each with its `when:`.
    pub(crate) open: Vec<(Address, String)>,
    claims: Option<Text>,
    /// Why the plan does not contain every secret of the document.
    pub(crate) hides: Option<String>,
    /// Every step of the document that listens on ports, and its ports.
    listening: Vec<(Address, Vec<u16>)>,
    leaders: BTreeMap<Address, Leader>,
    /// As [`Siblings::serving`](crate::step::Siblings::serving).
    serving: Vec<Address>,
}

/// One step of the plan.
#[derive(Debug)]
pub(crate) struct PlanNode {
    pub(crate) address: Address,
    pub(crate) step: Box<dyn AnyStep>,
    pub(crate) references: Vec<Reference>,
    /// Whether anything in it comes from a secret.
    pub(crate) holds_secret: bool,
    pub(crate) required: bool,
    /// The time limit of the whole step.
    pub(crate) patience: Duration,
    pub(crate) outline: Outline,
}

impl Plan {
    /// Checks a document and finds its edges.
    ///
    /// # Errors
    ///
    /// All mistakes at once, including those found while the document was read.
    pub(crate) fn compile(document: BootDocument, texts: &TemplateTexts) -> Result<Self, DocumentError> {
        Self::compile_and_advise(document, texts, None)
    }

    /// As [`compile`](Self::compile), and also returns warnings for the author.
    pub(crate) fn compile_with_advice(document: BootDocument, texts: &TemplateTexts) -> (Result<Self, DocumentError>, DocumentError) {
        let (mut advice, mut sources) = (Vec::new(), document.sources.clone());
        let plan = Self::compile_and_advise(document, texts, Some(&mut advice));
        if !advice.is_empty() {
            let files = texts.iter().filter_map(|(path, text)| Some((path.display().to_string().into(), text.as_ref().ok()?.clone())));
            sources.extend(files);
        }
        (plan, DocumentError::warnings(advice, sources))
    }

    fn compile_and_advise(
        mut document: BootDocument,
        texts: &TemplateTexts,
        advice: Option<&mut Vec<Mistake>>,
    ) -> Result<Self, DocumentError> {
        // A value that cannot be rendered is a mistake, which is found below.
        let _ = due::settle(&mut document, Facts::None);
        let BootDocument { values, claims, items, broken, not_due, mut sources, mut mistakes, on_a_desk, is_torn } = document;
        let shapes = Shapes::in_order(items.iter().map(|(address, item)| (address, item.step.shape(address.key()))));
        let mut checker = check::Checker::new(&items, &shapes, (&broken, &not_due), is_torn, &mut sources, &mut mistakes, advice);
        let values = checker.values(&values);
        let known = if on_a_desk { KnownValues::of(&values) } else { None };
        let templates = checker.templates(texts);
        let nodes = checker.nodes(&values, known.as_ref().filter(|_| !is_torn), &templates);
        checker.beside(texts);
        if on_a_desk {
            filled::check(&items, &nodes, known.as_ref(), &mut mistakes);
            names::check(&items, &broken, known.as_ref(), &mut mistakes);
            paths::check(&items, &shapes, &mut mistakes);
        }
        ports::check(&items, &shapes, &mut mistakes);
        claims::check(claims.as_ref(), &items, &shapes, &values, &mut mistakes);
        evidence::check(&items, &values, &mut mistakes);
        let units = graph::units(&items, &shapes, &nodes, &mut mistakes);
        if is_torn {
            // What is missing may be in a part that was not read.
            mistakes.retain(|mistake| !mistake.may_come_later);
        }
        if !mistakes.is_empty() {
            return Err(DocumentError::new(mistakes, sources));
        }
        let heeds_phase = items.values().any(|item| item.common.phase.is_some()) || shapes.values().any(|shape| shape.heeds_phase);
        let of_steps = items.keys().zip(shapes.values()).filter(|(_, shape)| !shape.ports.is_empty());
        let listening = of_steps.map(|(address, shape)| (address.clone(), shape.ports.clone())).collect();
        let leaders = current::leaders(&items, &shapes, &nodes);
        let serving = serving::serving(&items, &units);
        let open = items.iter().filter_map(|(address, item)| Some((address.clone(), item.when.as_ref()?.raw().to_owned()))).collect();
        let kept: Vec<(Duration, Outline)> = shapes.values().map(|shape| (shape.patience, shape.outline())).collect();
        let nodes = items
            .into_iter()
            .zip(nodes)
            .zip(kept)
            .map(|(((address, item), references), (patience, outline))| PlanNode {
                holds_secret: references.iter().any(Reference::is_secret),
                required: item.common.required.unwrap_or(true),
                patience: item.common.timeout.map_or(patience, |limit| limit.0),
                outline,
                step: item.step,
                references,
                address,
            })
            .collect();
        Ok(Self { nodes, units, templates, values, heeds_phase, not_due, open, claims, hides: None, listening, leaders, serving })
    }

    /// Every reference of the plan, including those in values.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.nodes.iter().flat_map(|node| &node.references).chain(self.values.references())
    }

    /// Whether any step refers to a fact of the instance.
    pub(crate) fn needs_facts(&self) -> bool {
        self.references().any(|reference| reference.root() == "instance")
    }

    /// Whether any step calls AWS in every boot. Other steps determine for themselves whether they need to.
    pub(crate) fn needs_aws(&self) -> bool {
        self.nodes.iter().any(|node| node.outline.asks_aws == AsksAws::Always)
    }

    /// The keys of the tags that are referred to.
    pub(crate) fn tags(&self) -> BTreeSet<&str> {
        tags(self.references())
    }

    /// References to `instance`, `secrets` and everything else that only a running machine knows, for placeholders.
    pub(crate) fn unknowns(&self) -> BTreeSet<&Reference> {
        let mut unknowns = BTreeSet::new();
        unknowns.extend(self.references().filter(|reference| matches!(reference.root(), "instance" | "secrets")));
        unknowns
    }

    /// The steps that a unit needs, not including "the rest".
    pub(crate) fn needs(&self, unit: &Unit) -> impl Iterator<Item = &PlanNode> {
        unit.needs.iter().flat_map(|need| &self.units[need.unit].members).map(|member| &self.nodes[*member])
    }

    /// As [`awaited`].
    pub(crate) fn awaited(&self) -> BTreeSet<usize> {
        awaited(&self.units)
    }

    /// For each unit, the minimum number of units that must end before it one after another. `order` is an order in
    /// which the units could run one at a time.
    pub(crate) fn levels(&self, order: &[usize]) -> Vec<usize> {
        let mut levels = vec![0; self.units.len()];
        let mut everything = 0;
        // The levels of "the rest", indexed by how many units wait for it. Once one of these units comes, everything it
        // waits for has been visited; from then on, each entry is the maximum of all entries from its index on.
        let row = row(&self.units);
        let (mut rest, mut settled) = (vec![0; row + 1], row);
        for at in order {
            let unit = &self.units[*at];
            let needed = unit.needs.iter().map(|need| levels[need.unit] + 1).max().unwrap_or(0);
            levels[*at] = needed;
            if let Rest::After(place) = unit.rest {
                while settled > place + 1 {
                    settled -= 1;
                    rest[settled] = rest[settled].max(rest[settled + 1]);
                }
                levels[*at] = needed.max(rest[place + 1]);
            }
            if unit.last {
                levels[*at] = everything;
            } else {
                everything = everything.max(levels[*at] + 1);
            }
            if let Rest::Part(waiting) = unit.rest {
                let waiting = waiting.min(row);
                rest[waiting] = rest[waiting].max(levels[*at] + 1);
            }
        }
        levels
    }

    /// Keeps only `addresses` and everything they need. Services among them no longer wait for "the rest".
    ///
    /// # Errors
    ///
    /// An address that is not in the plan, with the nearest one that is.
    pub(crate) fn only(&mut self, addresses: &[Address]) -> Result<(), String> {
        let mut keep = BTreeSet::new();
        let mut next = Vec::new();
        for address in addresses {
            if self.not_due.contains(address) {
                return Err(format!("{address} is not due: its `when:` is false"));
            }
            let Some(unit) = self.units.iter().position(|unit| unit.members.iter().any(|at| self.nodes[*at].address == *address)) else {
                let known = self.nodes.iter().map(|node| node.address.as_str());
                let near =
                    crate::failure::nearest(address.as_str(), known).map_or_else(String::new, |near| format!(": did you mean {near}?"));
                return Err(format!("the step {address} is not in the document{near}"));
            };
            next.push(unit);
        }
        while let Some(unit) = next.pop() {
            if keep.insert(unit) {
                next.extend(self.units[unit].needs.iter().map(|need| need.unit));
            }
        }
        self.keep(&Vec::from_iter(keep));
        // What was kept of "the rest" is needed by an edge, so no service has to wait for it as part of the rest.
        self.units.iter_mut().for_each(|unit| unit.rest = Rest::Apart);
        Ok(())
    }

    /// Removes steps that are not due in this phase.
    pub(crate) fn in_phase(&mut self, phase: Phase) {
        let due: Vec<usize> = (0..self.units.len()).filter(|at| self.units[*at].phase <= phase).collect();
        self.keep(&due);
    }

    /// Keeps only these units, which must be given in order.
    fn keep(&mut self, keep: &[usize]) {
        let mut members: Vec<usize> = keep.iter().flat_map(|unit| self.units[*unit].members.iter().copied()).collect();
        members.order();
        self.units = keep
            .iter()
            .map(|unit| {
                let unit = &self.units[*unit];
                let needs = unit.needs.iter().filter_map(|need| Some(Need { unit: place(keep, need.unit)?, ..*need }));
                Unit { members: unit.members.iter().filter_map(|at| place(&members, *at)).collect(), needs: needs.collect(), ..*unit }
            })
            .collect();
        let (mut at, hides) = (0, &mut self.hides);
        self.nodes.retain(|node| {
            at += 1;
            let is_kept = place(&members, at - 1).is_some();
            if !is_kept && node.address.kind() == "secrets" {
                *hides = Some(format!("{} was left out of this boot", node.address));
            }
            is_kept
        });
    }
}

/// The keys of the tags among the references.
pub(crate) fn tags<'a>(references: impl IntoIterator<Item = &'a Reference>) -> BTreeSet<&'a str> {
    let tags = references.into_iter().filter_map(|reference| match reference.segments.as_slice() {
        [root, tags, key, ..] if root == "instance" && tags == crate::facts::TAGS => Some(key.as_str()),
        _ => None,
    });
    let mut keys = BTreeSet::new();
    keys.extend(tags);
    keys
}

/// The index of `one` among the units that are kept, which are in order.
fn place(kept: &[usize], one: usize) -> Option<usize> {
    kept.binary_search(&one).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::source::Layers;

    fn plan(steps: &str) -> Plan {
        let mut layers = Layers::default();
        layers.add_named("test", format!("#ingot\nversion: 1\n{steps}\n").as_bytes());
        Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap()
    }

    /// Each warning about a document without mistakes, with its hint.
    pub(super) fn advised(steps: &str) -> Vec<String> {
        let mut layers = Layers::default();
        layers.add_named("test", format!("#ingot\nversion: 1\n{steps}\n").as_bytes());
        let (plan, warnings) = Plan::compile_with_advice(BootDocument::of(layers), &BTreeMap::new());
        assert!(plan.is_ok(), "{steps}");
        warnings.entries().into_iter().map(|entry| format!("{} / {}", entry.message, entry.hint.unwrap())).collect()
    }

    fn mistake(steps: &str) -> String {
        let mut layers = Layers::default();
        let bundle = "bundles: { app: { s3: s3://shop/app.zip, into: /opt/app } }";
        layers.add_named("test", format!("#ingot\nversion: 1\n{bundle}\napplications:\n{steps}\n").as_bytes());
        Plan::compile(BootDocument::of(layers), &BTreeMap::new()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn two_applications_do_not_build_one_release_in_two_ways() {
        let two = |one: &str, other: &str| {
            mistake(&format!("  a: {{ bundle: bundles.app {one} }}\n  b: {{ bundle: bundles.app, port: 6000, proxy: none {other} }}"))
        };
        let found = two("", ", build: [[make]]");
        assert!(found.contains("applications.b builds bundles.app with other commands than applications.a"), "{found}");
        assert_eq!(two(", build: [[make]]", ", build: [[make]]"), "");
    }

    #[test]
    fn an_application_has_time_to_go_back() {
        let found = mistake("  a: { bundle: bundles.app, timeout: 90s }");
        assert!(
            found.contains("`timeout` of applications.a is 90s; half of it is reserved for the rollback, which may take 100.05s"),
            "{found}"
        );
        assert!(mistake("  a: { bundle: bundles.app, timeout: 120s, ready: { timeout: 20s } }").contains("60.05s"));
        assert_eq!(mistake("  a: { bundle: bundles.app, timeout: 121s, ready: { timeout: 20s } }"), "");
    }

    #[test]
    fn what_is_asked_for_after_a_reboot_is_no_secret() {
        let with = |fields: &str| {
            mistake(&format!(
                "  a: {{ bundle: bundles.app, ready: {{ http: '/health?key={{{{secrets.key}}}}' }} {fields} }}\nsecrets: {{ key: {{ secrets_manager: key }} }}"
            ))
        };
        assert!(with(", set_instance_health: true").contains("`ready.http` holds a secret"));
        assert_eq!(with(""), "");
    }

    #[test]
    fn a_plan_needs_aws_if_a_step_asks_it_in_every_boot() {
        for steps in [
            "files: { /etc/a: { content: a } }",
            "volumes: { a: { from: { device: /dev/sdf } } }",
            // It may already be attached.
            "volumes: { a: { from: { snapshot: snap-1 } } }",
            "databases: { a: { host: db.internal, engine: mysql } }",
        ] {
            assert!(!plan(steps).needs_aws(), "{steps}");
        }
        for steps in ["secrets: { a: { parameter: /a } }", "databases: { a: { instance: shop } }"] {
            assert!(plan(steps).needs_aws(), "{steps}");
        }
    }
}
