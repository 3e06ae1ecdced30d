//! `ingot-fleet status`: the health of an environment and its causes, what runs where, and what is under way.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::changes;
use super::edge::slots::Position;
use super::freeze;
use super::layout::{Row, table, wrapped};
use super::look::{Look, Looker};
use super::operator::{Operator, Whose};
use super::overview::Overview;
use super::paint::Line;
use super::subject::{self, Subject, of_health};
use crate::deployment::course::Phase;
use crate::deployment::record::State;
use crate::failure::Failure;
use crate::story::{Health, Part, Seen, age};

/// How often an environment is looked at.
const PAUSE: Duration = Duration::from_secs(5);

const HEADER: [&str; 6] = ["INSTANCE", "ZONE", "RELEASE", "IMAGE", "STATE", "SINCE"];

/// Show the health of an environment and its causes, what its instances run, and the deployment under way
///
/// Without ENV, shows all environments of fleet.yaml, one line each; with --application, all that have a stack.
/// Needs permission for cloudformation:DescribeStacks and DescribeStackEvents (ListStacks to find all),
/// autoscaling:DescribeAutoScalingGroups and DescribeScalingActivities, ec2:DescribeInstances,
/// elasticloadbalancing:DescribeTargetHealth, cloudwatch:DescribeAlarms, s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment [default: all]
    #[arg(value_name = "ENV")]
    environment: Option<String>,
    /// Application of the environment, or of all, if its fleet.yaml is not available
    #[arg(long, value_name = "APP", conflicts_with = "file")]
    application: Option<String>,
    /// Keep showing it until Ctrl-C: redrawn on a terminal, otherwise one line per change; with --json, one object per
    /// line
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    match &args.environment {
        Some(environment) => {
            let whose = Whose { environment: environment.clone(), application: args.application.clone() };
            let operator = Operator::at(file, &whose).await?;
            shown(&One(Looker::new(&operator)), args.watch, as_json).await
        }
        None => {
            let operators = match &args.application {
                Some(application) => Operator::all_of(application).await?,
                None => Operator::all(file).await?,
            };
            shown(&Overview::new(&operators), args.watch, as_json).await
        }
    }
}

async fn shown(subject: &impl Subject, watches: bool, as_json: bool) -> Result<(), Failure> {
    match watches {
        true => subject::watch(subject, as_json).await,
        false => subject::show(subject, as_json).await,
    }
}

/// One environment.
struct One<'a>(Looker<'a>);

impl Subject for One<'_> {
    type Sight = Look;

    fn pause(&self) -> Duration {
        PAUSE
    }

    async fn look(&self) -> Result<Look, Failure> {
        self.0.look().await
    }

    fn unseen<'s>(&self, look: &'s Look) -> BTreeSet<&'s str> {
        look.unseen.iter().map(String::as_str).collect()
    }

    fn lines(&self, look: &Look, width: Option<usize>) -> Vec<Line> {
        let head = head(look, self.0.operator);
        let mut lines: Vec<Line> =
            head.iter().flat_map(|line| line.split('\n')).flat_map(|line| wrapped(line, width)).map(Line::plain).collect();
        if look.standing.is_some() || look.blind.stack {
            lines.extend(of_health(&look.health, width));
        }
        if !look.seen.is_empty() {
            lines.extend(instances(&look.seen, look.at, width));
        }
        lines
    }

    fn json(&self, look: &Look) -> Json {
        look.json(self.0.operator.name(), &self.0.operator.stack())
    }

    fn gist(&self, look: &Look) -> Json {
        look.gist()
    }

    fn changes(&self, before: &Look, now: &Look) -> Vec<Line> {
        let mut lines = of_record_and_stack(before, now, &self.0.operator.stack());
        let (then, since) = (before.blind, now.blind);
        if before.freeze != now.freeze && !then.freeze && !since.freeze {
            let name = self.0.operator.name();
            let told = now.freeze.as_ref().map_or_else(|| format!("{name} is no longer frozen"), |freeze| freeze.told(name));
            lines.push(Line::plain(told));
        }
        if before.position != now.position && before.position.is_some() {
            lines.extend(now.position.iter().map(|position| Line::plain(position.told())));
        }
        if !then.groups && !since.groups {
            lines.extend(changes::of_instances(&before.seen, &now.seen));
        }
        if before.health.status != now.health.status {
            let Health { status, color, causes } = &now.health;
            let why = causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
            lines.push(Line::of(*color, format!("{} is {status} ({color}){why}", self.0.operator.name())));
        }
        lines
    }
}

/// The sentences at the top: what runs, and what is under way.
fn head(look: &Look, operator: &Operator) -> Vec<String> {
    let name = operator.name();
    if look.standing.is_none() && !look.blind.stack {
        return vec![format!("{name} has not been created yet")];
    }
    let mut lines = vec![match &look.in_force {
        None if look.blind.records => match look.standing.as_ref().and_then(|standing| standing.parameter("Release")) {
            Some(release) => format!("the stack of {name} is set to {release}; its records cannot be read"),
            None => format!("cannot tell what {name} runs: its records cannot be read"),
        },
        Some(record) => {
            let since = record.ended.map(|at| format!(" since {at:.0}")).unwrap_or_default();
            format!("{name} runs {}{since} (deployment {}, by {})", record.goal.release.name, record.number, record.by)
        }
        None => format!("{name} has had no good deployment yet"),
    }];
    lines.extend(look.position.iter().map(Position::told));
    lines.extend(look.freeze.iter().map(|freeze| freeze::line(freeze, (name, operator.called()), &look.suspended)));
    match &look.newest {
        Some(record) if record.state == State::UnderWay => lines.push(record.told()),
        Some(record) if record.state != State::Good => {
            lines.push(record.told());
            lines.extend(record.cause.clone().map(|cause| format!("  {cause}")));
        }
        _ => {}
    }
    let Some(standing) = &look.standing else { return lines };
    if let Phase::Stuck(stuck) = standing.phase() {
        let (what, hint) = stuck.way_out(&operator.stack(), operator.called());
        lines.push(format!("the stack {} is in {}: {what}\n  hint: {hint}", operator.stack(), standing.status));
    } else if standing.phase() == Phase::Busy {
        lines.push(format!("the stack {} is in {}", operator.stack(), standing.status));
    }
    lines
}

/// The table of instances, oldest first.
fn instances(seen: &[Seen], now: Timestamp, width: Option<usize>) -> Vec<Line> {
    table(&HEADER, width, 4, |step| {
        let cut = |text: &str, from: usize, most: usize| match step >= from && text.chars().count() > most {
            true => text.chars().take(most - 1).chain(['…']).collect(),
            false => text.to_owned(),
        };
        let row = |seen: &Seen| {
            let one = &seen.instance;
            // All zones are of one region.
            let zone = if step >= 1 { one.zone.rsplit('-').next().unwrap_or_default().to_owned() } else { one.zone.clone() };
            let release = cut(one.release.as_deref().unwrap_or("-"), 3, 14);
            let image = cut(one.image.as_deref().unwrap_or("-"), 2, 13);
            let since = seen.since.map_or_else(|| "-".to_owned(), |since| age(since, now));
            let color = changes::color(seen).filter(|_| seen.state().part() != Part::Well);
            Row { cells: vec![one.id.clone(), zone, release, image, seen.state().to_string(), since], note: seen.cause.clone(), color }
        };
        seen.iter().map(row).collect()
    })
}

fn of_record_and_stack(before: &Look, now: &Look, stack: &str) -> Vec<Line> {
    let record = |look: &Look| look.newest.as_ref().map(|record| (record.number, record.state));
    let status = |look: &Look| look.standing.as_ref().map(|standing| standing.status.clone());
    let mut lines = Vec::new();
    let (then, since) = (before.blind, now.blind);
    if record(before) != record(now) && !then.records && !since.records {
        lines.extend(now.newest.as_ref().map(|record| Line::plain(record.told())));
        lines.extend(now.newest.as_ref().and_then(|record| record.cause.clone()).map(|cause| Line::plain(format!("  {cause}"))));
    }
    if status(before) != status(now) && !then.stack && !since.stack {
        let told = status(now).map_or_else(|| format!("the stack {stack} is gone"), |status| format!("the stack {stack} is in {status}"));
        lines.push(Line::plain(told));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Instance, Target};

    fn seen(id: &str, zone: &str, target: &str, cause: Option<&str>) -> Seen {
        let instance = Instance {
            id: id.into(),
            zone: zone.into(),
            lifecycle: "InService".into(),
            is_healthy: true,
            is_balanced: true,
            target: Some(Target { state: target.into(), why: None }),
            release: Some("v1.2.3-14-gabcdef0".into()),
            deployment: Some(7),
            image: Some("ami-0123456789abcdef0".into()),
            launched: None,
        };
        Seen { instance, since: "2026-12-01T08:00:00Z".parse().ok(), cause: cause.map(str::to_owned) }
    }

    fn told(width: Option<usize>) -> String {
        let cause = "Health checks failed with these codes: [503], and this goes on for longer than a line of a terminal has room";
        let all = [
            seen("i-0a1b2c3d4e5f60718", "ap-southeast-1a", "healthy", None),
            seen("i-0f1e2d3c4b5a69788", "ap-southeast-1b", "unhealthy", Some(cause)),
        ];
        let lines = instances(&all, "2026-12-01T09:00:00Z".parse().unwrap(), width);
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_table_fits_into_80_columns() {
        insta::assert_snapshot!("instances_no_terminal", told(None));
        insta::assert_snapshot!("instances_120", told(Some(120)));
        insta::assert_snapshot!("instances_80", told(Some(80)));
        assert!(told(Some(80)).lines().all(|line| line.chars().count() <= 80));
    }
}
