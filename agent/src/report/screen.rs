//! A boot on one screen. It shows what is wrong and what to do: the outcome, every failure with its hint, what was
//! skipped because of it, what is running, and what to type next.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::exit::Exit;
use crate::host::clock::moment;
use crate::paint::{Line, Style};
use crate::report::console::{summary, told};
use crate::report::timeline::spoken;
use crate::report::{BootOutcome, Outcome, Report, StepReport, Trouble};

/// How many addresses a list shows.
const NAMED: usize = 8;

/// How many of the slowest steps are shown.
const SLOWEST: usize = 3;

/// The column at which the details of a name, such as `instance`, begin.
const COLUMN: usize = 11;

/// A report, and what is known about its process.
pub(crate) struct Screen<'a> {
    pub(crate) report: &'a Report,
    /// The status of the boot, from the report and from whether it is still running.
    pub(crate) exit: Exit,
    /// Whether the process that runs the background steps still exists; `None` if no step is running.
    pub(crate) beside: Option<bool>,
    /// How long the boot has been running; `None` if it is not.
    pub(crate) elapsed_ms: Option<f64>,
    pub(crate) now: jiff::Timestamp,
}

impl Screen<'_> {
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines = vec![self.head()];
        lines.extend(self.facts());
        lines.extend(self.failures());
        lines.extend(self.skipped());
        lines.extend(self.going_on());
        lines.extend(self.report.warnings.iter().map(|warning| named(Style::Notice, "warning:", warning)));
        lines.extend(self.of_document());
        lines.extend(self.next().map(|next| named(Style::Strong, "next:", next)));
        lines
    }

    fn is_cut_off(&self) -> bool {
        self.exit != Exit::Running && self.report.outcome == BootOutcome::Running
    }

    fn head(&self) -> Line {
        let report = self.report;
        match (self.exit, report.outcome) {
            (Exit::Running, BootOutcome::Running) => {
                let elapsed_ms = self.elapsed_ms.unwrap_or(report.elapsed_ms);
                Style::Notice.line(summary(&Report { elapsed_ms, ..report.clone() }))
            }
            (Exit::Running, _) => Style::Notice.line("running: starting"),
            (_, BootOutcome::Running) => {
                Style::Bad.line(format!("failed: process {} was interrupted after {:.3} s", report.pid, report.elapsed_ms / 1e3))
            }
            (Exit::Failed, BootOutcome::Done | BootOutcome::Degraded | BootOutcome::NoDocument) => {
                Style::Bad.line("failed: the report is cut off")
            }
            (_, BootOutcome::Failed) => Style::Bad.line(summary(report)),
            (_, BootOutcome::Degraded) => Style::Notice.line(summary(report)),
            (_, BootOutcome::Done | BootOutcome::NoDocument) => Style::Good.line(summary(report)),
        }
    }

    /// Identifies the boot.
    fn facts(&self) -> Vec<Line> {
        let report = self.report;
        let started = moment(&report.started_at).map(|at| {
            let seconds = at.as_second();
            let ago = spoken_ago(self.now.as_second().saturating_sub(seconds));
            format!("{}, {ago}", jiff::Timestamp::from_second(seconds).unwrap_or(at))
        });
        let document = report.document.as_ref().map(|digest| digest.chars().take(12).collect());
        let facts = [("instance", report.instance.clone()), ("started", started), ("document", document), ("slowest", self.slowest())];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        facts.map(|(name, value)| Line::hanging(COLUMN).then(Style::Soft, format!("  {name:<8} ")).then(Style::Plain, value)).collect()
    }

    fn failures(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(error) = &self.report.error {
            lines.extend(failure("failed:", "", error));
        }
        for (step, error) in self.report.failed() {
            let word = if step.required { "failed:" } else { "failed, not required:" };
            let tries = if step.attempts > 1 { format!(", {} attempts", step.attempts) } else { String::new() };
            let took = step.took().map_or_else(String::new, |took| format!(" (after {}{tries})", spoken(took)));
            lines.extend(failure(word, &format!("{}{took}", step.address), error));
        }
        lines
    }

    /// The steps that did not run, grouped by the failure that caused it.
    fn skipped(&self) -> Vec<Line> {
        let mut by_cause: BTreeMap<Option<&Address>, Vec<&str>> = BTreeMap::new();
        for step in self.report.steps.iter().filter(|step| step.outcome == Outcome::Skipped) {
            by_cause.entry(step.skipped_for.as_ref()).or_default().push(step.address.as_str());
        }
        let told = |(cause, names): (Option<&Address>, Vec<&str>)| {
            let because = cause.map_or_else(String::new, |cause| format!(" because of {cause}"));
            named(Style::Notice, "skipped", format!("{}{because}: {}", counted(names.len()), listed(&names)))
        };
        let mut lines: Vec<Line> = by_cause.into_iter().map(told).collect();
        let left = self.report.steps.iter().filter(|step| self.is_cut_off() && step.outcome == Outcome::Pending);
        let left: Vec<&str> = left.map(|step| step.address.as_str()).collect();
        if !left.is_empty() {
            lines.push(named(Style::Notice, "not started", format!("{}: {}", counted(left.len()), listed(&left))));
        }
        lines
    }

    fn going_on(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let (Exit::Running, Some(reason)) = (self.exit, &self.report.waiting) {
            lines.push(named(Style::Notice, "waiting", reason));
        }
        let word = if self.is_cut_off() || self.beside == Some(false) { "cut off:" } else { "running:" };
        let running = self.report.steps.iter().filter(|step| step.outcome == Outcome::Running);
        lines.extend(running.map(|step| named(Style::Notice, word, format!("{}{}", step.address, doing(step)))));
        lines
    }

    fn slowest(&self) -> Option<String> {
        let steps = self.report.by_time();
        let told: Vec<String> = steps.iter().take(SLOWEST).map(|(took, step)| format!("{} {}", spoken(*took), step.address)).collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// The release of the document, and the steps that are not due here.
    fn of_document(&self) -> Vec<Line> {
        let release = self.report.release.as_ref().map(|release| named(Style::Plain, "release:", release.to_string()));
        let names: Vec<&str> = self.report.not_due.iter().map(Address::as_str).collect();
        let not_due = (!names.is_empty()).then(|| named(Style::Plain, "not due, by `when:`:", names.join(", ")));
        release.into_iter().chain(not_due).collect()
    }

    /// What to type next.
    fn next(&self) -> Option<&'static str> {
        let has_failed = self.report.error.is_some() || !self.report.failed().is_empty();
        match self.exit {
            Exit::Running if has_failed => Some("follow the hint; `ingot status --wait` waits for this boot to finish"),
            Exit::Running => Some("`ingot status --wait` waits for this boot to finish"),
            _ if self.is_cut_off() || self.beside == Some(false) => {
                Some("run `ingot boot` to resume; `journalctl -b -t ingot` shows how far it got")
            }
            _ if has_failed => Some("follow the hint, then run `ingot boot` again; `journalctl -b -t ingot` shows every line of the boot"),
            Exit::NoDocument => Some("put a document into user data, or layers into /etc/ingot/boot.d"),
            _ => None,
        }
    }
}

/// A failure with its causes and its hint, with every line in full.
fn failure(word: &str, address: &str, error: &Trouble) -> Vec<Line> {
    let text = told(error);
    let mut lines = text.lines();
    let colon = if address.is_empty() { "" } else { ": " };
    let first = Line::hanging(2).then(Style::Bad, format!("{word} ")).then(Style::Strong, address);
    let first = first.then(Style::Plain, format!("{colon}{}", lines.next().unwrap_or_default()));
    let rest = lines.map(|line| match line.strip_prefix("  hint: ") {
        Some(hint) => Line::hanging(8).then(Style::Plain, "  ").then(Style::Good, "hint: ").then(Style::Plain, hint),
        None => Line::hanging(4).then(Style::Plain, format!("  {}", line.trim_start())),
    });
    std::iter::once(first).chain(rest).collect()
}

fn named(style: Style, name: &str, value: impl Into<String>) -> Line {
    Line::hanging(2).then(style, format!("{name} ")).then(Style::Plain, value)
}

fn counted(steps: usize) -> String {
    if steps == 1 { "1 step".into() } else { format!("{steps} steps") }
}

fn listed(names: &[&str]) -> String {
    match names.split_at_checked(NAMED) {
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more", first.join(", "), rest.len()),
        _ => names.join(", "),
    }
}

/// What a step is doing.
fn doing(step: &StepReport) -> String {
    match (&step.progress, &step.waiting) {
        (Some(amount), _) => format!(" reading {amount}"),
        (None, Some(reason)) => format!(" waiting {reason}"),
        (None, None) => String::new(),
    }
}

/// How long ago something was, as text.
fn spoken_ago(seconds: i64) -> String {
    match seconds {
        // The clock may have been wrong when the boot started.
        ..0 => "in the future, by the current clock".into(),
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
