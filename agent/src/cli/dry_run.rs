//! `ingot dry-run`: arguments and output. The dry run itself is in [`rehearse`](crate::rehearse).

use std::path::PathBuf;

use crate::boot::Ending;
use crate::cli::output::{self, data, talk};
use crate::exit::Exit;
use crate::host::environment::Environment;
use crate::rehearse::{Refusal, Request, rehearse};

/// Rehearse a boot: needs no root and no network, and changes nothing outside --out
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are merged as layers, the last one on top; - is standard input
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
    /// YAML file of facts and outputs, in the shape of references
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// Write the rendered files below this directory, and run their `check:`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show how the rendered files differ from those below this directory
    #[arg(long, value_name = "DIR")]
    diff: Option<PathBuf>,
    /// Read real secrets with your own AWS credentials; show redacted diffs only
    #[arg(long, conflicts_with = "out")]
    live: bool,
    /// Show what the unpacked release in this directory would run, and its mistakes
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let Args { documents, facts, out, diff, live, release } = args;
    let rehearsal = match rehearse(&Request { documents, facts, out, diff, live, release }, environment).await {
        Ok(rehearsal) => rehearsal,
        Err(refusal) => {
            let (exit, message) = match refusal {
                Refusal::Usage(message) => (Exit::Usage, message),
                Refusal::Document(message) => (Exit::Document, message),
                Refusal::Unreachable(message) => (Exit::Unreachable, message),
                Refusal::Failed(message) => (Exit::Failed, message),
            };
            talk(&message);
            return exit;
        }
    };
    if json {
        output::json(&rehearsal.json());
    } else {
        data(&rehearsal.text());
        rehearsal.notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    if rehearsal.has_mistakes() {
        return Exit::Document;
    }
    match rehearsal.ending() {
        Ending::Failed => Exit::Failed,
        Ending::Unreachable => Exit::Unreachable,
        _ => Exit::Done,
    }
}
