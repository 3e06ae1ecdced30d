//! Keeps an environment frozen: CloudFormation suspends processes during an update, and resumes them at its end.

use super::operator::Operator;
use super::output::talk;
use crate::aws::groups::Group;
use crate::deployment::freeze::Freeze;
use crate::failure::Failure;

/// Suspends the processes that still run in the groups of a frozen environment.
pub(super) async fn suspend(operator: &Operator, groups: &[Group], freeze: &Freeze) -> Result<(), Failure> {
    for group in groups {
        let going_on = freeze.going_on(&group.suspended);
        if !going_on.is_empty() {
            operator.groups.suspend(&group.name, &going_on).await?;
        }
    }
    Ok(())
}

/// Suspends the processes again that an update has resumed, and those of a group that the update created. A failure is
/// only a warning: the deployment's result counts.
pub(super) async fn keep(operator: &Operator) {
    if let Err(failure) = suspend_again(operator).await {
        let name = operator.called();
        talk(&format!(
            "warning: {}; `ingot-fleet status {name}` shows whether it is frozen, and which processes still run",
            failure.sentence()
        ));
    }
}

async fn suspend_again(operator: &Operator) -> Result<(), Failure> {
    let Some(freeze) = operator.freezes().in_force().await? else { return Ok(()) };
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    suspend(operator, &groups, &freeze).await?;
    talk(&format!("{}, and stays frozen", freeze.told(operator.name())));
    Ok(())
}
