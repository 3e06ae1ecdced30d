//! Where the time of a boot was spent, computed from its report. Pure, so that it works with reports of any machine.

pub(crate) mod picture;

use std::collections::BTreeMap;

use crate::address::Address;
use crate::report::{IdleKind, Outcome, Report, StepReport};
use crate::sorting::Sort as _;

/// Something that a step waited for before it could start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link<'a> {
    Step(&'a StepReport),
    /// A phase before the steps, and its start and end in milliseconds.
    Phase {
        name: &'a str,
        began: f64,
        ended: f64,
    },
}

impl Link<'_> {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Step(step) => step.address.as_str(),
            Self::Phase { name, .. } => name,
        }
    }

    /// When it ended, in milliseconds from the start of the process.
    pub(crate) fn ended(&self) -> f64 {
        match self {
            Self::Step(step) => step.finished_ms.unwrap_or_default(),
            Self::Phase { ended, .. } => *ended,
        }
    }

    pub(crate) fn began(&self) -> f64 {
        match self {
            Self::Step(step) => step.started_ms.unwrap_or_default(),
            Self::Phase { began, .. } => *began,
        }
    }
}

impl StepReport {
    /// The duration of the step in milliseconds. `None` if it has not ended, or never ran.
    pub(crate) fn took(&self) -> Option<f64> {
        Some(self.finished_ms? - self.started_ms?)
    }

    /// How long it was idle for one reason, in milliseconds.
    pub(crate) fn idle_for(&self, kind: IdleKind) -> f64 {
        let end = |to: Option<f64>| to.or(self.finished_ms);
        self.idle.iter().filter(|idle| idle.kind == kind).filter_map(|idle| Some(end(idle.to_ms)? - idle.from_ms)).sum()
    }
}

impl Report {
    /// Steps that ran, the longest first.
    pub(crate) fn by_time(&self) -> Vec<(f64, &StepReport)> {
        let mut steps: Vec<(f64, &StepReport)> = self.steps.iter().filter_map(|step| Some((step.took()?, step))).collect();
        steps.order_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.address.cmp(&b.1.address)));
        steps
    }

    /// The phases before the steps in order, each with its start and end.
    pub(crate) fn phases(&self) -> Vec<(&str, f64, f64)> {
        let mut ends: Vec<(&str, f64)> = self.phases_ms.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        ends.order_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        let mut began = 0.0;
        ends.into_iter().map(|(name, ended)| (name, std::mem::replace(&mut began, ended), ended)).collect()
    }

    /// The chain that determined the duration of the boot: the step that ended last, what it waited for longest, and so
    /// on back to the start of the process. Background steps do not count.
    pub(crate) fn critical_chain(&self) -> Vec<Link<'_>> {
        let mut places: BTreeMap<&Address, usize> = BTreeMap::new();
        places.extend(self.steps.iter().enumerate().map(|(at, step)| (&step.address, at)));
        let ended_last = |candidates: &mut dyn Iterator<Item = usize>| -> Option<usize> {
            let ended = |at: usize| self.steps[at].finished_ms.unwrap_or_default();
            candidates.filter(|at| self.steps[*at].took().is_some()).max_by(|a, b| ended(*a).total_cmp(&ended(*b)))
        };
        let mut chain = Vec::new();
        let mut at = ended_last(&mut (0..self.steps.len()).filter(|at| !self.steps[*at].beside));
        while let Some(found) = at {
            let step = &self.steps[found];
            chain.push(Link::Step(step));
            // An altered report must not cause an endless loop.
            if chain.len() > self.steps.len() {
                break;
            }
            // The rest does not include steps that came after this one.
            let rest = |at: &usize| {
                let other = &self.steps[*at];
                !other.after_rest && !other.beside && other.finished_ms <= step.started_ms
            };
            let rest = step.after_rest.then(|| (0..self.steps.len()).filter(rest)).into_iter().flatten();
            at = ended_last(&mut rest.chain(step.needs.iter().filter_map(|need| places.get(need).copied())));
        }
        chain.extend(self.phases().into_iter().rev().map(|(name, began, ended)| Link::Phase { name, began, ended }));
        chain
    }

    /// The latest end of anything in the report, in milliseconds.
    pub(crate) fn end_ms(&self) -> f64 {
        let steps = self.steps.iter().filter_map(|step| step.finished_ms);
        let exchanges = self.exchanges.iter().map(|exchange| exchange.at_ms + exchange.took_ms.unwrap_or_default());
        steps.chain(exchanges).fold(self.elapsed_ms, f64::max)
    }
}

/// A duration as text for people: `1.234 s`, `12.3 ms`.
pub(crate) fn spoken(ms: f64) -> String {
    if ms >= 999.95 { format!("{:.3} s", ms / 1e3) } else { format!("{ms:.1} ms") }
}

/// The word for an outcome other than success.
pub(crate) fn mark(step: &StepReport) -> &'static str {
    match step.outcome {
        Outcome::Unchanged | Outcome::Changed => "",
        other => other.word(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A boot of four steps: two secrets at the same time, a file that uses the slower one, a service that waits.
    pub(crate) fn report() -> Report {
        serde_json::from_str(include_str!("timeline/report.json")).unwrap()
    }

    #[test]
    fn the_chain_leads_from_the_end_to_the_start() {
        let report = report();
        let chain: Vec<String> =
            report.critical_chain().iter().map(|link| format!("{} {:.0}–{:.0}", link.name(), link.began(), link.ended())).collect();
        assert_eq!(
            chain,
            ["services.shop.service 133–734", "files./etc/shop/shop.toml 130–133", "secrets.db 20–130", "plan 18–20", "user_data 0–18"]
        );
    }

    #[test]
    fn what_comes_after_all_the_rest_waited_for_its_last() {
        let mut report = report();
        report.steps[3].needs.clear();
        assert_eq!(report.critical_chain()[1].name(), "plan");
        report.steps[3].after_rest = true;
        assert_eq!(report.critical_chain()[1].name(), "files./etc/shop/shop.toml");
        // A step cannot have waited for something that ended after its start.
        report.steps[2].finished_ms = Some(400.0);
        assert_eq!(report.critical_chain()[1].name(), "secrets.db");
    }

    #[test]
    fn the_longest_is_the_first() {
        let report = report();
        let names: Vec<&str> = report.by_time().iter().map(|(_, step)| step.address.as_str()).collect();
        assert_eq!(names, ["services.shop.service", "secrets.db", "secrets.token", "files./etc/shop/shop.toml"]);
        assert_eq!(report.steps[3].idle_for(IdleKind::Waiting), 580.0);
    }

    #[test]
    fn a_report_that_leads_in_circles_ends() {
        let mut report = report();
        let service = report.steps[3].address.clone();
        report.steps[0].needs = vec![service];
        assert!(report.critical_chain().len() <= report.steps.len() + 3);
    }
}
