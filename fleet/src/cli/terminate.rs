//! `ingot-fleet terminate`: deletes an environment, except for the data that should stay.

use std::path::Path;

use serde_json::json;

use super::consent::Consent;
use super::edge::guard;
use super::freeze;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use crate::conduct::{Terminate, Terminated};
use crate::deployment::course::Standing;
use crate::deployment::record::{Record, State};
use crate::exit::Exit;
use crate::failure::Failure;

/// Delete an environment. Releases, records and evidence stay
///
/// CloudFormation takes a final snapshot of databases and caches, and keeps queues. Instances, load balancer, role and
/// alarms are deleted. What boot documents created, such as restored volumes, stays as well. An environment in the slot
/// of an edge is not deleted while it serves; the command waits for clients that stay with it after a swap. Needs the
/// permissions of the policies Reader, Deployer and BreakGlass of ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    consent: Consent,
    /// Delete it even if its edge sends requests to it, or may do so
    #[arg(long)]
    despite_traffic: bool,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let (name, stack) = (operator.name(), operator.stack());
    // In this order: the user does not agree to end a deployment that begins from here on.
    let newest = operator.newest().await?.map(|kept| kept.record);
    let (kept, role) = match operator.standing().await? {
        Some(standing) => agreed(&operator, args, standing).await?,
        None => {
            match newest.as_ref().filter(|record| record.state == State::UnderWay && record.may_create()) {
                // Its stack may appear at any moment.
                Some(record) => {
                    args.consent.ask(&question_of_creation(record))?;
                }
                None => talk(&format!("there is no stack {stack}: nothing to delete")),
            }
            (Vec::new(), None)
        }
    };
    let agreed = newest.map_or(0, |record| record.number);
    let (records, stacks, role) = (operator.records(), &operator.stacks, role.as_deref());
    let terminated = Terminate { records, stacks, environment: operator.called(), stack: &stack, role, tell: talk, agreed }.run().await?;
    freeze::forget(&operator).await?;
    if terminated == Terminated::Deleted {
        talk(&format!("deleted {stack}"));
    }
    if as_json {
        let state = if terminated == Terminated::Deleted { "deleted" } else { "unchanged" };
        output::json(&json!({ "version": 1, "environment": name, "stack": stack, "state": state, "stay": kept }));
    }
    Ok(())
}

/// Asks whether to delete a stack. Returns what stays of it, and the role that deletes it.
async fn agreed(operator: &Operator, args: &Args, standing: Standing) -> Result<(Vec<String>, Option<String>), Failure> {
    let stack = operator.stack();
    may_go(operator, &standing, args).await?;
    let (kept, gone) = operator.stacks.resources(&stack).await?;
    if args.consent.ask(&question(&stack, &kept, gone))? {
        if let Some(now) = operator.standing().await? {
            may_go(operator, &now, args).await?;
        }
        if operator.stacks.resources(&stack).await? != (kept.clone(), gone) {
            return Err(Failure::new(Exit::Failed, format!("nothing was deleted: {stack} has changed in the meantime"))
                .hint("run the same command again"));
        }
    }
    match operator.account(&operator.aws.caller().await?).await {
        Ok(account) => Ok((kept, Some(account.service_role))),
        Err(failure) if failure.exit == Exit::Unreachable => Err(failure),
        // CloudFormation then uses the role that the stack was created with.
        Err(_) => Ok((kept, None)),
    }
}

/// Refuses to delete a stack that is protected, is being updated, or still serves.
async fn may_go(operator: &Operator, standing: &Standing, args: &Args) -> Result<(), Failure> {
    let (name, stack) = (operator.name(), operator.stack());
    if standing.is_protected {
        return Err(Failure::new(Exit::Failed, format!("{name} is protected from deletion")).hint(format!(
            "remove the protection with `aws cloudformation update-termination-protection \
             --no-enable-termination-protection --stack-name {stack}`"
        )));
    }
    match standing.status.starts_with("UPDATE_") && standing.is_busy() {
        true => Err(busy(operator, standing).await),
        false => guard::may_be_emptied(operator, standing, args.despite_traffic).await,
    }
}

/// CloudFormation does not delete a stack during an update.
async fn busy(operator: &Operator, standing: &Standing) -> Failure {
    let (name, stack) = (operator.called(), operator.stack());
    let under_way = operator.newest().await.ok().flatten().filter(|kept| kept.record.state == State::UnderWay);
    let failure = Failure::new(Exit::Failed, format!("cannot delete {stack} while it is in {}", standing.status));
    match under_way {
        Some(kept) if standing.status == "UPDATE_IN_PROGRESS" => failure
            .why(kept.record.told())
            .hint(format!("abort the deployment with `ingot-fleet abort {name}`, then run the same command again")),
        _ => failure.hint(format!("run the same command again when the update has finished: `ingot-fleet status {name}` shows it")),
    }
}

/// The question before a creation is aborted whose stack does not exist yet.
fn question_of_creation(record: &Record) -> String {
    format!("abort deployment {} of {}, and delete what it creates", record.number, record.environment)
}

/// The question that names what is deleted and what stays.
fn question(stack: &str, kept: &[String], gone: usize) -> String {
    let stays = if kept.is_empty() { "nothing stays".to_owned() } else { format!("these stay: {}", kept.join(", ")) };
    format!("delete {stack}, {gone} resources; {stays}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::record;

    #[test]
    fn the_question_names_the_creation_that_is_ended() {
        assert_eq!(question_of_creation(&record()), "abort deployment 7 of prod, and delete what it creates");
    }
}
