//! The plan as people and programs read it: what, in which order, how much at once.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::address::Address;
use crate::plan::{Plan, Unit};
use crate::step::Phase;
use crate::text::Text;

/// What a rehearsal made of each step.
pub(crate) type Rehearsal = BTreeMap<Address, Rehearsed>;

/// What a rehearsal made of one step.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    pub(crate) changes: Vec<String>,
    /// Why it failed or was skipped, in lines for people.
    pub(crate) trouble: Vec<String>,
    /// The same for programs.
    pub(crate) outcome: Value,
    pub(crate) error: Value,
}

/// The plan as text, with the changes that a rehearsal of it made. `order` is one in which its units could run one by one.
pub(crate) fn text(plan: &Plan, order: &[usize], rehearsal: &Rehearsal, shown: &dyn Fn(&Text) -> String) -> String {
    let width = plan.nodes.iter().map(|node| node.address.as_str().len()).max().unwrap_or(0).min(40);
    let at_once = at_once(plan, order);
    let mut out = format!("Plan: {}, {at_once} at once\n", counted(plan.nodes.len(), "step"));
    if plan.heeds_phase {
        out.push_str("In a warm pool: all but what is marked (serve), which waits until the instance goes into service\n");
    }
    for unit in order {
        let unit = &plan.units[*unit];
        for member in &unit.members {
            let node = &plan.nodes[*member];
            let (address, summary) = (node.address.as_str(), node.step.summary(shown));
            let later = (plan.heeds_phase && unit.phase == Phase::Serve).then(|| "(serve)".to_owned());
            let after = after(plan, unit).map(|after| format!("after {after}"));
            let told: Vec<String> = [Some(summary), after, later].into_iter().flatten().filter(|part| !part.is_empty()).collect();
            let _ = writeln!(out, "\n  {address:width$}  {}", told.join("  "));
            let step = rehearsal.get(&node.address);
            for change in step.iter().flat_map(|step| &step.changes) {
                let _ = writeln!(out, "  {:width$}  + {change}", "");
            }
            for line in step.iter().flat_map(|step| &step.trouble) {
                let _ = writeln!(out, "  {:width$}  ! {line}", "");
            }
        }
        if unit.members.len() > 1 {
            let names: Vec<&str> = unit.members.iter().map(|member| plan.nodes[*member].address.as_str()).collect();
            let _ = writeln!(out, "  {:width$}  (installed together: {})", "", names.join(", "));
        }
    }
    if !plan.not_due.is_empty() {
        let names: Vec<&str> = plan.not_due.iter().map(Address::as_str).collect();
        let _ = writeln!(out, "\nNot due, by `when:`: {}", names.join(", "));
    }
    out
}

/// The plan for programs.
pub(crate) fn json(plan: &Plan, order: &[usize], rehearsal: &Rehearsal, shown: &dyn Fn(&Text) -> String) -> Value {
    let entries = order.iter().flat_map(|at| plan.units[*at].members.iter().map(move |member| (at, member))).map(|(at, member)| {
        let (unit, node) = (&plan.units[*at], &plan.nodes[*member]);
        let step = rehearsal.get(&node.address);
        json!({
            "address": node.address,
            "summary": node.step.summary(shown),
            "required": node.required,
            "phase": unit.phase,
            "holds_secret": node.holds_secret,
            "needs": plan.needs(unit).map(|node| &node.address).collect::<Vec<_>>(),
            "after_everything_else": unit.waits_for_rest() || unit.last,
            "installed_with": unit.members.iter().filter(|other| *other != member).map(|other| &plan.nodes[*other].address).collect::<Vec<_>>(),
            "outcome": step.map(|step| &step.outcome),
            "changes": step.map(|step| &step.changes),
            "error": step.map(|step| &step.error),
        })
    });
    let mut value = json!({ "version": 1, "at_once": at_once(plan, order), "steps": entries.collect::<Vec<_>>() });
    if !plan.not_due.is_empty() {
        value["not_due"] = json!(plan.not_due);
    }
    value
}

fn after(plan: &Plan, unit: &Unit) -> Option<String> {
    let mut names: Vec<&str> = plan.needs(unit).map(|node| node.address.as_str()).collect();
    if unit.last {
        return Some("everything".into());
    }
    if unit.waits_for_rest() {
        names.retain(|name| name.starts_with("services."));
        names.push("everything but services");
    }
    match names.len() {
        0 => None,
        1..=3 => Some(names.join(", ")),
        n => Some(format!("{} and {} more", names[..2].join(", "), n - 2)),
    }
}

/// The most steps that can run at the same time: the widest level of the graph.
fn at_once(plan: &Plan, order: &[usize]) -> usize {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    for (unit, level) in plan.units.iter().zip(plan.levels(order)) {
        *widths.entry(level).or_default() += unit.members.len();
    }
    widths.into_values().max().unwrap_or(0)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
