//! `ingot-fleet status` and `list`: what runs where, and what is going on.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{ContentArrangement, Table};
use serde_json::{Value as Json, json};

use super::freeze;
use super::operator::{Operator, Whose};
use super::output::{self, data};
use crate::aws::groups::{Member, Target};
use crate::deployment::course::{Phase, Standing};
use crate::deployment::freeze::Freeze;
use crate::deployment::history::Role;
use crate::deployment::record::{Record, State};
use crate::failure::Failure;

/// Show what an environment runs: its release, its instances, the deployment under way
///
/// Asks AWS for cloudformation:DescribeStacks and DescribeStackEvents, autoscaling:DescribeAutoScalingGroups,
/// elasticloadbalancing:DescribeTargetHealth, s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
}

/// What there is to see.
struct Seen {
    standing: Option<Standing>,
    newest: Option<Record>,
    in_force: Option<Record>,
    members: Vec<(Member, Option<Target>)>,
    freeze: Option<Freeze>,
    /// Processes that are suspended in the group.
    suspended: Vec<String>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let seen = see(&operator).await?;
    match as_json {
        true => output::json(&seen.json(&operator)),
        false => data(&seen.text(&operator)),
    }
    Ok(())
}

async fn see(operator: &Operator) -> Result<Seen, Failure> {
    let records = operator.records();
    let freezes = operator.freezes();
    let (standing, newest, counting, freeze) =
        tokio::try_join!(operator.standing(), operator.newest(), records.counting(), freezes.in_force())?;
    let (mut members, mut suspended) = (Vec::new(), Vec::new());
    for group in operator.groups.of(&operator.place.application, operator.name()).await? {
        let mut health = match &group.targets {
            Some(targets) => operator.groups.health(targets).await?,
            None => BTreeMap::new(),
        };
        suspended.extend(group.suspended);
        members.extend(group.members.into_iter().map(|member| {
            let target = health.remove(&member.id);
            (member, target)
        }));
    }
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Seen {
        standing,
        newest: newest.map(|kept| kept.record),
        in_force: counting.get(Role::InForce).cloned(),
        members,
        freeze,
        suspended,
    })
}

impl Seen {
    /// The sentences that come first: what runs, and what is going on.
    fn head(&self, operator: &Operator) -> Vec<String> {
        let name = operator.name();
        let Some(standing) = &self.standing else {
            return vec![format!("{name} was not created yet")];
        };
        let mut lines = vec![match &self.in_force {
            Some(record) => {
                let since = record.ended.map(|at| format!(" since {at}")).unwrap_or_default();
                format!("{name} runs {}{since} (deployment {}, by {})", record.goal.release.name, record.number, record.by)
            }
            None => format!("{name} has had no good deployment yet"),
        }];
        lines.extend(self.freeze.iter().map(|freeze| freeze::line(freeze, name, &self.suspended)));
        match &self.newest {
            Some(record) if record.state == State::UnderWay => lines.push(record.told()),
            Some(record) if record.state != State::Good => {
                lines.push(record.told());
                lines.extend(record.cause.clone().map(|cause| format!("  {cause}")));
            }
            _ => {}
        }
        if let Phase::Stuck(stuck) = standing.phase() {
            let (what, hint) = stuck.way_out(&operator.stack(), name);
            lines.push(format!("the stack {} is in {}: {what}\n  hint: {hint}", operator.stack(), standing.status));
        } else if standing.phase() == Phase::Busy {
            lines.push(format!("the stack {} is in {}", operator.stack(), standing.status));
        }
        lines
    }

    fn text(&self, operator: &Operator) -> String {
        let mut lines = self.head(operator);
        if !self.members.is_empty() {
            let mut table = Table::new();
            table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
            table.set_header(["INSTANCE", "ZONE", "STATE", "HEALTH", "TARGET"]);
            for (member, target) in &self.members {
                let health = if member.is_healthy { "healthy" } else { "unhealthy" };
                let target = target.as_ref().map_or_else(
                    || "-".to_owned(),
                    |target| match &target.why {
                        Some(why) => format!("{}: {why}", target.state),
                        None => target.state.clone(),
                    },
                );
                table.add_row([member.id.as_str(), &member.zone, &member.state, health, &target]);
            }
            lines.extend(table.lines().map(|line| line.trim().to_owned()));
        }
        lines.join("\n")
    }

    fn json(&self, operator: &Operator) -> Json {
        let one = |(member, target): &(Member, Option<Target>)| {
            json!({
                "id": member.id, "zone": member.zone, "state": member.state, "healthy": member.is_healthy,
                "target": target.as_ref().map(|target| json!({ "state": target.state, "why": target.why })),
            })
        };
        json!({
            "version": 1,
            "environment": operator.name(),
            "stack": self.standing.as_ref().map(|standing| json!({ "name": operator.stack(), "status": standing.status })),
            "in_force": self.in_force,
            "newest": self.newest,
            "frozen": self.freeze,
            "instances": self.members.iter().map(one).collect::<Vec<_>>(),
        })
    }
}
