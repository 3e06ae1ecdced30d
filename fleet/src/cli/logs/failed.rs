//! The evidence of failed boots, newest first.

use serde_json::{Value as Json, json};

use super::super::during::{self, During};
use super::super::operator::Operator;
use super::super::output::{self, data, talk};
use super::super::reader::Reader;
use crate::aws::evidence::{Found, Left};
use crate::aws::objects::Objects;
use crate::failure::Failure;
use crate::story::{Content, Report, Trouble};

/// How many objects are read at most. Those of good boots, which a document may ask for, are skipped.
const READ: usize = 200;

/// The failed boots that were found, each with its deployment.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) found: Vec<(Found, Option<During>)>,
    /// Whether there is more.
    pub(super) is_cut: bool,
}

/// The evidence that was read.
struct Read {
    found: Vec<Found>,
    is_cut: bool,
}

impl Read {
    /// Reads up to `most` failures, starting with the newest day.
    async fn all<O: Objects>(left: &Left<'_, O>, instance: Option<&str>, most: usize) -> Result<Self, Failure> {
        let (mut days, mut found, mut read) = (left.days(), Vec::new(), 0);
        while let Some(keys) = days.next().await? {
            for (name, key) in keys.into_iter().filter(|(_, key)| instance.is_none_or(|id| id == key.instance)) {
                if read == READ || found.len() == most {
                    return Ok(Self { found, is_cut: true });
                }
                read += 1;
                let Some(one) = left.read(&name, key).await? else { continue };
                if one.content.as_ref().map_or(true, |content| content.reason.is_some()) {
                    found.push(one);
                }
            }
        }
        Ok(Self { found, is_cut: days.is_cut() })
    }
}

impl Failed {
    /// Finds up to `most` failures, of one instance or of all.
    pub(super) async fn find(operator: &Operator, reader: &Reader<'_>, instance: Option<&str>, most: usize) -> Result<Self, Failure> {
        let Read { found, is_cut } = Read::all(&reader.left(), instance, most).await?;
        let ids: Vec<&str> = found.iter().map(|one| one.key.instance.as_str()).collect();
        // Without the tags, the time of the boot tells the deployment.
        if let Err(failure) = reader.look_up(&ids).await {
            talk(&format!("warning: {failure}"));
        }
        let records = during::records(operator, found.last().map(|one| one.key.began)).await?;
        let with_deployment = found.into_iter().map(|one| {
            let during = During::of(reader.deployment(&one.key.instance), one.key.began, &records);
            (one, during)
        });
        Ok(Self { found: with_deployment.collect(), is_cut })
    }

    /// One line for each failure.
    pub(super) fn rows(&self) -> impl Iterator<Item = [String; 4]> {
        self.found.iter().map(|(one, during)| {
            let why = match &one.content {
                Ok(content) => content.reason.clone().unwrap_or_default().lines().next().unwrap_or_default().chars().take(80).collect(),
                Err(unread) => unread.to_string(),
            };
            let deployment = during.as_ref().map_or_else(|| "-".to_owned(), During::short);
            [one.key.instance.clone(), one.key.began.to_string(), deployment, why]
        })
    }

    /// The same, as JSON.
    pub(super) fn listed(&self) -> Vec<Json> {
        self.found.iter().map(|(one, during)| head(one, during.as_ref())).collect()
    }

    pub(super) fn print(&self, operator: &Operator, lines: usize, as_json: bool) {
        if as_json {
            let whole = self.found.iter().map(|(one, during)| {
                let mut said = head(one, during.as_ref());
                if let Ok(content) = &one.content {
                    said["report"] = json!(content.report);
                    said["journal"] = content.journal.iter().map(|(unit, all)| (unit.clone(), json!(last(all, lines)))).collect();
                    said["journal_is_cut"] = json!(content.journal_is_cut || content.journal.values().any(|all| all.len() > lines));
                    said["journal_left_out"] = json!(content.journal_left_out);
                }
                said
            });
            let whole: Vec<Json> = whole.collect();
            output::json(&json!({ "version": 1, "environment": operator.name(), "evidence": whole, "is_cut": self.is_cut }));
            return;
        }
        if self.found.is_empty() {
            talk(&format!("no failed boot of {} has left evidence", operator.name()));
            return;
        }
        let told: Vec<String> = self.found.iter().map(|(one, during)| text(one, during.as_ref(), lines)).collect();
        data(&told.join("\n\n"));
        if self.is_cut {
            talk(&format!("there are more: `ingot-fleet logs {} --failed --last N` shows older ones", operator.called()));
        }
    }
}

fn head(one: &Found, during: Option<&During>) -> Json {
    let (content, unread) = match &one.content {
        Ok(content) => (Some(content), None),
        Err(unread) => (None, Some(unread.to_string())),
    };
    json!({
        "instance": one.key.instance,
        "began": one.key.began,
        "deployment": during.map(|during| during.number),
        "release": during.map(|during| &during.release),
        "deployment_is_certain": during.map(|during| during.is_certain),
        "url": one.url,
        "moment": content.map(|content| &content.moment),
        "written_at": content.map(|content| content.written_at),
        "reason": content.and_then(|content| content.reason.as_ref()),
        "unread": unread,
    })
}

/// One failure, as text.
fn text(one: &Found, during: Option<&During>, lines: usize) -> String {
    let deployment = during.map(|during| format!(", {}", during.short())).unwrap_or_default();
    let mut said = vec![format!("{}{deployment}: the boot of {}", one.key.instance, one.key.began)];
    match &one.content {
        Err(unread) => {
            said.push(format!("  cannot be shown: {unread}"));
            said.push("  hint: update ingot-fleet, or read it yourself:".to_owned());
        }
        Ok(content) => {
            said.extend(steps(&content.report(), content.reason.as_deref()));
            said.extend(journal(content, lines));
        }
    }
    said.push(format!("  all of it: aws s3 cp {} - | zstd -dc | jq .", one.url));
    said.join("\n")
}

/// What failed, and what did not run because of it.
fn steps(report: &Report, reason: Option<&str>) -> Vec<String> {
    let mut said = Vec::new();
    let failed = report.steps.iter().filter_map(|step| Some((step.address.as_str(), step.error.as_ref()?)));
    let all: Vec<(&str, &Trouble)> = report.error.iter().map(|error| ("the boot", error)).chain(failed).collect();
    for (address, trouble) in &all {
        let causes: String = trouble.causes.iter().map(|cause| format!(": {cause}")).collect();
        said.push(indented(&format!("{address}: {}{causes}", trouble.message), "  "));
        said.extend(trouble.hint.iter().map(|hint| indented(&format!("hint: {hint}"), "    ")));
    }
    // The report may predate the end of the steps, or the failure may not be one of a step.
    let is_told = |reason: &&str| all.iter().any(|(_, trouble)| !trouble.message.is_empty() && reason.contains(&trouble.message));
    if let Some(reason) = reason.filter(|reason| !is_told(reason)) {
        said.insert(0, indented(reason, "  "));
    }
    let skipped: Vec<&str> = report.steps.iter().filter(|step| step.outcome == "skipped").map(|step| step.address.as_str()).collect();
    said.extend((!skipped.is_empty()).then(|| format!("  skipped: {}", skipped.join(", "))));
    said.extend(report.warnings.iter().map(|warning| indented(&format!("warning: {warning}"), "  ")));
    said
}

fn journal(content: &Content, lines: usize) -> Vec<String> {
    let mut said = Vec::new();
    for (unit, all) in &content.journal {
        let shown = last(all, lines);
        let more = match (shown.len() < all.len(), content.journal_is_cut) {
            (true, _) => format!(", the last {lines} of {} lines (--lines shows more)", all.len()),
            (false, true) => ", without the oldest lines".to_owned(),
            (false, false) => String::new(),
        };
        said.push(format!("  journal of {unit}{more}:"));
        said.extend(shown.iter().map(|line| indented(line, "    ")));
    }
    said.extend(content.journal_left_out.iter().map(|why| format!("  the journal was left out: {why}")));
    said
}

fn last(all: &[String], lines: usize) -> &[String] {
    &all[all.len().saturating_sub(lines)..]
}

fn indented(text: &str, by: &str) -> String {
    text.trim_end().lines().map(|line| format!("{by}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
