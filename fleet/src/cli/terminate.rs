//! `ingot-fleet terminate`: an environment goes, and its data stays where it was to.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::operator::Operator;
use super::output::talk;
use crate::aws::stacks::Stacks as _;
use crate::deployment::course::{Phase, Stuck};
use crate::deployment::record::State;
use crate::exit::Exit;
use crate::failure::Failure;

/// How often the stack is looked at.
const PAUSE: Duration = Duration::from_secs(2);

/// Delete an environment. Releases, records and evidence stay
///
/// Databases and caches leave a last snapshot, queues stay: CloudFormation keeps them. Instances, load balancer, role and
/// alarms go. What documents made, such as restored volumes, stays as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(args: &Args, file: &Path) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.environment).await?;
    let (name, stack) = (operator.name(), operator.stack());
    let Some(standing) = operator.stacks.standing(&stack).await? else {
        talk(&format!("there is no stack {stack}: nothing to delete"));
        return Ok(());
    };
    if standing.is_protected {
        return Err(Failure::new(Exit::Failed, format!("{name} is protected from being deleted")).hint(format!(
            "take the protection away: `aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name {stack}`"
        )));
    }
    let (kept, gone) = operator.stacks.resources(&stack).await?;
    confirm(&stack, &kept, gone, args.yes)?;
    let role = match operator.account(&operator.aws.caller().await?).await {
        Ok(account) => Some(account.service_role),
        Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
        // The stack remembers its role.
        Err(_) => None,
    };
    let begun = Timestamp::now();
    operator.stacks.delete(&stack, &format!("ingot-terminate-{:016x}", fastrand::u64(..)), role.as_deref()).await?;
    loop {
        match operator.stacks.standing(&stack).await? {
            None => break,
            Some(standing) if standing.phase() == Phase::Stuck(Stuck::HalfDeleted) => {
                let events = operator.stacks.events(&stack, begun).await?;
                let why = events.iter().find(|event| event.status == "DELETE_FAILED" && event.resource != stack);
                let why = why.map(|event| format!("{}: {}", event.resource, event.reason.as_deref().unwrap_or_default()));
                let (_, hint) = Stuck::HalfDeleted.way_out(&stack, name);
                return Err(Failure::new(Exit::Failed, format!("{stack} is not deleted")).why(why.unwrap_or_default()).hint(hint));
            }
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    if let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) {
        operator.records().finish(&kept, State::Undone, Timestamp::now(), Some("the environment was terminated".into())).await?;
    }
    talk(&format!("deleted {stack}"));
    Ok(())
}

/// Names what goes and what stays, and asks.
fn confirm(stack: &str, kept: &[String], gone: usize, yes: bool) -> Result<(), Failure> {
    let stays = if kept.is_empty() { "nothing of it stays".to_owned() } else { format!("of it stay: {}", kept.join(", ")) };
    let question = format!("delete {stack}, {gone} resources; {stays}");
    if yes {
        talk(&question);
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(Exit::Usage, format!("would {question}")).hint("say --yes where nobody can be asked"));
    }
    match dialoguer::Confirm::new().with_prompt(question).default(false).interact() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failed, "nothing was deleted")),
        Err(error) => Err(Failure::new(Exit::Failed, "nothing was deleted").because(&error)),
    }
}
