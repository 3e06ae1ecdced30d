//! The result of a dry run, for people and for programs.

use serde_json::{Value, json};

use crate::boot::Ending;
use crate::execute::schedule;
use crate::gather::Gather as _;
use crate::plan::preview::{self, Rehearsed};
use crate::rehearse::rehearsal::Rehearsal;
use crate::rehearse::release::Shown;
use crate::report::StepReport;
use crate::report::console::told;
use crate::text::Text;

impl Rehearsal {
    /// The result that the boot would have.
    pub(crate) fn ending(&self) -> Ending {
        Ending::of(&self.report)
    }

    /// The plan with the changes of each step, and the differences between files.
    pub(crate) fn text(&self) -> String {
        let mut text = preview::text(&self.plan, &schedule::order(&self.plan.units), &self.steps(), &|text: &Text| self.known.shown(text));
        for diff in &self.diffs {
            text.push('\n');
            text.push_str(diff.trim_end());
            text.push('\n');
        }
        if let Some(release) = &self.release {
            text.push('\n');
            text.push_str(&release.text());
        }
        text
    }

    /// Whether the release that was given has mistakes.
    pub(crate) fn has_mistakes(&self) -> bool {
        self.release.as_ref().is_some_and(Shown::has_mistakes)
    }

    /// The same for programs, with the notes.
    pub(crate) fn json(&self) -> Value {
        let mut value = preview::json(&self.plan, &schedule::order(&self.plan.units), &self.steps(), &|text: &Text| self.known.shown(text));
        let files = self.files.iter().map(|file| {
            json!({ "path": file.path, "bytes": file.content.len(), "mode": format!("{:04o}", file.mode), "holds_secret": file.secret })
        });
        value["outcome"] = json!(self.report.outcome);
        value["files"] = files.collect();
        value["diffs"] = json!(self.diffs);
        value["notes"] = json!(self.notes);
        if let Some(release) = &self.release {
            value["release"] = release.json();
        }
        value
    }

    fn steps(&self) -> preview::Rehearsal {
        self.report.steps.iter().map(|step| (step.address.clone(), rehearsed(step))).gather()
    }
}

fn rehearsed(step: &StepReport) -> Rehearsed {
    let trouble = match (&step.error, &step.skipped_for) {
        (Some(error), _) => told(error).lines().map(str::to_owned).collect(),
        (None, Some(needs)) => vec![format!("skipped: it needs {needs}")],
        (None, None) => Vec::new(),
    };
    Rehearsed { changes: step.changes.clone(), trouble, outcome: json!(step.outcome), error: json!(step.error) }
}
