//! Reports a deployment that has ended, or is no longer followed.

use serde_json::json;

use super::operator::Operator;
use super::output::{self, data, talk};
use crate::deployment::course::{Phase, Stuck};
use crate::deployment::history::Role;
use crate::deployment::record::{Policy, Record, Release, State};
use crate::exit::Exit;
use crate::failure::Failure;

/// Reports that there is nothing to deploy. `guards` are sentences about changes to the stack's own protection.
pub(super) fn unchanged(operator: &Operator, release: &Release, guards: &[String], as_json: bool) {
    let name = operator.name();
    match guards {
        [] => talk(&format!("{name} already runs {}: nothing to change", release.name)),
        [..] => talk(&format!("{name} already runs {}: no instance is replaced", release.name)),
    }
    if as_json {
        let state = if guards.is_empty() { "unchanged" } else { "guarded" };
        output::json(&json!({ "version": 1, "environment": name, "state": state, "release": release.name }));
    }
}

/// A rollback that would change nothing is an error: the user wants something else to run.
pub(super) fn nowhere_back(operator: &Operator, release: &Release) -> Failure {
    let name = operator.name();
    Failure::new(Exit::Failed, format!("cannot roll back {name}"))
        .why(format!("it already runs {}, the release of the last good deployment", release.name))
        .hint(format!("deploy another release with `ingot-fleet deploy {name} --release RELEASE`: `ingot-fleet releases` lists them"))
}

/// Reports a deployment that is no longer followed.
pub(super) fn still_running(operator: &Operator, record: &Record, goes_on: bool, as_json: bool) -> Failure {
    let (Record { number, environment, .. }, called) = (record, operator.called());
    if as_json {
        output::json(record);
    }
    if record.goal.policy == Policy::InPlace {
        Failure::new(
            Exit::UnderWay,
            format!("deployment {number} of {environment} is under way, and continues only while ingot-fleet follows it"),
        )
        .hint(format!("run the same command again to continue it, or abort it with `ingot-fleet abort {called}`"))
    } else if goes_on {
        Failure::new(
            Exit::UnderWay,
            format!("deployment {number} of {environment} continues: CloudFormation completes it, or rolls it back"),
        )
        .hint(format!("run the same command again to follow it, or check it with `ingot-fleet status {called}`"))
    } else {
        Failure::new(Exit::UnderWay, format!("deployment {number} of {environment} is under way, but does not replace instances yet"))
            .hint(format!("run the same command again to continue it, or abort it with `ingot-fleet abort {called}`"))
    }
}

/// Reports how it ended. `instead_of` is what was asked for, if another deployment was followed.
pub(super) async fn told(operator: &Operator, record: Record, instead_of: Option<&Release>, as_json: bool) -> Result<(), Failure> {
    let name = operator.name();
    if as_json {
        output::json(&record);
    } else {
        data(&record.told());
    }
    if record.state != State::Good {
        // AWS may not answer now. That does not change how the deployment ended.
        let runs = what_runs(operator).await.unwrap_or_else(|failure| format!("cannot tell what runs now: {}", failure.sentence()));
        let failure = Failure::new(Exit::Failed, format!("deployment {} of {name} is {}", record.number, record.state));
        let failure = if let Some(cause) = record.cause { failure.why(cause) } else { failure };
        let called = operator.called();
        return Err(failure.hint(format!(
            "{runs}; see the evidence of failed boots with `ingot-fleet logs {called} --failed`, and all events \
             with `ingot-fleet events {called}`"
        )));
    }
    match instead_of {
        None => Ok(()),
        Some(release) => {
            let what = match *release == record.goal.release {
                true => format!("{} was deployed with other settings than those of fleet.yaml", release.name),
                false => format!("{} was not deployed", release.name),
            };
            Err(Failure::new(Exit::Failed, format!("{what}: another deployment was under way")).hint("run the same command again"))
        }
    }
}

/// What an environment runs, as a sentence.
async fn what_runs(operator: &Operator) -> Result<String, Failure> {
    let name = operator.name();
    // Records outlive their environment: one that was deleted, and whose new creation failed, still has good ones.
    let serves = operator.standing().await?.is_some_and(|standing| standing.phase() != Phase::Stuck(Stuck::NeverCreated));
    let counting = operator.records().counting().await?;
    Ok(counting.get(Role::InForce).filter(|_| serves).map_or_else(
        || format!("{name} does not serve"),
        |record| format!("{name} runs {} (deployment {})", record.goal.release.name, record.number),
    ))
}
