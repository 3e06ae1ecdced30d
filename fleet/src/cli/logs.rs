//! `ingot-fleet logs`: the evidence of instances that are gone, and the journal of running ones.

mod failed;
mod living;

use std::path::Path;

use comfy_table::{ContentArrangement, Table};
use serde_json::json;

use self::failed::Failed;
use self::living::Wanted;
use super::operator::{Operator, Whose};
use super::output::{self, data};
use super::reader::Reader;
use crate::failure::Failure;

/// How many failed boots the overview lists.
const LISTED: usize = 20;

/// Show the evidence of failed boots, and the journal of running instances
///
/// Without INSTANCE and --failed, lists the instances and the evidence. With INSTANCE, shows how it booted, and its
/// journal, with the document ingot-logs of Run Command. The journal is printed as it is: secrets that programs print
/// appear in it, and in the history of Run Command.
///
/// Needs permission for cloudformation:DescribeStacks and DescribeStackEvents, autoscaling:DescribeAutoScalingGroups,
/// ec2:DescribeInstances, s3:ListBucket and s3:GetObject; for running instances ssm:SendCommand and
/// ssm:GetCommandInvocation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whose: Whose,
    /// Instance
    #[arg(value_name = "INSTANCE", value_parser = instance)]
    instance: Option<String>,
    /// Show the evidence that failed boots left, including that of instances that are gone
    #[arg(long)]
    failed: bool,
    /// How many failed boots to show, newest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    last: u16,
    /// How many lines of the journal to show, for each unit of a failed boot or for a running instance
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=9999))]
    lines: u16,
    /// Unit of a running instance whose journal to show, such as shop.service or 'shop.*'
    #[arg(long, value_name = "UNIT", default_value = "*", value_parser = unit)]
    unit: String,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let operator = Operator::at(file, &args.whose).await?;
    let account = operator.account(&operator.aws.caller().await?).await?;
    let reader = Reader::new(&operator, &account.evidence);
    match (&args.instance, args.failed) {
        (instance, true) => {
            let failed = Failed::find(&operator, &reader, instance.as_deref(), usize::from(args.last)).await?;
            failed.print(&operator, usize::from(args.lines), as_json);
            Ok(())
        }
        (Some(instance), false) => {
            living::ask(&operator, &reader, instance, &Wanted { unit: &args.unit, lines: args.lines }, as_json).await
        }
        (None, false) => overview(&operator, &reader, as_json).await,
    }
}

/// Lists what can be shown, and how.
async fn overview(operator: &Operator, reader: &Reader<'_>, as_json: bool) -> Result<(), Failure> {
    let (name, called) = (operator.name(), operator.called());
    let groups = operator.groups.of(&operator.place.application, name).await?;
    let mut members: Vec<_> = groups.into_iter().flat_map(|group| group.members).collect();
    members.sort();
    let failed = Failed::find(operator, reader, None, LISTED).await?;
    if as_json {
        let living = members.iter().map(|one| json!({ "id": one.id, "zone": one.zone, "state": one.state }));
        output::json(&json!({
            "version": 1, "environment": name, "instances": living.collect::<Vec<_>>(), "evidence": failed.listed(),
            "is_cut": failed.is_cut,
        }));
        return Ok(());
    }
    let mut lines = Vec::new();
    if members.is_empty() {
        lines.push(format!("{name} has no instances"));
    } else {
        lines.push(format!("Instances of {name}: `ingot-fleet logs {called} INSTANCE` shows the journal of one"));
        lines.extend(table(members.into_iter().map(|one| [one.id, one.zone, one.state])));
    }
    if failed.found.is_empty() {
        lines.push("No failed boot has left evidence".to_owned());
    } else {
        lines.push(format!(
            "Failed boots, newest first: `ingot-fleet logs {called} --failed` shows them; add an instance to see only its boots"
        ));
        lines.extend(table(failed.rows()));
        lines.extend(failed.is_cut.then(|| "Older ones are not listed.".to_owned()));
    }
    data(&lines.join("\n"));
    Ok(())
}

fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    rows.for_each(|row| {
        table.add_row(row);
    });
    table.lines().map(|line| format!("  {}", line.trim())).collect()
}

fn instance(text: &str) -> Result<String, String> {
    let is_id = text.strip_prefix("i-").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_id { Ok(text.to_owned()) } else { Err("expected the ID of an instance, such as i-0a1b2c3d4e5f60718".to_owned()) }
}

/// Accepts only what the document ingot-logs accepts.
fn unit(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@*-".contains(&byte);
    let is_unit = (1..=100).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_plain);
    if is_unit { Ok(text.to_owned()) } else { Err("expected the name of a unit, or a pattern such as shop.*".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_document_would_refuse_is_not_sent() {
        assert!(["*", "shop.service", "ingot-watch@shop.timer", "shop.web-1.service"].iter().all(|name| unit(name).is_ok()));
        for name in ["", "-u", "a b", "a'b", "a;b", "$(reboot)", "a\n", &"a".repeat(101)] {
            assert!(unit(name).is_err(), "{name:?}");
        }
        assert!(instance("i-0a1b").is_ok() && instance("i-").is_err() && instance("prod").is_err() && instance("i-0a;reboot").is_err());
    }
}
