//! `ingot-fleet abort`: stops the deployment that is under way, and restores what ran before it.

use std::path::Path;

use serde_json::json;

use super::carry;
use super::operator::{Operator, Whose};
use super::output::{self, talk};
use crate::deployment::course::Operation;
use crate::deployment::record::State;
use crate::exit::Exit;
use crate::failure::Failure;

/// Abort the deployment that is under way: CloudFormation rolls back to what ran before
///
/// Exits with code 0 when everything is as before, and with code 1 if it was too late and the deployment has succeeded.
/// A creation cannot be aborted: use `terminate`. Needs the permissions of the policies Reader and Deployer of
/// ingot-account.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let name = operator.name();
    let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) else {
        talk(&format!("no deployment of {name} is under way: nothing to abort"));
        if as_json {
            output::json(&json!({ "version": 1, "environment": name, "state": "unchanged" }));
        }
        return Ok(());
    };
    talk(&kept.record.told());
    let creates = Some(Operation::Create.token(&kept.record));
    if operator.standing().await?.is_some_and(|standing| standing.is_busy() && standing.token == creates) {
        return Err(Failure::new(Exit::Usage, format!("{name} is being created, and CloudFormation cannot abort the creation of a stack"))
            .hint(format!("run `ingot-fleet terminate {}` to delete it instead", operator.called())));
    }
    talk("aborting it");
    carry::see_undone(&operator, kept, as_json).await
}
