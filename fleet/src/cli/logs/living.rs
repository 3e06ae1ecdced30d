//! Asks a running instance, with the document ingot-logs of Run Command.

use serde_json::json;

use super::super::operator::Operator;
use super::super::output::{self, data, talk};
use super::super::reader::Reader;
use crate::aws::commands::{self, KEPT, Printed};
use crate::aws::instances;
use crate::exit::Exit;
use crate::failure::Failure;

/// The document, which fleet/templates/account.yaml creates.
const DOCUMENT: &str = "ingot-logs";

/// What the document prints between the status and the journal.
const BETWEEN: &str = "--- journal";

/// How many bytes of the journal the document prints at most, the newest ones.
const OF_JOURNAL: usize = 20_000;

/// The part of the journal to request.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) unit: &'a str,
    pub(super) lines: u16,
}

/// The answer of an instance.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: String,
    journal: Vec<String>,
    /// Whether older lines did not fit.
    is_cut: bool,
}

pub(super) async fn ask(
    operator: &Operator,
    reader: &Reader<'_>,
    instance: &str,
    wanted: &Wanted<'_>,
    as_json: bool,
) -> Result<(), Failure> {
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    if !groups.iter().flat_map(|group| &group.members).any(|member| member.id == instance) {
        return Err(not_there(operator, reader, instance).await?);
    }
    let lines = wanted.lines.to_string();
    let parameters = [("unit", wanted.unit), ("lines", lines.as_str())];
    let printed = commands::run(&operator.aws, DOCUMENT, &parameters, instance).await?;
    let Some(said) = Said::of(&printed) else {
        let why = match (printed.code, printed.stderr.trim()) {
            (Some(code), "") => format!("exit code {code}"),
            (_, stderr) => stderr.to_owned(),
        };
        return Err(Failure::new(Exit::Failed, format!("{instance} did not report its status and its journal"))
            .why(why)
            .hint("check that the image has systemd's journal, and update the stack ingot-account if it is older than ingot-fleet"));
    };
    if as_json {
        output::json(&json!({
            "version": 1, "environment": operator.name(), "instance": instance, "unit": wanted.unit, "status": said.status,
            "journal": said.journal, "journal_is_cut": said.is_cut,
        }));
        return Ok(());
    }
    data(&said.status);
    match said.journal.is_empty() {
        true => talk(&format!("the journal of this boot has no lines of {}", wanted.unit)),
        false => data(&said.journal.join("\n")),
    }
    if said.is_cut {
        talk(&format!(
            "older lines are left out: Run Command keeps {KEPT} characters\n  hint: name a unit with --unit, or see the whole journal with \
             `aws ssm start-session --target {instance}`, then `journalctl -b`"
        ));
    }
    Ok(())
}

impl Said {
    /// `None` if the output is not that of the document.
    fn of(printed: &Printed) -> Option<Self> {
        let (status, journal) = printed.stdout.split_once(&format!("{BETWEEN}\n"))?;
        let is_full = journal.len() >= OF_JOURNAL || printed.stdout.chars().count() >= KEPT;
        let mut lines: Vec<String> = journal.lines().map(str::to_owned).collect();
        // The beginning of the first line may be missing.
        if is_full && !lines.is_empty() {
            lines.remove(0);
        }
        Some(Self { status: status.trim_end().to_owned(), journal: lines, is_cut: is_full })
    }
}

/// The error about an instance that the environment does not have now.
async fn not_there(operator: &Operator, reader: &Reader<'_>, instance: &str) -> Result<Failure, Failure> {
    let (name, called) = (operator.name(), operator.called());
    let with_evidence = format!("ingot-fleet logs {called} {instance} --failed");
    let is_left = reader.left().has(instance).await?;
    let known = instances::instances(&operator.aws, &[instance]).await?.pop();
    let tag = |tag: &str| known.as_ref().and_then(|known| known.tags.get(&format!("ingot:{tag}"))).map(String::as_str);
    let is_ours = (tag("application"), tag("environment")) == (Some(operator.place.application.as_str()), Some(name));
    Ok(match (&known, is_left) {
        (Some(known), _) if !is_ours => {
            let whose = match (tag("environment"), tag("application")) {
                (Some(environment), Some(application)) => format!("it belongs to {environment} of {application}"),
                _ => format!("it is {}, and has no tags of an environment", known.state),
            };
            let failure = Failure::new(Exit::Usage, format!("{instance} is not an instance of {name}")).why(whose);
            failure.hint(format!("run `ingot-fleet logs {called}` to list the instances of {name}"))
        }
        (_, true) => {
            Failure::new(Exit::Usage, format!("{instance} is gone")).hint(format!("show the evidence that it left with `{with_evidence}`"))
        }
        (Some(known), false) => Failure::new(Exit::Usage, format!("{instance} is {}, and left no evidence of a failed boot", known.state))
            .hint(format!("run `ingot-fleet events {called}` to see what happened to it")),
        (None, false) => Failure::new(Exit::Usage, format!("{name} has no instance {instance}, and no evidence of it"))
            .hint(format!("run `ingot-fleet logs {called}` to list instances and evidence; EC2 forgets an instance an hour after its end")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stdout: &str) -> Option<Said> {
        Said::of(&Printed { stdout: stdout.into(), stderr: String::new(), code: Some(0) })
    }

    #[test]
    fn status_and_journal_are_told_apart() {
        let found = said("done in 3.2 s: 4 changed\n--- journal\n09:00 shop: a\n09:01 shop: b\n").unwrap();
        assert_eq!((found.status.as_str(), found.journal.len(), found.is_cut), ("done in 3.2 s: 4 changed", 2, false));
        assert_eq!(said("--- journal\n").unwrap().journal, Vec::<String>::new());
        assert_eq!(said("sh: ingot: not found\n"), None);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let journal = "0123456789 line\n".repeat(OF_JOURNAL / 16);
        assert!(journal.len() == OF_JOURNAL, "{}", journal.len());
        let found = said(&format!("done\n--- journal\n{journal}")).unwrap();
        assert!(found.is_cut && found.journal.len() == OF_JOURNAL / 16 - 1);
    }
}
