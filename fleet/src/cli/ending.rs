//! What is said of a deployment that has ended, or is followed no longer.

use serde_json::json;

use super::operator::Operator;
use super::output::{self, data, talk};
use crate::deployment::course::{Phase, Stuck};
use crate::deployment::history::Role;
use crate::deployment::record::{Policy, Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;

/// Says that there is nothing to deploy. `guards` are the sentences of what has changed of the stack itself.
pub(super) fn unchanged(operator: &Operator, release: &Release, guards: &[String], as_json: bool) {
    let name = operator.name();
    match guards {
        [] => talk(&format!("{name} runs {} already: nothing to change", release.name)),
        [..] => talk(&format!("{name} runs {} already: no instance is replaced", release.name)),
    }
    if as_json {
        let state = if guards.is_empty() { "unchanged" } else { "guarded" };
        output::json(&json!({ "version": 1, "environment": name, "state": state, "release": release.name }));
    }
}

/// A rollback that would change nothing: whoever asked for it wants something else to run.
pub(super) fn nowhere_back(operator: &Operator, release: &Release) -> Failure {
    let name = operator.name();
    Failure::new(Exit::Failed, format!("{name} is not rolled back"))
        .why(format!("it runs {} already, which the last good deployment ran", release.name))
        .hint(format!("deploy another release with `ingot-fleet deploy {name} --release RELEASE`: `ingot-fleet releases` lists them"))
}

/// What to say of a deployment that is followed no longer.
pub(super) fn still_running(operator: &Operator, record: &Record, goes_on: bool, as_json: bool) -> Failure {
    let (Record { number, environment, .. }, called) = (record, operator.called());
    if as_json {
        output::json(record);
    }
    if record.goal.policy == Policy::InPlace {
        Failure::new(Exit::UnderWay, format!("deployment {number} of {environment} is under way, and goes on while ingot-fleet follows it"))
            .hint(format!("run the same command again, which carries it on, or end it with `ingot-fleet abort {called}`"))
    } else if goes_on {
        Failure::new(Exit::UnderWay, format!("deployment {number} of {environment} goes on: CloudFormation ends it, or goes back"))
            .hint(format!("run the same command again to follow it, or look with `ingot-fleet status {called}`"))
    } else {
        Failure::new(Exit::UnderWay, format!("deployment {number} of {environment} is under way, and nothing replaces its instances yet"))
            .hint(format!("run the same command again, which carries it on, or end it with `ingot-fleet abort {called}`"))
    }
}

/// Says how it ended. `instead_of` is what was asked for, where another deployment was followed.
pub(super) async fn told(operator: &Operator, record: Record, instead_of: Option<&Release>, as_json: bool) -> Result<(), Failure> {
    let name = operator.name();
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    if record.state != State::Good {
        // AWS may give no answer now. That does not change how it has ended.
        let runs = what_runs(operator).await.unwrap_or_else(|failure| format!("what runs now is not known: {}", failure.sentence()));
        let failure = Failure::new(Exit::Failed, format!("deployment {} of {name} is {}", record.number, record.state));
        let failure = if let Some(cause) = record.cause { failure.why(cause) } else { failure };
        let called = operator.called();
        return Err(failure.hint(format!(
            "{runs}; `ingot-fleet logs {called} --failed` shows what instances have left, `ingot-fleet events {called}` all that happened"
        )));
    }
    match instead_of {
        None => Ok(()),
        Some(release) => {
            let what = match *release == record.goal.release {
                true => format!("{} was deployed with other settings than those of fleet.yaml", release.name),
                false => format!("{} was not deployed", release.name),
            };
            Err(Failure::new(Exit::Failed, format!("{what}: another deployment was under way")).hint("run it again"))
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
