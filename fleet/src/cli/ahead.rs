//! What a deployment would change, by CloudFormation's own account: `plan` shows it, and `deploy` refuses to delete
//! data because of it.

use super::operator::Operator;
use super::output::talk;
use crate::conduct::Plan;
use crate::deployment::change::{Change, settle};
use crate::deployment::course::{Operation, Standing};
use crate::deployment::record::{Beginner, Goal, Record};
use crate::failure::Failure;
use crate::stack::{Differing, Stack, differing, refusal};

/// What the second update of a deployment would do. The first update only sets the policy and the sizes, and replaces
/// nothing.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) changes: Vec<Change>,
    pub(super) differing: Vec<Differing>,
    pub(super) refusal: Option<Failure>,
}

/// The record that a deployment would get, as far as its update depends on it.
pub(super) fn record(operator: &Operator, number: u64, goal: Goal, beginner: Beginner) -> Record {
    Record::begin(&operator.place.application, operator.name(), number, goal, beginner)
}

/// A deployment number that the stack has not had yet.
pub(super) fn number(standing: &Standing) -> u64 {
    // The parameter may hold anything: it can be edited by hand.
    standing.parameter("Deployment").and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) + 1
}

/// Asks CloudFormation for the changes, with a change set.
pub(super) async fn look(
    operator: &Operator,
    stack: &Stack,
    plan: &Plan<'_>,
    record: &Record,
    standing: &Standing,
) -> Result<Ahead, Failure> {
    let order = plan.order(Operation::SetRelease, record, Some(standing));
    let said = operator.stacks.changes(&order).await?;
    if let Some(left) = said.left {
        talk(&format!("warning: {}; the leftover change set does no harm, and the next plan deletes it", left.sentence()));
    }
    let mut changes = said.changes;
    settle(&mut changes, record.goal.policy);
    let differing = differing(stack, operator.environment(), &order.parameters, &order.kept, standing);
    let refusal = refusal(&changes, &differing, operator.environment());
    Ok(Ahead { changes, differing, refusal })
}

/// Refuses a deployment that would delete data. Data depends on the settings and on the template: if both are
/// unchanged, CloudFormation is not asked.
pub(super) async fn spares_data(
    operator: &Operator,
    stack: &Stack,
    plan: &Plan<'_>,
    record: &Record,
    standing: &Standing,
) -> Result<(), Failure> {
    let order = plan.order(Operation::SetRelease, record, Some(standing));
    let is_same = differing(stack, operator.environment(), &order.parameters, &order.kept, standing).is_empty();
    let template = plan.template.unwrap_or_default();
    if is_same && operator.stacks.template(&plan.stack).await?.trim_end() == template.trim_end() {
        return Ok(());
    }
    talk("the settings or the template have changed: asking CloudFormation whether the update would delete data");
    look(operator, stack, plan, record, standing).await?.refusal.map_or(Ok(()), Err)
}
