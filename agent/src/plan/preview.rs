//! The plan as people and programs read it: what, in which order, how much at once.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::plan::{Plan, Unit};
use crate::report::{Outcome, Report, StepReport};
use crate::text::Text;

/// The plan as text, with the changes that a rehearsal of it made. `order` is one in which its units could run one by one.
pub(crate) fn text(plan: &Plan, order: &[usize], rehearsal: &Report, shown: &dyn Fn(&Text) -> String) -> String {
    let steps: BTreeMap<&str, &StepReport> = rehearsal.steps.iter().map(|step| (step.address.as_str(), step)).collect();
    let width = plan.nodes.iter().map(|node| node.address.as_str().len()).max().unwrap_or(0).min(40);
    let at_once = at_once(plan, order);
    let mut out = format!("Plan: {}, {at_once} at once\n", counted(plan.nodes.len(), "step"));
    for unit in order {
        let unit = &plan.units[*unit];
        for member in &unit.members {
            let node = &plan.nodes[*member];
            let (address, summary) = (node.address.as_str(), node.step.summary(shown));
            let _ = write!(out, "\n  {address:width$}  {summary}");
            if let Some(after) = after(plan, unit) {
                let _ = write!(out, "{}after {after}", if summary.is_empty() { "" } else { "  " });
            }
            out.push('\n');
            if let Some(step) = steps.get(address) {
                describe(step, width, &mut out);
            }
        }
        if unit.members.len() > 1 {
            let names: Vec<&str> = unit.members.iter().map(|member| plan.nodes[*member].address.as_str()).collect();
            let _ = writeln!(out, "  {:width$}  (installed together: {})", "", names.join(", "));
        }
    }
    out
}

fn describe(step: &StepReport, width: usize, out: &mut String) {
    for change in &step.changes {
        let _ = writeln!(out, "  {:width$}  + {change}", "");
    }
    match (step.outcome, &step.error, &step.skipped_for) {
        (Outcome::Failed, Some(error), _) => {
            for line in crate::report::console::told(error).lines() {
                let _ = writeln!(out, "  {:width$}  ! {line}", "");
            }
        }
        (Outcome::Skipped, _, Some(needs)) => {
            let _ = writeln!(out, "  {:width$}  ! skipped: it needs {needs}", "");
        }
        _ => {}
    }
}

/// The plan for programs.
pub(crate) fn json(plan: &Plan, order: &[usize], rehearsal: &Report, shown: &dyn Fn(&Text) -> String) -> Value {
    let steps: BTreeMap<&str, &StepReport> = rehearsal.steps.iter().map(|step| (step.address.as_str(), step)).collect();
    let entries = order.iter().flat_map(|at| plan.units[*at].members.iter().map(move |member| (at, member))).map(|(at, member)| {
        let (unit, node) = (&plan.units[*at], &plan.nodes[*member]);
        let step = steps.get(node.address.as_str());
        json!({
            "address": node.address,
            "summary": node.step.summary(shown),
            "required": node.required,
            "holds_secret": node.holds_secret,
            "needs": plan.needs(unit).map(|node| &node.address).collect::<Vec<_>>(),
            "after_everything_else": unit.after_rest,
            "installed_with": unit.members.iter().filter(|other| *other != member).map(|other| &plan.nodes[*other].address).collect::<Vec<_>>(),
            "outcome": step.map(|step| step.outcome),
            "changes": step.map(|step| &step.changes),
            "error": step.and_then(|step| step.error.as_ref()),
        })
    });
    json!({ "version": 1, "at_once": at_once(plan, order), "steps": entries.collect::<Vec<_>>() })
}

fn after(plan: &Plan, unit: &Unit) -> Option<String> {
    let mut names: Vec<&str> = plan.needs(unit).map(|node| node.address.as_str()).collect();
    if unit.after_rest {
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
