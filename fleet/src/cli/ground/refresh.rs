//! Checks what the regular replacement of instances requires, and that none is under way.

use jiff::Timestamp;

use crate::cli::advice::advised;
use crate::cli::operator::{ACCOUNT, Operator};
use crate::cli::output::talk;
use crate::deployment::course::Standing;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::Account;
use crate::story::Refresh;

/// Refuses a schedule that the service role may not create, unless the environment already has it. CloudFormation
/// creates a schedule after it has updated the group, so it would notice late.
pub(super) fn is_allowed(operator: &Operator, standing: Option<&Standing>, account: &Account) -> Result<(), Failure> {
    let Some(wanted) = operator.environment().settings.refresh else { return Ok(()) };
    let is_there = standing.and_then(|standing| standing.parameter("Refresh")) == Some(wanted.expression());
    if account.has_schedules || is_there {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("cannot refresh {}: the stack {ACCOUNT} does not allow schedules yet", operator.name()))
        .hint("update it with the template of this release, as docs/fleet/account.md shows, or remove `refresh` from fleet.yaml"))
}

/// Refuses to deploy while an instance refresh is under way. A rolling update suspends it, but not the instance that it
/// has just launched: with the boot of that one, which runs the present release, CloudFormation would count a signal
/// too many, and go on before the new release serves.
pub(in crate::cli) async fn is_over(operator: &Operator, standing: Option<&Standing>) -> Result<(), Failure> {
    let Some(group) = standing.and_then(|standing| standing.output("Group")) else { return Ok(()) };
    let asked = operator.groups.refreshes(group, Timestamp::now());
    let found = advised("whether an instance refresh is under way is not known", asked).await?;
    found.and_then(|found| found.into_iter().find(|one| one.ended.is_none())).map_or(Ok(()), |one| Err(busy(operator.name(), group, &one)))
}

/// Notes an instance refresh that is under way, which does not stop the command.
pub(in crate::cli) async fn note(operator: &Operator, standing: Option<&Standing>) {
    if let Err(failure) = is_over(operator, standing).await {
        talk(&format!("note: {failure}"));
    }
}

fn busy(name: &str, group: &str, refresh: &Refresh) -> Failure {
    Failure::new(Exit::Failed, format!("cannot deploy to {name} yet"))
        .why(format!("the instance refresh of {group} that began at {:.0} is {}", refresh.at, refresh.status))
        .hint(format!(
            "run the same command again when it has ended, or end it with \
             `aws autoscaling cancel-instance-refresh --auto-scaling-group-name {group}`"
        ))
}
