//! The plan for people and programs: what runs, in which order, what it would change, and how much at the same time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::address::Address;
use crate::paint::{Line, Style};
use crate::plan::{Plan, PlanNode, Unit};
use crate::step::Phase;
use crate::text::Text;

/// The widest column of addresses in characters, and the fraction of the terminal's width that it may take.
const WIDEST: usize = 40;
const PART: usize = 3;

/// The result of a rehearsal, by step.
pub(super) type Rehearsed = BTreeMap<Address, Step>;

/// The result of a rehearsal for one step.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) changes: Vec<String>,
    /// Why it failed or was skipped, in lines for people.
    pub(super) trouble: Vec<String>,
    /// The same for programs.
    pub(super) outcome: Value,
    pub(super) error: Value,
}

/// A plan, and the result of its rehearsal.
pub(super) struct Preview<'a> {
    pub(super) plan: &'a Plan,
    /// An order in which its units could run one by one.
    pub(super) order: &'a [usize],
    pub(super) steps: &'a Rehearsed,
    pub(super) shown: &'a dyn Fn(&Text) -> String,
}

impl Preview<'_> {
    /// The plan for people, on a terminal of this width.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let plan = self.plan;
        let widest = width.map_or(WIDEST, |width| WIDEST.min(width / PART));
        let width = plan.nodes.iter().map(|node| node.address.as_str().len()).max().unwrap_or(0).min(widest);
        let steps = if plan.nodes.len() == 1 { "1 step".to_owned() } else { format!("{} steps", plan.nodes.len()) };
        let mut lines = vec![Style::Strong.line(format!("Plan: {steps}, {} at once", at_once(plan, self.order)))];
        if plan.heeds_phase {
            let text = "In a warm pool: everything except steps marked (serve), which wait until the instance goes into service";
            lines.push(Style::Plain.line(text));
        }
        for unit in self.order {
            let unit = &plan.units[*unit];
            for member in &unit.members {
                lines.push(Line::default());
                self.step(&plan.nodes[*member], unit, width, &mut lines);
            }
            if unit.members.len() > 1 {
                let names: Vec<&str> = unit.members.iter().map(|member| plan.nodes[*member].address.as_str()).collect();
                lines.push(below(width).then(Style::Soft, format!("(installed together: {})", names.join(", "))));
            }
        }
        if !plan.not_due.is_empty() {
            let names: Vec<&str> = plan.not_due.iter().map(Address::as_str).collect();
            lines.push(Line::default());
            lines.push(Line::hanging(2).then(Style::Plain, format!("Not due, by `when:`: {}", names.join(", "))));
        }
        lines
    }

    fn step(&self, node: &PlanNode, unit: &Unit, width: usize, lines: &mut Vec<Line>) {
        let (address, summary) = (node.address.as_str(), node.step.summary(self.shown));
        let after = after(self.plan, unit).map(|after| format!("after {after}"));
        let later = (self.plan.heeds_phase && unit.phase == Phase::Serve).then(|| "(serve)".to_owned());
        let rest: Vec<String> = [after, later].into_iter().flatten().collect();
        let gap = if summary.is_empty() || rest.is_empty() { "" } else { "  " };
        let head = Line::hanging(width + 4).then(Style::Plain, "  ").then(Style::Strong, address);
        let padding = " ".repeat(width.saturating_sub(address.len()) + 2);
        lines.push(head.then(Style::Plain, format!("{padding}{summary}{gap}")).then(Style::Soft, rest.join("  ")));
        let step = self.steps.get(&node.address);
        for change in step.iter().flat_map(|step| &step.changes) {
            lines.push(below(width).then(Style::Good, "+ ").then(Style::Plain, change));
        }
        for line in step.iter().flat_map(|step| &step.trouble) {
            lines.push(below(width).then(Style::Bad, "! ").then(Style::Plain, line));
        }
    }

    /// The plan for programs.
    pub(super) fn json(&self) -> Value {
        let plan = self.plan;
        let members = |at: &'_ usize| plan.units[*at].members.iter().map(|member| (*at, *member)).collect::<Vec<_>>();
        let entries = self.order.iter().flat_map(members).map(|(at, member)| {
            let (unit, node) = (&plan.units[at], &plan.nodes[member]);
            let step = self.steps.get(&node.address);
            let together = unit.members.iter().filter(|other| **other != member);
            json!({
                "address": node.address,
                "summary": node.step.summary(self.shown),
                "required": node.required,
                "phase": unit.phase,
                "holds_secret": node.holds_secret,
                "needs": plan.needs(unit).map(|node| &node.address).collect::<Vec<_>>(),
                "after_everything_else": unit.waits_for_rest() || unit.last,
                "installed_with": together.map(|other| &plan.nodes[*other].address).collect::<Vec<_>>(),
                "outcome": step.map(|step| &step.outcome),
                "changes": step.map(|step| &step.changes),
                "error": step.map(|step| &step.error),
            })
        });
        let mut value = json!({ "version": 1, "at_once": at_once(plan, self.order), "steps": entries.collect::<Vec<_>>() });
        if !plan.not_due.is_empty() {
            value["not_due"] = json!(plan.not_due);
        }
        value
    }
}

/// The indentation of a line below a step.
fn below(width: usize) -> Line {
    Line::hanging(width + 6).then(Style::Plain, " ".repeat(width + 4))
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
