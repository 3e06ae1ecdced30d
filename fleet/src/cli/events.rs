//! `ingot-fleet events`: what happened to an environment, told in order.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use super::operator::{Operator, Whose};
use super::output::{self, data, talk};
use super::paint::on_a_line;
use super::reader::Reader;
use super::subject::Pace;
use crate::aws::stacks::Stacks as _;
use crate::deployment::record::{Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Length;
use crate::story::{Cause, Deployment, Happened, Line, cause, tale};

/// How often AWS is asked with --follow.
const PAUSE: Duration = Duration::from_secs(2);

/// How far back events that have begun may still change, and evidence may still arrive.
const CHANGING: SignedDuration = SignedDuration::from_hours(2);

/// Show what happened to an environment: its stack, its group, its instances, and the cause of a failure
///
/// Needs permission for cloudformation:DescribeStacks and DescribeStackEvents, autoscaling:DescribeAutoScalingGroups,
/// DescribeScalingActivities and DescribeInstanceRefreshes, elasticloadbalancing:DescribeTargetHealth,
/// ec2:DescribeInstances, s3:ListBucket and s3:GetObject.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// How far back to look, such as 7d [default: since the newest deployment began]
    #[arg(long, value_name = "TIME", value_parser = super::patience::length)]
    since: Option<Length>,
    /// Continue until interrupted. With --json, print one object per line
    #[arg(long)]
    follow: bool,
    /// Print only the events of the stack, in CloudFormation's words
    #[arg(long, conflicts_with = "follow")]
    raw: bool,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let newest = operator.newest().await?.map(|kept| kept.record);
    let since = match args.since {
        Some(length) => Timestamp::now() - SignedDuration::from_secs(i64::try_from(length.0).unwrap_or(i64::MAX)),
        None => newest.as_ref().map_or(Timestamp::UNIX_EPOCH, |record| record.began),
    };
    if operator.standing().await?.is_none() {
        let list = if operator.has_file() { "list".to_owned() } else { format!("list --application {}", operator.place.application) };
        let failure = Failure::new(Exit::Usage, format!("there is no stack {}", operator.stack()));
        return Err(failure.hint(format!("run `ingot-fleet {list}` to see what exists")));
    }
    if args.raw {
        return raw(&operator, since, as_json).await;
    }
    let account = operator.account(&operator.aws.caller().await?).await?;
    let reader = Reader::new(&operator, &account.evidence);
    if args.follow {
        return follow(&operator, &reader, since, as_json).await;
    }
    let happened = look(&operator, &reader, since, Happened::default(), None).await?;
    let story = tale(&happened, &operator.stack());
    let cause = newest.as_ref().and_then(|record| why(record, &happened));
    if as_json {
        let (name, stack) = (operator.name(), operator.stack());
        output::json(&json!({
            "version": 1, "environment": name, "stack": stack, "events": happened.events, "story": story, "deployment": newest,
            "cause": cause,
        }));
        return Ok(());
    }
    if story.is_empty() {
        talk("nothing has happened since then");
    } else {
        data(&story.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    if let Some(record) = newest {
        data(&end(&record, cause.as_deref()));
    }
    Ok(())
}

/// Adds what happened since then to what was known at the last look, `looked`. Known events are not read again, unless
/// they may have changed.
async fn look(
    operator: &Operator,
    reader: &Reader<'_>,
    since: Timestamp,
    mut known: Happened,
    looked: Option<Timestamp>,
) -> Result<Happened, Failure> {
    let stack = operator.stack();
    let newest = known.events.last().map_or(since, |event| event.at);
    let changing = looked.and_then(|at| at.checked_sub(CHANGING).ok()).map_or(since, |at| at.max(since));
    let (events, groups, evidence) =
        tokio::join!(operator.stacks.events(&stack, newest), reader.groups_since(changing), reader.evidence_since(changing));
    let events: Vec<_> = events?.into_iter().filter(|event| !known.events.contains(event)).collect();
    known.take(Happened { events, ..groups });
    Ok(Happened { evidence, ..known })
}

/// Why a deployment failed, or is going to fail.
fn why(record: &Record, happened: &Happened) -> Option<String> {
    match record.state {
        State::Good => None,
        State::UnderWay => cause(happened, &Deployment::of(record)).as_ref().map(Cause::sentence).map(str::to_owned),
        State::Failed | State::Undone => record.cause.clone(),
    }
}

/// The state of a deployment, with its cause.
fn end(record: &Record, cause: Option<&str>) -> String {
    cause.map_or_else(|| record.told(), |cause| format!("{}\n  cause: {cause}", record.told()))
}

fn line(line: &Line) -> String {
    format!("{}  {}", line.at.strftime("%Y-%m-%dT%H:%M:%SZ"), line.said)
}

/// Prints what happens as it happens, until the process is interrupted or nobody reads its output any more.
async fn follow(operator: &Operator, reader: &Reader<'_>, since: Timestamp, as_json: bool) -> Result<(), Failure> {
    let (mut told, mut happened, mut ended) = (BTreeSet::new(), Happened::default(), None);
    let (mut is_silent, mut looked_at) = (false, None);
    let mut pace = Pace::new(PAUSE);
    while output::is_read() {
        let now = Timestamp::now();
        let looked = tokio::try_join!(look(operator, reader, since, happened.clone(), looked_at), operator.newest());
        let newest = match looked {
            Ok((found, newest)) => {
                (happened, is_silent, looked_at) = (found, false, Some(now));
                pace.answered();
                newest.map(|kept| kept.record)
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                pace.silent();
                if !std::mem::replace(&mut is_silent, true) {
                    talk(&format!("{}; retrying", failure.sentence()));
                }
                None
            }
            Err(failure) => return Err(failure),
        };
        for one in tale(&happened, &operator.stack()) {
            if told.insert((one.at, one.said.clone())) {
                match as_json {
                    true => output::json(&one),
                    false => data(&line(&one)),
                }
            }
        }
        if let Some(record) = newest.filter(|record| record.state != State::UnderWay && ended.replace(record.number) != Some(record.number))
        {
            match as_json {
                true => output::json(&json!({ "deployment": record })),
                false => data(&end(&record, record.cause.as_deref())),
            }
        }
        sleep(pace.pause).await;
    }
    Ok(())
}

/// Prints the events of the stack only.
async fn raw(operator: &Operator, since: Timestamp, as_json: bool) -> Result<(), Failure> {
    let (name, stack) = (operator.name(), operator.stack());
    let events = operator.stacks.events(&stack, since).await?;
    if as_json {
        output::json(&json!({ "version": 1, "environment": name, "stack": stack, "events": events }));
    } else if events.is_empty() {
        talk("nothing has happened since then");
    } else {
        let lines = events.iter().map(|event| {
            let reason = event.reason.as_deref().map(|reason| format!("  {}", on_a_line(reason))).unwrap_or_default();
            format!("{}  {}  {}{reason}", event.at, event.resource, event.status)
        });
        data(&lines.collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}
