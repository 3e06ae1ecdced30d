//! What keeps an environment frozen: CloudFormation suspends processes during an update, and resumes them at its end.

use super::operator::Operator;
use super::output::talk;
use crate::aws::groups::Group;
use crate::deployment::freeze::Freeze;
use crate::failure::Failure;

/// Suspends what goes on in groups although the environment is frozen.
pub(super) async fn suspend(operator: &Operator, groups: &[Group], freeze: &Freeze) -> Result<(), Failure> {
    for group in groups {
        let going_on = freeze.going_on(&group.suspended);
        if !going_on.is_empty() {
            operator.groups.suspend(&group.name, &going_on).await?;
        }
    }
    Ok(())
}

/// Suspends the processes again that an update has resumed, or that a group which it has made never had suspended. How the
/// deployment has ended counts all the same if that fails.
pub(super) async fn keep(operator: &Operator) {
    if let Err(failure) = suspend_again(operator).await {
        let name = operator.called();
        talk(&format!("warning: {}; `ingot-fleet status {name}` says whether it is frozen, and what goes on", failure.sentence()));
    }
}

async fn suspend_again(operator: &Operator) -> Result<(), Failure> {
    let Some(freeze) = operator.freezes().in_force().await? else { return Ok(()) };
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    suspend(operator, &groups, &freeze).await?;
    talk(&format!("{}, and stays so", freeze.told(operator.name())));
    Ok(())
}
