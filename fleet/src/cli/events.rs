//! `ingot-fleet events`: what happened to the stack of an environment.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::operator::{Operator, Whose};
use super::output::{self, data, talk};
use crate::aws::stacks::Stacks as _;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Length;

/// Show what happened to the stack of an environment, the oldest first
///
/// Asks AWS for cloudformation:DescribeStacks and DescribeStackEvents.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// From how long ago, such as 7d [default: since the newest deployment began]
    #[arg(long, value_name = "TIME", value_parser = super::patience::length)]
    since: Option<Length>,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let since = match args.since {
        Some(length) => Timestamp::now() - SignedDuration::from_secs(i64::try_from(length.0).unwrap_or(i64::MAX)),
        None => operator.newest().await?.map_or(Timestamp::UNIX_EPOCH, |kept| kept.record.began),
    };
    let stack = operator.stack();
    if operator.standing().await?.is_none() {
        return Err(Failure::new(Exit::Usage, format!("there is no stack {stack}")).hint("`ingot-fleet list` shows what there is"));
    }
    let events = operator.stacks.events(&stack, since).await?;
    if as_json {
        output::json(&json!({ "version": 1, "environment": operator.name(), "stack": stack, "events": events }));
    } else if events.is_empty() {
        talk("nothing has happened since then");
    } else {
        let lines = events.iter().map(|event| {
            let reason = event.reason.as_ref().map(|reason| format!("  {reason}")).unwrap_or_default();
            format!("{}  {}  {}{reason}", event.at, event.resource, event.status)
        });
        data(&lines.collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}
