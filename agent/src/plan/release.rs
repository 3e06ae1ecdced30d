//! The bundles of a requested release come first: nothing is changed until they have been downloaded and verified.

use crate::address::{Address, Reference};
use crate::document::BootDocument;
use crate::plan::rest;
use crate::plan::unit::{Need, Rest, Unit, dependents, needed_by};
use crate::plan::values::{Values, touches};
use crate::plan::{Plan, place};
use crate::sorting::Sort as _;
use crate::step::AnyStep;
use crate::steps::application::Application;
use crate::template::Template;
use crate::text::Text;

/// The values that name a release and its digest.
const NAME: &str = "release";
const DIGEST: &str = "release_sha256";

/// Whether steps of a document refer to a release, including steps that are not due here or in this phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) is_named: bool,
    pub(crate) is_verified: bool,
}

impl Known {
    pub(crate) fn of(document: &BootDocument) -> Self {
        let values = Values::read(&document.values, &mut Vec::new());
        let (names, digests) = (paths(&values, NAME), paths(&values, DIGEST));
        let steps = document.items.iter().map(|(address, item)| {
            let (step, shape) = (&*item.step, item.step.shape(address.key()));
            let refers = |paths: &[Vec<String>]| shape.texts.iter().any(|text| is_of(text, paths));
            Referring::of(address.kind(), step, [&names, &digests].map(|paths| (refers(paths), paths.as_slice())))
        });
        Self::by(&steps.collect::<Vec<_>>())
    }

    /// Only what is fetched by the name is compared with the digest: a bundle, or the image of an application.
    fn by(steps: &[Referring<'_>]) -> Self {
        let of = |kind: &'static str| steps.iter().filter(move |step| step.kind == kind);
        let is_fetched = of("bundles").any(|step| step.by_name || step.by_digest);
        let fetched = || of(if is_fetched { "bundles" } else { "applications" });
        let by_name = fetched().any(|step| step.by_name);
        let is_verified = fetched().any(|step| step.by_digest && (step.by_name || !by_name));
        Self { is_named: steps.iter().any(|step| step.is_named), is_verified }
    }
}

/// How a step refers to a release.
struct Referring<'a> {
    kind: &'a str,
    is_named: bool,
    /// Whether the name selects what it fetches, and the digest verifies it.
    by_name: bool,
    by_digest: bool,
}

impl<'a> Referring<'a> {
    /// For the name and the digest, `of` takes whether any text of the step refers to it, and the paths of the value.
    fn of(kind: &'a str, step: &dyn AnyStep, [name, digest]: [(bool, &[Vec<String>]); 2]) -> Self {
        // An application fetches an image, and only passes its other references on.
        let application = step.any().downcast_ref::<Application>();
        let fetches_by = |(refers, paths): (bool, &[Vec<String>])| match application {
            Some(application) => application.image().is_some_and(|image| is_of(image, paths)),
            None => refers,
        };
        Self { kind, is_named: name.0, by_name: fetches_by(name), by_digest: fetches_by(digest) }
    }
}

fn is_of(text: &Text, paths: &[Vec<String>]) -> bool {
    Template::parse(text.raw()).is_ok_and(|template| template.references().iter().any(|reference| is_one(reference, paths)))
}

/// The paths of a value and of all values that depend on it.
fn paths(values: &Values, name: &str) -> Vec<Vec<String>> {
    let own = vec![name.to_owned()];
    let mut paths = values.depending_on(&own);
    paths.push(own);
    paths
}

fn is_one(reference: &Reference, paths: &[Vec<String>]) -> bool {
    reference.root() == "values" && paths.iter().any(|path| touches(path, &reference.segments[1..]))
}

/// The part of a plan that belongs to the release.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OfRelease {
    pub(crate) bundles: Vec<Address>,
    pub(crate) known: Known,
}

impl Plan {
    /// Puts the bundles of the release, staged together, before every step that they do not need themselves, except
    /// secrets, which are only read. If one of the bundles fails, everything after it is skipped.
    pub(crate) fn put_release_first(&mut self) -> OfRelease {
        let (names, digests) = (paths(&self.values, NAME), paths(&self.values, DIGEST));
        let refers = |paths: &[Vec<String>]| {
            self.nodes.iter().map(|node| node.references.iter().any(|reference| is_one(reference, paths))).collect::<Vec<bool>>()
        };
        let (named, verified) = (refers(&names), refers(&digests));
        let steps = self.nodes.iter().zip(named.iter().zip(&verified)).map(|(node, (named, verified))| {
            Referring::of(node.address.kind(), &*node.step, [(*named, names.as_slice()), (*verified, digests.as_slice())])
        });
        let known = Known::by(&steps.collect::<Vec<_>>());
        let is_first = |at: &usize| self.nodes[*at].address.kind() == "bundles" && (named[*at] || verified[*at]);
        let members: Vec<usize> = (0..self.nodes.len()).filter(is_first).collect();
        let bundles = members.iter().map(|at| self.nodes[*at].address.clone()).collect();
        let first = (0..self.units.len()).filter(|at| self.units[*at].members.iter().any(|member| members.contains(member)));
        let first = first.collect();
        self.put_first(first);
        OfRelease { bundles, known }
    }

    fn put_first(&mut self, mut first: Vec<usize>) {
        if first.is_empty() {
            return;
        }
        if first.len() > 1 && !needs_another(&first, &self.units) {
            self.units = merged(std::mem::take(&mut self.units), &first);
            first.truncate(1);
        }
        let before = needed_by(&first, &self.units);
        for at in (0..self.units.len()).filter(|at| !before.contains(*at)) {
            let only_reads = self.units[at].members.iter().all(|member| self.nodes[*member].address.kind() == "secrets");
            if only_reads || self.units[at].last {
                continue;
            }
            let needs = &mut self.units[at].needs;
            needs.retain(|need| !first.contains(&need.unit));
            needs.extend(first.iter().map(|unit| Need { unit: *unit, uses: true }));
            needs.order();
        }
        // A release may need a service that waits for the rest. That service must not wait for steps that now come
        // after the release.
        for unit in &mut self.units {
            unit.rest = match unit.rest {
                Rest::After(_) => Rest::After(0),
                Rest::Part(_) => Rest::ALL,
                Rest::Apart => Rest::Apart,
            };
        }
        let dependents = dependents(&self.units);
        rest::place(&mut self.units, &dependents);
    }
}

/// Whether one of these needs another, directly or indirectly.
fn needs_another(these: &[usize], units: &[Unit]) -> bool {
    these.iter().any(|at| {
        let needs: Vec<usize> = units[*at].needs.iter().map(|need| need.unit).collect();
        needed_by(&needs, units).iter().any(|need| these.contains(&need))
    })
}

/// The units with `these` merged into one unit at the position of the first. The order is kept.
fn merged(mut units: Vec<Unit>, these: &[usize]) -> Vec<Unit> {
    let (first, others) = (these[0], &these[1..]);
    for at in others {
        let Unit { members, needs, rest, required, phase, .. } = units[*at].clone();
        let one = &mut units[first];
        one.members.extend(members);
        one.needs.extend(needs);
        one.required |= required;
        one.phase = one.phase.max(phase);
        if !matches!((one.rest, rest), (Rest::Part(_), Rest::Part(_))) {
            one.rest = Rest::Apart;
        }
    }
    units[first].members.order();
    let kept: Vec<usize> = (0..units.len()).filter(|at| !others.contains(at)).collect();
    let now = |at: usize| place(&kept, if others.contains(&at) { first } else { at }).expect("it is among those that are kept");
    let mut at = 0;
    units.retain(|_| {
        at += 1;
        !others.contains(&(at - 1))
    });
    for unit in &mut units {
        unit.needs.iter_mut().for_each(|need| need.unit = now(need.unit));
        unit.needs.order_by_key(|need| (need.unit, !need.uses));
        unit.needs.dedup_by_key(|need| need.unit);
    }
    units
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::source::Layers;
    use crate::execute::schedule::{Ended, Schedule};

    const BUNDLES: &str = "bundles:
  app: { s3: 's3://shop/{{values.release}}.tar', sha256: '{{values.release_sha256}}', into: /opt/app }
  assets: { s3: 's3://shop/{{values.assets}}.tar', into: /srv/shop/assets }
  agent: { s3: s3://shop/agent.tar, into: /opt/agent }
";

    fn plan(steps: &str) -> Plan {
        let values = "values: { release: v1, release_sha256: '', assets: 'assets-{{values.release}}' }";
        let mut layers = Layers::default();
        layers.add_named("test", format!("#ingot\nversion: 1\n{values}\n{steps}").as_bytes());
        Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap()
    }

    /// Each unit and its needs, by the names of the steps.
    fn needs(plan: &Plan) -> Vec<String> {
        let names = |unit: &Unit| unit.members.iter().map(|at| plan.nodes[*at].address.as_str()).collect::<Vec<_>>().join("+");
        let of = |unit: &Unit| unit.needs.iter().map(|need| names(&plan.units[need.unit])).collect::<Vec<_>>().join(", ");
        plan.units.iter().map(|unit| format!("{}: {}", names(unit), of(unit))).collect()
    }

    #[test]
    fn everything_waits_for_the_release_but_what_it_needs_and_secrets() {
        let steps = format!(
            "{BUNDLES}secrets: {{ db: {{ parameter: /db }} }}\nmounts: {{ /srv/shop: {{ device: /dev/sdf }} }}\n\
             files: {{ /etc/a: {{ content: '{{{{secrets.db}}}}' }} }}\nservices: {{ x.service: {{}} }}\n\
             signals: {{ stack: {{ cloudformation: {{}} }} }}\n"
        );
        let mut plan = plan(&steps);
        let found = plan.put_release_first();
        assert_eq!(found.bundles.iter().map(Address::as_str).collect::<Vec<_>>(), ["bundles.app", "bundles.assets"]);
        assert_eq!(found.known, Known { is_named: true, is_verified: true });
        assert_eq!(
            needs(&plan),
            [
                "bundles.agent: bundles.app+bundles.assets",
                "bundles.app+bundles.assets: mounts./srv/shop",
                "files./etc/a: bundles.app+bundles.assets, secrets.db",
                "mounts./srv/shop: ",
                "secrets.db: ",
                "services.x.service: bundles.app+bundles.assets",
                "signals.stack: ",
            ]
        );
    }

    #[test]
    fn only_what_the_release_waits_for_stays_before_it() {
        let after = BUNDLES.replace("into: /opt/app", "into: /opt/app, after: [services.x.service]");
        let services = "services: { x.service: { restart_on: [files./etc/x] }, y.service: {} }";
        let files = "files: { /etc/a: { content: '{{values.release}}' }, /etc/x: { content: x } }";
        let mut plan = plan(&format!("{after}{services}\n{files}\nmounts: {{ /srv/y: {{ device: /dev/sdf }} }}\n"));
        plan.put_release_first();
        assert_eq!(
            needs(&plan),
            [
                "bundles.agent: bundles.app+bundles.assets",
                "bundles.app+bundles.assets: services.x.service",
                "files./etc/a: bundles.app+bundles.assets",
                "files./etc/x: ",
                "mounts./srv/y: bundles.app+bundles.assets",
                "services.x.service: files./etc/x",
                "services.y.service: bundles.app+bundles.assets",
            ]
        );
        // Every unit can still run.
        let mut schedule = Schedule::new(&plan.units);
        let mut order = Vec::new();
        while let Some(unit) = schedule.next_ready() {
            order.extend(plan.units[unit].members.iter().map(|at| plan.nodes[*at].address.as_str().to_owned()));
            assert!(schedule.finished(unit, Ended::Well).is_empty());
        }
        let before: Vec<&str> = order.iter().map(String::as_str).take_while(|address| !address.starts_with("bundles.app")).collect();
        assert_eq!((before, order.len()), (vec!["files./etc/x", "services.x.service"], plan.nodes.len()));
        assert_eq!(order.last().map(String::as_str), Some("services.y.service"));
    }

    #[test]
    fn bundles_that_need_each_other_are_not_one() {
        let after = BUNDLES.replace("into: /opt/app", "into: /opt/app, after: [files./etc/a]");
        let mut plan =
            plan(&format!("{after}files: {{ /etc/a: {{ content: '{{{{bundles.assets.path}}}}' }}, /etc/b: {{ content: b }} }}\n"));
        plan.put_release_first();
        assert_eq!(needs(&plan)[4], "files./etc/b: bundles.app, bundles.assets");
    }

    /// Regression: a file that only mentioned the digest was sufficient.
    #[test]
    fn only_what_is_fetched_can_be_verified() {
        let known = |steps: &str| plan(steps).put_release_first().known;
        let named = "bundles: { a: { s3: 's3://shop/{{values.release}}.tar', into: /opt/a } }\n";
        let file = "files: { /etc/a: { content: '{{values.release}} {{values.release_sha256}}' } }\n";
        assert_eq!(known(&format!("{named}{file}")), Known { is_named: true, is_verified: false });
        let verified = "bundles: { a: { s3: s3://shop/a.tar, sha256: '{{values.release_sha256}}', into: /opt/a } }\n";
        assert_eq!(known(&format!("{verified}{file}")), Known { is_named: true, is_verified: true });
        let other = named.replace("} }", "}, b: { s3: s3://shop/b.tar, sha256: '{{values.release_sha256}}', into: /opt/b } }");
        assert_eq!(known(&other), Known { is_named: true, is_verified: false });
        let application = |field: &str| {
            known(&format!(
                "bundles: {{ a: {{ s3: s3://shop/a.tar, into: /opt/a }} }}\napplications: {{ shop: {{ port: 5000, {field} }} }}\n"
            ))
        };
        let text = "{{values.release}}@{{values.release_sha256}}";
        let passed_on = application(&format!("bundle: bundles.a, environment: {{ RELEASE: '{text}' }}"));
        assert_eq!(passed_on, Known { is_named: true, is_verified: false });
        assert_eq!(application(&format!("image: 'registry.example/{text}'")), Known { is_named: true, is_verified: true });
    }

    #[test]
    fn a_document_may_not_know_of_releases() {
        let found = plan("bundles: { a: { s3: s3://shop/a.tar, into: /opt/a } }\n").put_release_first();
        assert_eq!(found, OfRelease { bundles: Vec::new(), known: Known::default() });
    }
}
