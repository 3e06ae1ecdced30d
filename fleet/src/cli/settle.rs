//! Deployments that have ended with nobody watching: whoever comes next writes down how.

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

/// How a deployment stands of which nobody has seen the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    GoesOn,
    Ended,
    /// And so has its change of fleet.yaml.
    EndedWithFile,
}

/// Writes down how a deployment has ended whose end nobody has seen.
pub(super) async fn settled(operator: &Operator, account: &Account, kept: &Kept) -> Result<Settled, Failure> {
    let (witness, watcher) = (Reader::new(operator, &account.evidence), Watcher::back(operator));
    let Some(record) = conductor(operator, &witness, &watcher).settle(kept, &operator.stack()).await? else { return Ok(Settled::GoesOn) };
    talk(&record.told());
    keep(operator).await;
    let has_file = edit::undo(operator, record.number).await;
    Ok(if has_file { Settled::EndedWithFile } else { Settled::Ended })
}

/// The deployment that goes on. One that has ended with nobody watching is written down first.
pub(super) async fn still_under_way(operator: &Operator) -> Result<Option<Kept>, Failure> {
    let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) else { return Ok(None) };
    let account = operator.account(&operator.aws.caller().await?).await?;
    let settled = settled(operator, &account, &kept).await?;
    Ok(Some(kept).filter(|_| settled == Settled::GoesOn))
}

/// Whoever sees deployments through.
pub(super) fn conductor<'a>(
    operator: &'a Operator,
    witness: &'a Reader<'a>,
    tell: &'a Watcher<'a>,
) -> Conductor<'a, Bucket, CloudFormation, Reader<'a>, Watcher<'a>, Operator> {
    Conductor { records: operator.records(), stacks: &operator.stacks, witness, tell, instances: operator, environment: operator.called() }
}
