//! One deployment as the verbs have it: what is asked, against what there is; its record, its end, and what is said of it.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::ahead;
use super::ground;
use super::operator::{Operator, Reader};
use super::output::{self, data, talk};
use super::watch::Watcher;
use crate::aws::records::{Begun, Kept};
use crate::aws::s3::Bucket;
use crate::aws::stacks::{CloudFormation, Guard, Watch};
use crate::conduct::{Conductor, Ended, Plan};
use crate::deployment::course::{OF_POLICY, Parameters, Phase, Standing, Stuck, Wanted};
use crate::deployment::history::Role;
use crate::deployment::record::{Beginner, Capacity, Document, Goal, Policy, Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet;
use crate::stack::{Account, OF_CREATION, POLICY, Stack, filled};

/// Which verb asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Deploy,
    /// Takes no alarms and no bake.
    Rollback,
}

/// What is to run.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) release: Release,
    pub(super) image: String,
    /// `None`: that of fleet.yaml.
    pub(super) document: Option<Document>,
    /// `None`: that of fleet.yaml.
    pub(super) policy: Option<Policy>,
}

pub(super) async fn carry_out(
    operator: &Operator,
    file: &Path,
    asked: Asked,
    timeout: Option<Duration>,
    as_json: bool,
) -> Result<(), Failure> {
    let until = timeout.map(|timeout| Instant::now() + timeout);
    let stack = operator.planned(file).await?;
    let caller = operator.aws.caller().await?;
    let account = operator.account(&caller).await?;
    let (standing, newest) = tokio::try_join!(operator.standing(), operator.newest())?;
    let under_way = newest.filter(|kept| kept.record.state == State::UnderWay);
    fits(asked.kind, operator, standing.as_ref(), under_way.is_some())?;
    let kept = match under_way {
        Some(kept) => {
            talk(&format!("{}: following it", kept.record.told()));
            kept
        }
        None => match begin(operator, &stack, &account, &asked, &caller, standing.as_ref()).await? {
            Some(kept) => kept,
            None => {
                nothing_to_change(operator, &asked, as_json);
                return Ok(());
            }
        },
    };
    let goal = &kept.record.goal;
    let document = asked.document.as_ref().map_or_else(|| stack.document.sha256.to_string(), |document| document.sha256.to_string());
    let is_another = goal.release != asked.release || goal.image != asked.image || goal.document.sha256.to_string() != document;
    let plan = plan(operator, &stack, &account, asked.kind, &kept.record);
    let ended = follow(operator, &account, &plan, kept, until).await?;
    told(operator, ended, is_another.then_some(&asked.release), as_json).await
}

/// Follows a deployment that somebody ended, until everything is as before.
pub(super) async fn see_undone(operator: &Operator, kept: Kept, as_json: bool) -> Result<(), Failure> {
    let account = operator.account(&operator.aws.caller().await?).await?;
    let (witness, watcher) = (witness(operator, &account), Watcher::back(operator));
    let ended = conductor(operator, &witness, &watcher).undo(kept, &operator.stack()).await?;
    let Ended::With(record) = ended else { unreachable!("it has all the time there is") };
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    match record.state {
        State::Good => Err(Failure::new(Exit::Failed, format!("it was too late to end deployment {}", record.number))
            .hint(format!("go back with `ingot-fleet rollback {}`", operator.name()))),
        _ => Ok(()),
    }
}

/// Whether the verb is right for what there is.
pub(super) fn fits(kind: Kind, operator: &Operator, standing: Option<&Standing>, goes_on: bool) -> Result<(), Failure> {
    let name = operator.name();
    match (kind, standing) {
        (Kind::Create, Some(standing)) if !goes_on && standing.output("Group").is_some() => {
            Err(Failure::new(Exit::Usage, format!("{name} is there already: its stack is in {}", standing.status))
                .hint(format!("run `ingot-fleet deploy {name} --release RELEASE`")))
        }
        (Kind::Deploy | Kind::Rollback, None) => Err(Failure::new(Exit::Usage, format!("{name} was not created yet"))
            .hint(format!("run `ingot-fleet create {name} --release RELEASE`"))),
        // A record would be in the way once the stack is sound: what it asks for may be long out of date.
        (_, Some(standing)) if !goes_on => match standing.phase() {
            Phase::Stuck(stuck) => {
                let (what, hint) = stuck.way_out(&operator.stack(), name);
                Err(Failure::new(Exit::Failed, format!("the stack {} cannot be updated", operator.stack())).why(what).hint(hint))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Makes the record of a deployment. `None` if there is nothing to change.
async fn begin(
    operator: &Operator,
    stack: &Stack,
    account: &Account,
    asked: &Asked,
    caller: &str,
    standing: Option<&Standing>,
) -> Result<Option<Kept>, Failure> {
    let environment = operator.environment();
    let policy = policy(asked, environment.settings.deployment.policy())?;
    let records = operator.records();
    let content = stack.document.content.as_bytes();
    let document = match &asked.document {
        Some(document) => document.clone(),
        None => records.document(content)?,
    };
    let capacity = capacity(operator).await?;
    let goal = Goal { release: asked.release.clone(), image: asked.image.clone(), document, policy, capacity };
    let wanted = filled(&stack.parameters, environment, &goal, 0, account);
    if standing.is_some_and(|standing| has_all(standing, &wanted, &stack.defaults)) {
        return Ok(None);
    }
    let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let beginner = Beginner { by: caller.to_owned(), at, attempt: format!("{:016x}", fastrand::u64(..)) };
    match asked.kind {
        Kind::Create => ground::holds(operator, &goal).await?,
        Kind::Deploy => {
            ground::holds(operator, &goal).await?;
            // CloudFormation makes no change set while it is busy.
            if let Some(standing) = standing.filter(|standing| standing.output("Group").is_some() && !standing.is_busy()) {
                let record = ahead::record(operator, standing, goal.clone(), beginner.clone());
                ahead::spares_data(operator, stack, &plan(operator, stack, account, asked.kind, &record), &record, standing).await?;
            }
        }
        // It must not need more of AWS than it takes; the policy of the stack spares data, too.
        Kind::Rollback => ground::holds_again(operator, &goal).await?,
    }
    if asked.document.is_none() {
        records.keep_document(&goal.document, content).await?;
    }
    match records.begin(goal, beginner).await? {
        Begun::Mine(kept) => {
            talk(&format!("deployment {} of {}: {}", kept.record.number, operator.name(), kept.record.goal.release.name));
            Ok(Some(kept))
        }
        Begun::Taken(kept) => {
            talk(&format!("{}: following it", kept.record.told()));
            Ok(Some(kept))
        }
    }
}

/// By which policy what runs is replaced.
pub(super) fn policy(asked: &Asked, of_file: fleet::Policy) -> Result<Policy, Failure> {
    let word = match (asked.policy, of_file) {
        (Some(policy), _) => return Ok(policy),
        (None, fleet::Policy::AllAtOnce) => return Ok(Policy::AllAtOnce),
        (None, fleet::Policy::Rolling) => return Ok(Policy::Rolling),
        (None, fleet::Policy::RollingWithBatch) => return Ok(Policy::RollingWithBatch),
        (None, fleet::Policy::Immutable) => return Ok(Policy::Immutable),
        // Nothing is replaced.
        _ if asked.kind == Kind::Create => return Ok(Policy::RollingWithBatch),
        (None, fleet::Policy::TrafficSplitting) => "traffic_splitting",
        (None, fleet::Policy::InPlace) => "in_place",
    };
    Err(Failure::new(Exit::Usage, format!("ingot-fleet does not deploy by the policy {word} yet"))
        .hint("take another one for this deployment: `--policy rolling_with_batch`"))
}

/// What runs now, or is to run in an environment that is new.
pub(super) async fn capacity(operator: &Operator) -> Result<Capacity, Failure> {
    let environment = operator.environment();
    let instances = &environment.settings.instances;
    let (min, max) = (instances.min(environment.tier, environment.mode), instances.max(environment.mode));
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    let runs = groups.iter().map(|group| group.capacity.desired).max().unwrap_or(min);
    if runs > max {
        let name = operator.name();
        let message = format!("{name} has {runs} instances, more than `max`, which is {max}");
        return Err(Failure::new(Exit::Document, message).hint(format!(
            "raise `instances.max` of {name} in fleet.yaml to {runs}, or end some first: `ingot-fleet scale {name} {max}`"
        )));
    }
    Ok(Capacity { min, desired: runs.max(min), max })
}

/// Whether a stack has all that is wanted, but for how it would be deployed. What the environment says nothing about has the
/// default of the template.
pub(super) fn has_all(standing: &Standing, wanted: &Parameters, defaults: &Parameters) -> bool {
    let counts = |name: &str| name != "Deployment" && !OF_POLICY.contains(&name) && !OF_CREATION.contains(&name);
    let all = defaults.iter().filter(|(name, _)| !wanted.contains_key(*name)).chain(wanted);
    all.filter(|(name, _)| counts(name)).all(|(name, value)| standing.parameter(name) == Some(value))
}

pub(super) fn plan<'a>(operator: &'a Operator, stack: &'a Stack, account: &'a Account, kind: Kind, record: &Record) -> Plan<'a> {
    let environment = operator.environment();
    let settings = &environment.settings;
    let alarm = |name: &str| format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", account.region, account.id);
    let watch = match kind {
        Kind::Rollback => Watch::default(),
        Kind::Create | Kind::Deploy => Watch {
            alarms: settings.deployment.alarms.iter().map(|name| alarm(name.as_str())).collect(),
            minutes: settings.deployment.bake.map_or(0, |bake| i32::try_from(bake.0 / 60).unwrap_or(i32::MAX)),
        },
    };
    let tag = |key: &str, value: &str| (format!("ingot:{key}"), value.to_owned());
    Plan {
        stack: stack.name.clone(),
        template: stack.body,
        wanted: Wanted::new(filled(&stack.parameters, environment, &record.goal, record.number, account)),
        tags: [tag("application", &operator.place.application), tag("environment", operator.name())].into(),
        role: &account.service_role,
        watch,
        guard: Guard { policy: POLICY, is_protected: settings.protect },
    }
}

async fn follow(operator: &Operator, account: &Account, plan: &Plan<'_>, kept: Kept, until: Option<Instant>) -> Result<Ended, Failure> {
    let (witness, watcher) = (witness(operator, account), Watcher::of(operator, &kept.record));
    conductor(operator, &witness, &watcher).follow(kept, plan, until).await
}

fn witness<'a>(operator: &'a Operator, account: &'a Account) -> Reader<'a> {
    Reader {
        bucket: Bucket::new(&operator.aws, &account.evidence),
        name: &account.evidence,
        application: &operator.place.application,
        environment: operator.name(),
    }
}

fn conductor<'a>(
    operator: &'a Operator,
    witness: &'a Reader<'a>,
    tell: &'a Watcher<'a>,
) -> Conductor<'a, Bucket, CloudFormation, Reader<'a>, Watcher<'a>> {
    Conductor { records: operator.records(), stacks: &operator.stacks, witness, tell, environment: operator.name() }
}

fn nothing_to_change(operator: &Operator, asked: &Asked, as_json: bool) {
    talk(&format!("{} runs {} already: nothing to change", operator.name(), asked.release.name));
    if as_json {
        output::json(&json!({ "version": 1, "environment": operator.name(), "state": "unchanged", "release": asked.release.name }));
    }
}

/// Says how it ended. `instead_of` is what was asked for, where another deployment was followed.
async fn told(operator: &Operator, ended: Ended, instead_of: Option<&Release>, as_json: bool) -> Result<(), Failure> {
    let name = operator.name();
    let record = match ended {
        Ended::With(record) => *record,
        Ended::StillRunning => {
            return Err(Failure::new(Exit::UnderWay, "the time is over, and the deployment goes on")
                .hint(format!("run it again to follow it, or look with `ingot-fleet status {name}`")));
        }
    };
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    if record.state != State::Good {
        let runs = what_runs(operator).await?;
        let failure = Failure::new(Exit::Failed, format!("deployment {} of {name} is {}", record.number, record.state));
        let failure = if let Some(cause) = record.cause { failure.why(cause) } else { failure };
        return Err(failure.hint(format!("{runs}; `ingot-fleet events {name}` shows what happened")));
    }
    match instead_of {
        None => Ok(()),
        Some(release) => {
            Err(Failure::new(Exit::Failed, format!("{} was not deployed: another deployment was under way", release.name))
                .hint("run it again"))
        }
    }
}

/// What an environment runs, in words.
async fn what_runs(operator: &Operator) -> Result<String, Failure> {
    let name = operator.name();
    // Records outlive their environment: one that was deleted and could not be created again has good ones.
    let serves = operator.standing().await?.is_some_and(|standing| standing.phase() != Phase::Stuck(Stuck::NeverCreated));
    let counting = operator.records().counting().await?;
    Ok(counting.get(Role::InForce).filter(|_| serves).map_or_else(
        || "nothing of it serves".to_owned(),
        |record| format!("{name} runs {} (deployment {})", record.goal.release.name, record.number),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_to_its_default_is_a_change() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let wanted: Parameters = pairs(&[("Release", "v1"), ("Deployment", "0"), ("Policy", "rolling")]);
        let defaults: Parameters = pairs(&[("CpuPercent", "60"), ("Release", "x"), ("Fifo", "false")]);
        let has = |given: &[(&str, &str)]| has_all(&Standing { parameters: pairs(given), ..Standing::default() }, &wanted, &defaults);
        assert!(has(&[("Release", "v1"), ("Deployment", "7"), ("Policy", "immutable"), ("CpuPercent", "60"), ("Fifo", "true")]));
        assert!(!has(&[("Release", "v1"), ("CpuPercent", "80")]), "the setting is gone from fleet.yaml");
        assert!(!has(&[("Release", "v2"), ("CpuPercent", "60")]));
        assert!(!has(&[("Release", "v1")]), "the template has a parameter more");
    }
}
