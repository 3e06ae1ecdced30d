//! The result of a dry run, for people and for programs.

use serde_json::{Value, json};

use crate::boot::Ending;
use crate::execute::schedule;
use crate::gather::Gather as _;
use crate::paint::{Line, Style};
use crate::rehearse::preview::{Preview, Rehearsed, Step};
use crate::rehearse::rehearsal::Rehearsal;
use crate::rehearse::release::Shown;
use crate::report::console::told;
use crate::report::{Outcome, StepReport};
use crate::text::Text;

impl Rehearsal {
    /// The result that the boot would have.
    pub(crate) fn ending(&self) -> Ending {
        Ending::of(&self.report)
    }

    /// The plan with the changes of each step, the differences between files, and the summary, for
    /// a terminal of this width.
    pub(crate) fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let mut lines = self.with_preview(|preview| preview.lines(width));
        for diff in self.diffs.iter().flatten() {
            lines.push(Line::default());
            lines.extend(diff.trim_end().lines().enumerate().map(|(at, line)| of_diff(at, line).line(line)));
        }
        if let Some(release) = &self.release {
            lines.push(Line::default());
            lines.extend(release.text().trim_end().lines().map(|line| Style::Plain.line(line)));
        }
        // A release may be shown without a document.
        if !self.plan.nodes.is_empty() {
            lines.push(Line::default());
            lines.push(self.sum());
        }
        lines
    }

    /// Whether the given release has mistakes.
    pub(crate) fn has_mistakes(&self) -> bool {
        self.release.as_ref().is_some_and(Shown::has_mistakes)
    }

    /// The summary in one line: how many steps would do what, and how many files differ.
    fn sum(&self) -> Line {
        let all = self.plan.nodes.len();
        let mut parts = vec![format!("{} to change", self.report.count(Outcome::Changed))];
        for (outcome, word) in [(Outcome::Unchanged, "unchanged"), (Outcome::Failed, "would fail"), (Outcome::Skipped, "would be skipped")]
        {
            let count = self.report.count(outcome);
            parts.extend((count > 0).then(|| format!("{count} {word}")));
        }
        let files = match self.diffs.as_ref().map(Vec::len) {
            None => String::new(),
            Some(0) => "; no file differs".into(),
            Some(1) => "; 1 file differs".into(),
            Some(count) => format!("; {count} files differ"),
        };
        let style = if self.report.count(Outcome::Failed) > 0 { Style::Bad } else { Style::Strong };
        style.line(format!("{all} {}: {}{files}", if all == 1 { "step" } else { "steps" }, parts.join(", ")))
    }

    /// The same for programs, with the notes.
    pub(crate) fn json(&self) -> Value {
        let mut value = self.with_preview(|preview| preview.json());
        let files = self.files.iter().map(|file| {
            json!({ "path": file.path, "bytes": file.content.len(), "mode": format!("{:04o}", file.mode), "holds_secret": file.secret })
        });
        value["outcome"] = json!(self.report.outcome);
        value["summary"] = json!({
            "to_change": self.report.count(Outcome::Changed),
            "unchanged": self.report.count(Outcome::Unchanged),
            "failed": self.report.count(Outcome::Failed),
            "skipped": self.report.count(Outcome::Skipped),
            "files_that_differ": self.diffs.as_ref().map(Vec::len),
        });
        value["files"] = files.collect();
        value["diffs"] = json!(self.diffs.as_deref().unwrap_or_default());
        value["notes"] = json!(self.notes);
        if let Some(release) = &self.release {
            value["release"] = release.json();
        }
        value
    }

    fn with_preview<R>(&self, show: impl FnOnce(&Preview<'_>) -> R) -> R {
        let steps: Rehearsed = self.report.steps.iter().map(|step| (step.address.clone(), rehearsed(step))).gather();
        let order = schedule::order(&self.plan.units);
        show(&Preview { plan: &self.plan, order: &order, steps: &steps, shown: &|text: &Text| self.known.shown(text) })
    }
}

/// The style of a line of a unified diff.
fn of_diff(at: usize, line: &str) -> Style {
    match line.as_bytes().first() {
        _ if at < 2 => Style::Strong,
        Some(b'@') => Style::Notice,
        Some(b'+') => Style::Good,
        Some(b'-') => Style::Bad,
        _ => Style::Plain,
    }
}

fn rehearsed(step: &StepReport) -> Step {
    let trouble = match (&step.error, &step.skipped_for) {
        (Some(error), _) => told(error).lines().map(str::to_owned).collect(),
        (None, Some(needs)) => vec![format!("skipped: it needs {needs}")],
        (None, None) => Vec::new(),
    };
    Step { changes: step.changes.clone(), trouble, outcome: json!(step.outcome), error: json!(step.error) }
}
