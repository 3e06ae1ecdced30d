//! Settles deployments that ended unnoticed: the next command records how they ended.

use super::edit;
use super::keep::keep;
use super::operator::Operator;
use super::output::talk;
use super::reader::Reader;
use super::watch::Watcher;
use crate::aws::records::Kept;
use crate::aws::s3::Bucket;
use crate::aws::stacks::CloudFormation;
use crate::conduct::Conductor;
use crate::deployment::record::State;
use crate::failure::Failure;
use crate::stack::Account;

/// The state of a deployment whose end has not been recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    GoesOn,
    Ended,
    /// The deployment has ended, and its edit of fleet.yaml was reverted.
    EndedWithFile,
}

/// Records how a deployment ended, if it has ended unnoticed.
pub(super) async fn settled(operator: &Operator, account: &Account, kept: &Kept) -> Result<Settled, Failure> {
    let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::back(operator));
    let Some(record) = conductor(operator, &witness, &watcher).settle(kept, &operator.stack()).await? else { return Ok(Settled::GoesOn) };
    talk(&record.told());
    keep(operator).await;
    let has_file = edit::undo(operator, record.number).await;
    Ok(if has_file { Settled::EndedWithFile } else { Settled::Ended })
}

/// The deployment that is under way. One that has ended unnoticed is settled first.
pub(super) async fn still_under_way(operator: &Operator) -> Result<Option<Kept>, Failure> {
    let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) else { return Ok(None) };
    let account = operator.account(&operator.aws.caller().await?).await?;
    let settled = settled(operator, &account, &kept).await?;
    Ok(Some(kept).filter(|_| settled == Settled::GoesOn))
}

/// Carries deployments to their end.
pub(super) fn conductor<'a>(
    operator: &'a Operator,
    witness: &'a Reader<'a>,
    tell: &'a Watcher<'a>,
) -> Conductor<'a, Bucket, CloudFormation, Reader<'a>, Watcher<'a>, Operator> {
    Conductor { records: operator.records(), stacks: &operator.stacks, witness, tell, instances: operator, environment: operator.called() }
}
