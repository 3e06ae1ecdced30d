//! `ingot-fleet plan`: what a deployment would change, with which policy, and how long it takes at least.

use std::path::Path;
use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::ahead::{self, Ahead};
use super::foreseen::{Before, Difference, First, Foreseen, Next};
use super::ground;
use super::operator::Operator;
use super::output::{self, data, talk};
use super::source::Source;
use super::{alarms, carry, freeze, guards, in_place};
use crate::aws::alarms::named;
use crate::aws::records::Kept;
use crate::aws::releases;
use crate::aws::stacks::Stacks as _;
use crate::conduct::Plan;
use crate::deployment::change::renews_instances;
use crate::deployment::course::{OF_POLICY, Operation, Parameters, Phase, Standing};
use crate::deployment::estimate::{Estimate, Known};
use crate::deployment::history::Role;
use crate::deployment::record::{Beginner, Goal, Kind, Policy, Record, Release, State};
use crate::deployment::rollout::Rollout;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::name::Name;
use crate::stack::{Account, Stack, filled, kept};
use crate::story::{self, Happened};

/// How many of the newest deployments the estimate is based on.
const LAST: usize = 8;

/// Show what a deployment would change, with which policy, and how long it takes at least. Nothing is changed
///
/// CloudFormation computes the changes in a change set, which is deleted again. If the environment does not exist yet,
/// what would be created is read from the template, and CloudFormation is not asked. Like `deploy`, this refuses to
/// delete data. Needs the permissions of the policies Reader and Deployer of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Release to run [default: the current one]
    #[arg(long, value_name = "RELEASE")]
    release: Option<Name>,
    /// Golden image, instead of the one in fleet.yaml
    #[arg(long, value_name = "AMI|ssm:NAME")]
    image: Option<String>,
    /// Policy of this deployment, instead of the one in fleet.yaml
    #[arg(long, value_name = "POLICY", value_parser = super::deploy::policy)]
    policy: Option<Policy>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let operator = Operator::of(file, &args.environment).await?;
    let source = Source::File(Box::new(operator.planned(file).await?));
    let Source::File(stack) = &source else { unreachable!("fleet.yaml is there") };
    let account = operator.account(&operator.aws.caller().await?).await?;
    let standing = operator.standing().await?;
    let in_force = operator.records().counting().await?.get(Role::InForce).cloned();
    let number = can_be_planned(&operator, standing.as_ref()).await?;
    let goal = goal(&operator, args, (&source, stack), standing.as_ref(), in_force.as_ref()).await?;
    freeze::note_refusal(&operator).await;
    ground::refresh::note(&operator, standing.as_ref()).await;
    if standing.as_ref().is_some_and(|standing| guards::ends_protection(&operator, standing)) {
        talk(&format!("note: `deploy` would end the protection of {} from deletion", operator.name()));
    }
    ground::holds(&operator, &goal, standing.as_ref(), &account).await?;
    let (foreseen, refusal) = match &standing {
        Some(standing) => next(&operator, (&source, stack, &account), (number, goal, began), standing, in_force.as_ref()).await?,
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
            "run the same command again when it has finished; `ingot-fleet deploy {name} --release {}` follows it until it has finished",
            kept.record.goal.release.name
        )));
    }
    if standing.is_some_and(|standing| standing.phase() == Phase::Busy) {
        let status = standing.map_or("", |standing| standing.status.as_str());
        return Err(Failure::new(Exit::UnderWay, format!("the stack {} is in {status}, because of another operation", operator.stack()))
            .hint(format!("run the same command again when that operation has finished; `ingot-fleet events {name}` shows what happens")));
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
                .hint("name one with `--release RELEASE`; `ingot-fleet releases` lists them"));
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
    let estimate = Estimate::of_creation(&rollout);
    First { parameters, contents: stack.contents.clone(), rollout, estimate, goal }
}

/// The next deployment, and why it is refused, if it is. `began`: when the first call to AWS was made.
async fn next(
    operator: &Operator,
    (source, stack, account): (&Source, &Stack, &Account),
    (number, goal, began): (u64, Goal, Instant),
    standing: &Standing,
    in_force: Option<&Record>,
) -> Result<(Foreseen, Option<Failure>), Failure> {
    let environment = operator.environment();
    let changed = source.changed(standing, &source.wanted(operator, &goal, 0, account));
    if changed.is_empty() {
        return Ok((Foreseen::Nothing(goal.release), None));
    }
    in_place::fitting(operator, goal.policy, (Some(&changed), source.obstacle()), Kind::Deploy, None)?;
    let (policy, capacity) = (goal.policy, goal.capacity);
    let record = ahead::record(operator, number, goal, Beginner { by: String::new(), at: Timestamp::now(), attempt: "plan".into() });
    let alarms = alarms::counting(environment, &[])?;
    let found = named(&operator.aws, &alarms).await?;
    alarms::raised(operator.name(), &alarms, &found).iter().for_each(|failure| talk(&format!("note: {failure}")));
    let terms = source.terms(operator, account, Kind::Deploy, (&alarms, &found), &record.goal, None);
    let plan = Plan::of(operator.stack(), &terms, &record);
    // `deploy` makes the same calls, except for the change set and the records of the past.
    let asked = began.elapsed();
    let Ahead { changes, differing, refusal } = ahead::look(operator, stack, &plan, &record, standing).await?;
    if changes.is_empty() {
        return Ok((Foreseen::Nothing(record.goal.release), None));
    }
    let wanted = plan.wanted.all();
    let rollout = Rollout::of(policy, capacity, wanted);
    let rollout = renews_instances(&changes).then_some(rollout);
    let known = Known { asked, ..known(operator, environment.settings.deployment.bake.map_or(0, |bake| bake.0)).await };
    let none = Rollout { instances: 0, batches: 0, ..Rollout::of(policy, capacity, wanted) };
    let is_set = OF_POLICY.iter().all(|name| wanted.get(*name).map(String::as_str) == standing.parameter(name));
    let estimate = Estimate::of(rollout.as_ref().unwrap_or(&none), is_set, &known);
    let order = plan.order(Operation::SetRelease, &record, Some(standing));
    let next = Next {
        number: record.number,
        differences: differences(standing, wanted),
        kept: kept(stack, environment, wanted, &order.kept, standing),
        is_set,
        pause: wanted.get("PauseTime").cloned().unwrap_or_default(),
        before: in_force.and_then(before),
        measured: known.measured(),
        settings: differing,
        changes,
        rollout,
        estimate,
    };
    Ok((Foreseen::Next(Box::new(next)), refusal))
}

/// What changes in the release, and in how it is deployed.
fn differences(standing: &Standing, wanted: &Parameters) -> Vec<Difference> {
    let named = [("release", "Release"), ("archive", "ReleaseSha256"), ("image", "Image"), ("document", "Document"), ("policy", "Policy")];
    let one = |(what, parameter): (&'static str, &str)| {
        let (from, to) = (standing.parameter(parameter)?, wanted.get(parameter)?);
        (from != to).then(|| Difference { what, from: from.to_owned(), to: to.clone() })
    };
    let mut found: Vec<Difference> = named.into_iter().filter_map(one).collect();
    // Another release always has another archive.
    if found.iter().any(|one| one.what == "release") {
        found.retain(|one| one.what != "archive");
    }
    found
}

fn before(record: &Record) -> Option<Before> {
    let took = seconds(record.began, record.ended?);
    Some(Before { number: record.number, policy: record.goal.policy, instances: record.goal.capacity.desired, seconds: took })
}

/// Whole seconds from one moment to another.
fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// What is known about how long it takes. Without that, the plan is still shown. `bake` is in seconds.
async fn known(operator: &Operator, bake: u64) -> Known {
    match seen(operator).await {
        Ok((records, happened)) => story::known(&records, &happened, &operator.stack(), bake),
        Err(failure) => {
            talk(&format!("warning: {}; it is unknown how long launches take", failure.sentence()));
            Known { bake, ..Known::default() }
        }
    }
}

/// The last good deployments, and what has happened since the first of them.
async fn seen(operator: &Operator) -> Result<(Vec<Record>, Happened), Failure> {
    let (records, stack) = (operator.records(), operator.stack());
    let numbers = records.numbers().await?;
    let read: Vec<Option<Kept>> =
        stream::iter(numbers.into_iter().take(LAST)).map(|number| records.read(number)).buffered(LAST).try_collect().await?;
    let good = read.into_iter().flatten().map(|kept| kept.record).filter(|record| record.state == State::Good);
    let (good, mut happened) = (good.collect::<Vec<_>>(), Happened::default());
    let Some(since) = good.iter().map(|record| record.began).min() else { return Ok((good, happened)) };
    happened.events = operator.stacks.events(&stack, since).await?;
    for group in operator.groups.of(&operator.place.application, operator.name()).await? {
        happened.activities.extend(operator.groups.activities(&group.name, since).await?);
    }
    Ok((good, happened))
}
