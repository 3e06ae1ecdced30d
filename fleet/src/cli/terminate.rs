//! `ingot-fleet terminate`: an environment goes, and its data stays where it was to.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::consent::Consent;
use super::freeze;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use crate::aws::stacks::Stacks as _;
use crate::deployment::course::{Standing, Stuck};
use crate::deployment::record::State;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{Event, plain};

/// How often the stack is looked at.
const PAUSE: Duration = Duration::from_secs(2);

/// How long it may be described as it was before.
const SETTLED: Duration = Duration::from_secs(60);

/// How long AWS may give no answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Delete an environment. Releases, records and evidence stay
///
/// Databases and caches leave a last snapshot, queues stay: CloudFormation keeps them. Instances, load balancer, role and
/// alarms go. What documents made, such as restored volumes, stays as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let (name, stack) = (operator.name(), operator.stack());
    let said = |state: &str, kept: &[String]| {
        if as_json {
            output::json(&json!({ "version": 1, "environment": name, "stack": stack, "state": state, "stay": kept }));
        }
    };
    let Some(standing) = operator.standing().await? else {
        talk(&format!("there is no stack {stack}: nothing to delete"));
        end_record(&operator).await?;
        said("unchanged", &[]);
        return Ok(());
    };
    if standing.is_protected {
        return Err(Failure::new(Exit::Failed, format!("{name} is protected from being deleted")).hint(format!(
            "take the protection away: `aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {stack}`"
        )));
    }
    if standing.status.starts_with("UPDATE_") && standing.is_busy() {
        return Err(busy(&operator, &standing).await);
    }
    let (kept, gone) = operator.stacks.resources(&stack).await?;
    args.consent.ask(&question(&stack, &kept, gone))?;
    let role = match operator.account(&operator.aws.caller().await?).await {
        Ok(account) => Some(account.service_role),
        Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
        // The stack remembers its role.
        Err(_) => None,
    };
    let token = format!("ingot-terminate-{:016x}", fastrand::u64(..));
    operator.stacks.delete(&stack, &token, role.as_deref()).await?;
    see_deleted(&operator, &token).await?;
    end_record(&operator).await?;
    freeze::forget(&operator).await?;
    talk(&format!("deleted {stack}"));
    said("deleted", &kept);
    Ok(())
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

/// Waits until the stack is gone.
async fn see_deleted(operator: &Operator, token: &str) -> Result<(), Failure> {
    let (stack, begun) = (operator.stack(), Instant::now());
    let mut answered = begun;
    loop {
        match operator.stacks.standing(&stack).await {
            Ok(None) => return Ok(()),
            Ok(Some(standing)) => {
                answered = Instant::now();
                // How it stood before may be described for some seconds.
                let is_over = !standing.is_busy() && (standing.token.as_deref() == Some(token) || begun.elapsed() > SETTLED);
                if is_over {
                    return Err(not_deleted(operator, &standing, token).await);
                }
            }
            Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                talk(&format!("{}; the stack is looked at again", failure.sentence()));
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn not_deleted(operator: &Operator, standing: &Standing, token: &str) -> Failure {
    let stack = operator.stack();
    // The whole story of a stack may be long: what is wanted is of this minute or of this deletion.
    let events = operator.stacks.events(&stack, Timestamp::UNIX_EPOCH).await.unwrap_or_default();
    let failed = |event: &&Event| event.status == "DELETE_FAILED" && event.resource != stack;
    let why = events.iter().filter(|event| event.token.as_deref() == Some(token)).find(failed).or_else(|| events.iter().rfind(failed));
    let why = why.map(|event| format!("{}: {}", event.resource, plain(event.reason.as_deref().unwrap_or_default())));
    let (_, hint) = Stuck::HalfDeleted.way_out(&stack, operator.called());
    Failure::new(Exit::Failed, format!("{stack} is not deleted"))
        .why(why.unwrap_or_else(|| format!("it is in {}", standing.status)))
        .hint(hint)
}

/// Nothing is under way in an environment that is gone.
async fn end_record(operator: &Operator) -> Result<(), Failure> {
    if let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) {
        operator.records().finish(&kept, State::Undone, Timestamp::now(), Some("the environment was terminated".into())).await?;
    }
    Ok(())
}

/// Names what goes and what stays.
fn question(stack: &str, kept: &[String], gone: usize) -> String {
    let stays = if kept.is_empty() { "nothing of it stays".to_owned() } else { format!("of it stay: {}", kept.join(", ")) };
    format!("delete {stack}, {gone} resources; {stays}")
}
