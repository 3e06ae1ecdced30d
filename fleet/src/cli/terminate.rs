//! `ingot-fleet terminate`: an environment goes, and its data stays where it was to.

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
/// Databases and caches leave a last snapshot, queues stay: CloudFormation keeps them. Instances, load balancer, role and
/// alarms go. What documents made, such as restored volumes, stays as well. An environment in the slot of an edge is not
/// deleted while it serves; clients that stay with it after a swap are waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    consent: Consent,
    /// Delete it although its edge sends it requests, or may do so
    #[arg(long)]
    despite_traffic: bool,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let (name, stack) = (operator.name(), operator.stack());
    // In this order: a deployment that begins from here on is not agreed on.
    let newest = operator.newest().await?.map(|kept| kept.record);
    let (kept, role) = match operator.standing().await? {
        Some(standing) => agreed(&operator, args, standing).await?,
        None => {
            match newest.as_ref().filter(|record| record.state == State::UnderWay && record.may_create()) {
                // Its stack may come any moment.
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

/// What stays of a stack that the user wants to be deleted, and the role that deletes it.
async fn agreed(operator: &Operator, args: &Args, standing: Standing) -> Result<(Vec<String>, Option<String>), Failure> {
    let stack = operator.stack();
    may_go(operator, &standing, args).await?;
    let (kept, gone) = operator.stacks.resources(&stack).await?;
    if args.consent.ask(&question(&stack, &kept, gone))? {
        if let Some(now) = operator.standing().await? {
            may_go(operator, &now, args).await?;
        }
        if operator.stacks.resources(&stack).await? != (kept.clone(), gone) {
            return Err(Failure::new(Exit::Failed, format!("nothing was deleted: {stack} has changed meanwhile")).hint("run it again"));
        }
    }
    match operator.account(&operator.aws.caller().await?).await {
        Ok(account) => Ok((kept, Some(account.service_role))),
        Err(failure) if failure.exit == Exit::Unreachable => Err(failure),
        // The stack remembers its role.
        Err(_) => Ok((kept, None)),
    }
}

/// Whether a stack may be deleted as it stands.
async fn may_go(operator: &Operator, standing: &Standing, args: &Args) -> Result<(), Failure> {
    let (name, stack) = (operator.name(), operator.stack());
    if standing.is_protected {
        return Err(Failure::new(Exit::Failed, format!("{name} is protected from being deleted")).hint(format!(
            "take the protection away: `aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {stack}`"
        )));
    }
    match standing.status.starts_with("UPDATE_") && standing.is_busy() {
        true => Err(busy(operator, standing).await),
        false => guard::may_be_emptied(operator, standing, args.despite_traffic).await,
    }
}

/// CloudFormation does not delete a stack while it is updated.
async fn busy(operator: &Operator, standing: &Standing) -> Failure {
    let (name, stack) = (operator.called(), operator.stack());
    let under_way = operator.newest().await.ok().flatten().filter(|kept| kept.record.state == State::UnderWay);
    let failure = Failure::new(Exit::Failed, format!("{stack} is not deleted while it is in {}", standing.status));
    match under_way {
        Some(kept) if standing.status == "UPDATE_IN_PROGRESS" => {
            failure.why(kept.record.told()).hint(format!("end the deployment with `ingot-fleet abort {name}`, then terminate"))
        }
        _ => failure.hint(format!("run it again when the update has ended: `ingot-fleet status {name}`")),
    }
}

/// Names what goes where there is no stack yet.
fn question_of_creation(record: &Record) -> String {
    format!("end deployment {} of {}, and delete what it makes", record.number, record.environment)
}

/// Names what goes and what stays.
fn question(stack: &str, kept: &[String], gone: usize) -> String {
    let stays = if kept.is_empty() { "nothing of it stays".to_owned() } else { format!("of it stay: {}", kept.join(", ")) };
    format!("delete {stack}, {gone} resources; {stays}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::record;

    #[test]
    fn the_question_names_the_creation_that_is_ended() {
        assert_eq!(question_of_creation(&record()), "end deployment 7 of prod, and delete what it makes");
    }
}
