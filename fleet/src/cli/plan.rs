//! `ingot-fleet plan`: what a deployment would change, by which policy, and how long it takes at the least.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::ahead::{self, Ahead};
use super::foreseen::{Before, Difference, First, Foreseen, Next};
use super::ground;
use super::operator::Operator;
use super::output::{self, data, talk};
use super::source::{Kind, Source};
use super::{alarms, carry};
use crate::aws::alarms::named;
use crate::aws::releases;
use crate::aws::stacks::Stacks as _;
use crate::deployment::change::renews_instances;
use crate::deployment::course::{OF_POLICY, Operation, Parameters, Phase, Standing};
use crate::deployment::history::Role;
use crate::deployment::record::{Beginner, Goal, Policy, Record, Release, State};
use crate::deployment::rollout::{Estimate, Known, Measured, Rollout, seconds};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::name::Name;
use crate::stack::{Account, Stack, filled, kept};
use crate::story::Event;

/// What CloudFormation says of an instance that is ready.
const SIGNALED: &str = "Received SUCCESS signal with UniqueId ";

/// Show what a deployment would change, by which policy, and how long it takes at the least. Nothing is changed
///
/// CloudFormation says what would change, by a change set, which is deleted again. Where the environment is not there yet,
/// what would be created is read off the template, and CloudFormation is not asked. What would take data away is refused, as
/// `deploy` does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Release to run [default: the one in force]
    #[arg(long, value_name = "RELEASE")]
    release: Option<Name>,
    /// Golden image, in place of that of fleet.yaml
    #[arg(long, value_name = "AMI|ssm:NAME")]
    image: Option<String>,
    /// Policy of this deployment, in place of that of fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = super::deploy::policy)]
    policy: Option<Policy>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.environment).await?;
    let source = Source::File(Box::new(operator.planned(file).await?));
    let Source::File(stack) = &source else { unreachable!("fleet.yaml is there") };
    let account = operator.account(&operator.aws.caller().await?).await?;
    let standing = operator.standing().await?;
    let in_force = operator.records().counting().await?.get(Role::InForce).cloned();
    let number = can_be_planned(&operator, standing.as_ref()).await?;
    let goal = goal(&operator, args, (&source, stack), standing.as_ref(), in_force.as_ref()).await?;
    ground::holds(&operator, &goal, standing.as_ref(), &account).await?;
    let (foreseen, refusal) = match &standing {
        Some(standing) => next(&operator, (&source, stack, &account), (number, goal), standing, in_force.as_ref()).await?,
        None => (Foreseen::First(Box::new(first(stack, &account, &operator, goal))), None),
    };
    if as_json {
        output::json(&foreseen.json(operator.name(), &stack.name, refusal.as_ref()));
    } else {
        data(&foreseen.text(operator.name()));
    }
    refusal.map_or(Ok(()), Err)
}

/// The number that a deployment would have, if one could begin now.
async fn can_be_planned(operator: &Operator, standing: Option<&Standing>) -> Result<u64, Failure> {
    let (name, newest) = (operator.name(), operator.newest().await?);
    if let Some(kept) = newest.as_ref().filter(|kept| kept.record.state == State::UnderWay) {
        return Err(Failure::new(Exit::UnderWay, kept.record.told()).hint(format!(
            "run it again when it has ended; `ingot-fleet deploy {name} --release {}` follows it to its end",
            kept.record.goal.release.name
        )));
    }
    if standing.is_some_and(|standing| standing.phase() == Phase::Busy) {
        let status = standing.map_or("", |standing| standing.status.as_str());
        return Err(Failure::new(Exit::UnderWay, format!("the stack {} is in {status}, by somebody else", operator.stack()))
            .hint(format!("run it again when that has ended; `ingot-fleet events {name}` shows what happens")));
    }
    carry::fits(if standing.is_none() { Kind::Create } else { Kind::Deploy }, operator, standing, false)?;
    Ok(newest.map_or(0, |kept| kept.record.number) + 1)
}

/// What would run.
async fn goal(
    operator: &Operator,
    args: &Args,
    (source, stack): (&Source, &Stack),
    standing: Option<&Standing>,
    in_force: Option<&Record>,
) -> Result<Goal, Failure> {
    let release = match (&args.release, in_force.filter(|_| standing.is_some())) {
        (Some(name), _) => {
            let manifest = releases::find(&operator.bucket, &operator.place, name).await?;
            Release { name: manifest.name, sha256: manifest.sha256 }
        }
        (None, Some(record)) => record.goal.release.clone(),
        (None, None) => {
            return Err(Failure::new(Exit::Usage, format!("no release of {} is in force", operator.name()))
                .hint("name one: `--release RELEASE`; `ingot-fleet releases` lists them"));
        }
    };
    let image = operator.image(args.image.as_deref()).await?;
    let document = operator.records().document(stack.document.content.as_bytes())?;
    let kind = if standing.is_none() { Kind::Create } else { Kind::Deploy };
    let policy = source.policy(operator, args.policy, kind)?;
    let capacity = source.capacity(operator).await?;
    Ok(Goal { release, image, document, policy, capacity })
}

/// The creation of an environment.
fn first(stack: &Stack, account: &Account, operator: &Operator, goal: Goal) -> First {
    let parameters = filled(&stack.parameters, operator.environment(), &goal, 1, account);
    let rollout = Rollout::first(goal.policy, goal.capacity);
    let estimate = Estimate::of(&rollout, &Known::default());
    First { parameters, contents: stack.contents.clone(), rollout, estimate, goal }
}

/// The deployment that would be the next one, and why it is refused.
async fn next(
    operator: &Operator,
    (source, stack, account): (&Source, &Stack, &Account),
    (number, goal): (u64, Goal),
    standing: &Standing,
    in_force: Option<&Record>,
) -> Result<(Foreseen, Option<Failure>), Failure> {
    let environment = operator.environment();
    if source.changed(standing, &source.wanted(operator, &goal, 0, account)).is_empty() {
        return Ok((Foreseen::Nothing(goal.release), None));
    }
    let (policy, capacity) = (goal.policy, goal.capacity);
    let record = ahead::record(operator, number, goal, Beginner { by: String::new(), at: Timestamp::now(), attempt: "plan".into() });
    let alarms = alarms::counting(environment, &[])?;
    let found = named(&operator.aws, &alarms).await?;
    let plan = source.plan(operator, account, Kind::Deploy, (&alarms, &found), &record);
    let Ahead { changes, differing, refusal } = ahead::look(operator, stack, &plan, &record, standing).await?;
    if changes.is_empty() {
        return Ok((Foreseen::Nothing(record.goal.release), None));
    }
    let wanted = plan.wanted.all();
    let rollout = Rollout::of(policy, capacity, wanted);
    let rollout = renews_instances(&changes).then_some(rollout);
    let known = known(operator, in_force, environment.settings.deployment.bake.map_or(0, |bake| bake.0)).await;
    let none = Rollout { instances: 0, batches: 0, ..Rollout::of(policy, capacity, wanted) };
    let estimate = Estimate::of(rollout.as_ref().unwrap_or(&none), &known);
    let order = plan.order(Operation::SetRelease, &record, Some(standing));
    let next = Next {
        number: record.number,
        differences: differences(standing, wanted),
        kept: kept(stack, environment, wanted, &order.kept, standing),
        is_set: OF_POLICY.iter().all(|name| wanted.get(*name).map(String::as_str) == standing.parameter(name)),
        pause: wanted.get("PauseTime").cloned().unwrap_or_default(),
        before: in_force.and_then(before),
        measured: known.launches,
        settings: differing,
        changes,
        rollout,
        estimate,
    };
    Ok((Foreseen::Next(Box::new(next)), refusal))
}

/// What of the release and of how it is deployed changes.
fn differences(standing: &Standing, wanted: &Parameters) -> Vec<Difference> {
    let named = [("release", "Release"), ("archive", "ReleaseSha256"), ("image", "Image"), ("document", "Document"), ("policy", "Policy")];
    let one = |(what, parameter): (&'static str, &str)| {
        let (from, to) = (standing.parameter(parameter)?, wanted.get(parameter)?);
        (from != to).then(|| Difference { what, from: from.to_owned(), to: to.clone() })
    };
    let mut found: Vec<Difference> = named.into_iter().filter_map(one).collect();
    // Another release has another archive.
    if found.iter().any(|one| one.what == "release") {
        found.retain(|one| one.what != "archive");
    }
    found
}

fn before(record: &Record) -> Option<Before> {
    let took = seconds(record.began, record.ended?);
    Some(Before { number: record.number, policy: record.goal.policy, instances: record.goal.capacity.desired, seconds: took })
}

/// What is known of how long it takes, from the deployment in force. A plan is one without it, too.
async fn known(operator: &Operator, in_force: Option<&Record>, bake: u64) -> Known {
    let none = Known { bake, ..Known::default() };
    let Some(record) = in_force else { return none };
    measured(operator, record, bake).await.unwrap_or_else(|failure| {
        talk(&format!("warning: {}; how long launches take is not known", failure.sentence()));
        none
    })
}

async fn measured(operator: &Operator, record: &Record, bake: u64) -> Result<Known, Failure> {
    let events = operator.stacks.events(&operator.stack(), record.began).await?;
    let mut launches = Vec::new();
    for group in operator.groups.of(&operator.place.application, operator.name()).await? {
        launches.extend(operator.groups.launches(&group.name, record.began).await?);
    }
    let signaled = |event: &Event| Some((event.reason.as_deref()?.strip_prefix(SIGNALED)?.to_owned(), event.at));
    let signals: BTreeMap<String, Timestamp> = events.iter().filter_map(signaled).collect();
    Ok(Known { launches: Measured::of(&launches, &signals), bake, end: end_of_a_group(&events) })
}

/// How long the last end of a former group took, in seconds.
fn end_of_a_group(events: &[Event]) -> Option<u64> {
    let at = |status: &str| events.iter().rfind(|event| event.resource == "Group" && event.status == status).map(|event| event.at);
    let (began, ended) = (at("DELETE_IN_PROGRESS")?, at("DELETE_COMPLETE")?);
    (began < ended).then(|| seconds(began, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_former_group_is_measured() {
        let event = |second: i64, resource: &str, status: &str| {
            let at = Timestamp::from_second(second).unwrap();
            Event { at, resource: resource.into(), status: status.into(), reason: None, token: None }
        };
        let events = [event(5, "Group", "DELETE_IN_PROGRESS"), event(6, "Pool", "DELETE_COMPLETE"), event(47, "Group", "DELETE_COMPLETE")];
        assert_eq!(end_of_a_group(&events), Some(42));
        assert_eq!(end_of_a_group(&events[..2]), None);
    }
}
