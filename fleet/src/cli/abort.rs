//! `ingot-fleet abort`: the deployment that is under way is ended, and everything becomes as before.

use std::path::Path;

use jiff::Timestamp;

use super::carry;
use super::operator::Operator;
use super::output::talk;
use crate::aws::stacks::Stacks as _;
use crate::deployment::course::Operation;
use crate::deployment::record::State;
use crate::exit::Exit;
use crate::failure::Failure;

/// End the deployment that is under way: CloudFormation goes back to what ran before
///
/// Ends when everything is as before, with exit code 0. A creation cannot be ended so: use `terminate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment
    #[arg(value_name = "ENV")]
    environment: String,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::of(file, &args.environment).await?;
    let name = operator.name();
    let Some(kept) = operator.newest().await?.filter(|kept| kept.record.state == State::UnderWay) else {
        talk(&format!("no deployment of {name} is under way: nothing to end"));
        return Ok(());
    };
    talk(&kept.record.told());
    let stack = operator.stack();
    let standing = operator.stacks.standing(&stack).await?;
    let token = standing.as_ref().and_then(|standing| standing.token.clone());
    if token == Some(Operation::Create.token(&kept.record)) {
        return Err(Failure::new(Exit::Usage, format!("{name} is being created, and CloudFormation does not let a creation be ended"))
            .hint(format!("run `ingot-fleet terminate {name}`, which removes it")));
    }
    let began = [Operation::SetPolicy, Operation::SetRelease].map(|operation| Some(operation.token(&kept.record)));
    if !began.contains(&token) {
        // Nothing was ordered yet, or was taken up by anybody.
        operator.records().finish(&kept, State::Undone, Timestamp::now(), None).await?;
        talk(&format!("deployment {} had replaced nothing yet; it is undone", kept.record.number));
        return Ok(());
    }
    if operator.stacks.cancel(&stack).await? {
        talk("going back");
    }
    carry::see_undone(&operator, file, kept, as_json).await
}
