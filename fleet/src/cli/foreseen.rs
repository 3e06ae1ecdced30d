//! What `plan` found, as text and as JSON.

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::deployment::change::{Change, Effect};
use crate::deployment::course::Parameters;
use crate::deployment::estimate::{Estimate, Measured, Part, rounded};
use crate::deployment::record::{Goal, Policy, Release};
use crate::deployment::rollout::Rollout;
use crate::failure::Failure;
use crate::fleet::Length;
use crate::stack::{Content, Differing, Kept};

/// How many characters of a digest are shown.
const OF_DIGESTS: usize = 12;

/// What a deployment would do.
#[derive(Debug)]
pub(super) enum Foreseen {
    /// Nothing: this release already runs, with these settings.
    Nothing(Release),
    First(Box<First>),
    Next(Box<Next>),
}

/// The creation of an environment.
#[derive(Debug)]
pub(super) struct First {
    pub(super) goal: Goal,
    pub(super) parameters: Parameters,
    pub(super) contents: Vec<Content>,
    pub(super) rollout: Rollout,
    pub(super) estimate: Estimate,
}

/// A deployment to an existing environment.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) number: u64,
    pub(super) differences: Vec<Difference>,
    pub(super) settings: Vec<Differing>,
    pub(super) kept: Vec<Kept>,
    pub(super) changes: Vec<Change>,
    /// Whether the policy and the sizes are already set.
    pub(super) is_set: bool,
    /// `None` if no instance is replaced.
    pub(super) rollout: Option<Rollout>,
    pub(super) estimate: Estimate,
    pub(super) measured: Option<Measured>,
    /// PauseTime.
    pub(super) pause: String,
    pub(super) before: Option<Before>,
}

/// A difference in what runs, or in the policy.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    pub(super) what: &'static str,
    pub(super) from: String,
    pub(super) to: String,
}

/// How long the deployment in force took.
#[derive(Debug, Serialize)]
pub(super) struct Before {
    pub(super) number: u64,
    pub(super) policy: Policy,
    pub(super) instances: u32,
    pub(super) seconds: u64,
}

impl Foreseen {
    pub(super) fn json(&self, environment: &str, stack: &str, refusal: Option<&Failure>) -> Json {
        let mut said = match self {
            Self::Nothing(release) => json!({ "state": "unchanged", "release": release.name }),
            Self::First(first) => json!({
                "state": "creates",
                "goal": first.goal,
                "parameters": first.parameters,
                "resources": first.contents,
                "rollout": first.rollout,
                "at_least": first.estimate,
            }),
            Self::Next(next) => json!({
                "state": if refusal.is_some() { "refused" } else { "changes" },
                "refusal": refusal.map(Failure::sentence),
                "deployment": next.number,
                "differences": next.differences,
                "settings": next.settings,
                "kept": next.kept,
                "resources": next.changes,
                "rollout": next.rollout,
                "at_least": next.estimate,
                "launches": next.measured,
                "before": next.before,
            }),
        };
        said["version"] = json!(1);
        said["environment"] = json!(environment);
        said["stack"] = json!(stack);
        said
    }

    pub(super) fn text(&self, environment: &str) -> String {
        match self {
            Self::Nothing(release) => format!("{environment} already runs {}: nothing to change", release.name),
            Self::First(first) => first.text(environment),
            Self::Next(next) => next.text(environment),
        }
    }
}

impl First {
    fn text(&self, environment: &str) -> String {
        let Goal { release, image, document, .. } = &self.goal;
        let mut lines = vec![
            format!("{environment} would be created, with {}", release.name),
            format!("  image {image}, document {}", short(&document.sha256.to_string())),
            String::new(),
        ];
        lines.extend(table(self.contents.iter().map(|content| vec!["add".to_owned(), content.resource.clone(), content.kind.clone()])));
        lines.push(String::new());
        lines.push(format!("instances: {}", self.rollout.instances));
        lines.extend(how_long(&self.estimate, None));
        lines.join("\n")
    }
}

impl Next {
    fn text(&self, environment: &str) -> String {
        let mut lines = vec![format!("deployment {} of {environment}", self.number)];
        let difference = |one: &Difference| vec![one.what.to_owned(), format!("{} -> {}", short(&one.from), short(&one.to))];
        lines.extend(table(self.differences.iter().map(difference)));
        if !self.settings.is_empty() {
            lines.push(String::new());
            lines.extend(table(self.settings.iter().map(setting)));
        }
        for Kept { setting, parameter, stays, says, line } in &self.kept {
            let (name, line) = (setting.as_ref().unwrap_or(parameter), line.as_deref().unwrap_or("fleet.yaml"));
            lines.push(format!(
                "note: `{name}` stays {}: it takes effect only at creation, although {line} says {}",
                shown(stays),
                shown(says)
            ));
        }
        lines.push(String::new());
        lines.extend(table(self.changes.iter().map(change)));
        lines.push(String::new());
        lines.extend(self.rolled());
        lines.extend(how_long(&self.estimate, self.measured));
        if let Some(rollout) = &self.rollout {
            let who =
                if rollout.policy == Policy::InPlace { "each instance has up to" } else { "CloudFormation waits for each batch up to" };
            lines.push(format!("{who} {}", self.pause.trim_start_matches("PT").to_lowercase()));
        }
        if let Some(Before { number, policy, instances, seconds }) = self.before {
            let (policy, took) = (word(policy), Length::seconds(seconds));
            lines.push(format!("deployment {number} took {took}: {policy}, with {}", instances_of(instances)));
        }
        lines.join("\n")
    }

    /// Which policy replaces the instances, and how many at a time.
    fn rolled(&self) -> Vec<String> {
        let Some(rollout) = &self.rollout else { return vec!["no instance is replaced".to_owned()] };
        let Rollout { policy, instances, batch, batches, in_service, most } = *rollout;
        let mut lines = Vec::new();
        if !self.is_set {
            lines.push("a separate update sets the policy and the sizes first; it replaces nothing".to_owned());
        }
        lines.push(match (batches, policy) {
            (0, _) => "no instance runs now; instances launched later run it".to_owned(),
            (1, _) => format!("{}: {} at a time, all of them", word(policy), instances_of(batch)),
            _ => format!("{}: {} at a time, {batches} batches for {instances}", word(policy), instances_of(batch)),
        });
        if batches > 0 {
            lines.push(format!("in the meantime, at least {in_service} of {instances} serve, and at most {most} run"));
        }
        lines
    }
}

fn how_long(estimate: &Estimate, measured: Option<Measured>) -> Vec<String> {
    let mut lines = vec![format!("at least {}, if nothing is slower than usual:", Length::seconds(estimate.seconds))];
    for Part { what, times, seconds, from } in &estimate.parts {
        let one = Length::seconds(rounded(*seconds));
        let times = if *times == 1 { String::new() } else { format!("{times} x ") };
        lines.push(format!("  {times}{one} {what} ({from})"));
    }
    if let Some(Measured { until_signal, .. }) = measured {
        let until = if until_signal { "its instance signals" } else { "it is in service" };
        lines.push(format!("  a launch is counted until {until}, and a batch as long as its slowest launch usually takes"));
    }
    if let Some(fastest) = estimate.fastest {
        lines.push(format!("  {} if every launch is as fast as the fastest seen", Length::seconds(fastest)));
    }
    lines.extend(estimate.not_counted.iter().map(|what| format!("  not counted: {what}")));
    lines
}

fn setting(one: &Differing) -> Vec<String> {
    let name = one.setting.clone().unwrap_or_else(|| "-".to_owned());
    let from = one.from.as_deref().map_or_else(|| "not set".to_owned(), shown);
    let line = one.line.clone().unwrap_or_else(|| "default".to_owned());
    vec![name, one.parameter.clone(), format!("{from} -> {}", shown(&one.to)), line]
}

fn change(one: &Change) -> Vec<String> {
    let names: Vec<&str> = one.properties.iter().map(|property| property.name.as_str()).collect();
    let mut what = names.join(", ");
    if one.effect == Effect::MayReplace && !one.takes_data() {
        what.push_str(" (CloudFormation decides)");
    }
    vec![one.effect.word().to_owned(), one.resource.clone(), one.kind.clone(), what]
}

/// Rows in columns, indented by two spaces.
fn table(rows: impl Iterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    table.lines().map(|line| format!("  {}", line.trim())).collect()
}

/// The beginning of a digest; any other value in full.
fn short(value: &str) -> String {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { value.chars().take(OF_DIGESTS).collect() } else { value.to_owned() }
}

fn shown(value: &str) -> String {
    if value.is_empty() { "nothing".to_owned() } else { value.to_owned() }
}

fn instances_of(count: u32) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

fn word(policy: Policy) -> String {
    serde_json::to_value(policy).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
