//! An instance that lives is asked: by the document ingot-logs of Run Command.

use serde_json::json;

use super::super::operator::Operator;
use super::super::output::{self, data, talk};
use super::super::reader::Reader;
use super::Args;
use crate::aws::commands::{self, KEPT, Printed};
use crate::exit::Exit;
use crate::failure::Failure;

/// The document; fleet/templates/account.yaml makes it.
const DOCUMENT: &str = "ingot-logs";

/// What the document prints between the status and the journal.
const BETWEEN: &str = "--- journal";

/// So many bytes of the journal the document prints at the most, the newest.
const OF_JOURNAL: usize = 20_000;

/// What an instance says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: String,
    journal: Vec<String>,
    /// Whether older lines did not fit.
    is_cut: bool,
}

pub(super) async fn ask(operator: &Operator, reader: &Reader<'_>, instance: &str, args: &Args, as_json: bool) -> Result<(), Failure> {
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    if !groups.iter().flat_map(|group| &group.members).any(|member| member.id == instance) {
        return Err(super::not_there(operator, reader, instance).await?);
    }
    let lines = args.lines.to_string();
    let parameters = [("unit", args.unit.as_str()), ("lines", lines.as_str())];
    let printed = commands::run(&operator.aws, DOCUMENT, &parameters, instance).await?;
    let Some(said) = Said::of(&printed) else {
        let why = match (printed.code, printed.stderr.trim()) {
            (Some(code), "") => format!("exit code {code}"),
            (_, stderr) => stderr.to_owned(),
        };
        return Err(Failure::new(Exit::Failed, format!("{instance} could not say how it is"))
            .why(why)
            .hint("the image has to have systemd's journal; update the stack ingot-account if its document is older than ingot-fleet"));
    };
    if as_json {
        output::json(&json!({
            "version": 1, "environment": operator.name(), "instance": instance, "unit": args.unit, "status": said.status,
            "journal": said.journal, "journal_is_cut": said.is_cut,
        }));
        return Ok(());
    }
    data(&said.status);
    match said.journal.is_empty() {
        true => talk(&format!("the journal of this boot has nothing of {}", args.unit)),
        false => data(&said.journal.join("\n")),
    }
    if said.is_cut {
        talk(&format!(
            "older lines are left out: Run Command keeps {KEPT} characters\n  hint: name a unit with --unit, or see all of it: \
             `aws ssm start-session --target {instance}`, then `journalctl -b`"
        ));
    }
    Ok(())
}

impl Said {
    /// `None` for what the document would not print.
    fn of(printed: &Printed) -> Option<Self> {
        let (status, journal) = printed.stdout.split_once(&format!("{BETWEEN}\n"))?;
        let is_full = journal.len() >= OF_JOURNAL || printed.stdout.chars().count() >= KEPT;
        let mut lines: Vec<String> = journal.lines().map(str::to_owned).collect();
        // The first one is what is left of a line.
        if is_full && !lines.is_empty() {
            lines.remove(0);
        }
        Some(Self { status: status.trim_end().to_owned(), journal: lines, is_cut: is_full })
    }
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
