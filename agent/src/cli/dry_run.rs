//! `ingot dry-run`: arguments and output. The dry run itself is in [`rehearse`](crate::rehearse).

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueHint;

use crate::boot::Ending;
use crate::cli::output::{self, canvas, drawn, talk};
use crate::exit::Exit;
use crate::host::environment::Environment;
use crate::rehearse::{Facts, Request, rehearse};

/// Rehearse a boot: needs no root and no network, and changes nothing outside --out
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are merged as layers, the last one on top; - is standard input
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
    /// YAML file of facts and outputs, in the shape of references; with --live also imds, the facts of this instance
    #[arg(long, value_name = "imds|FILE", value_hint = ValueHint::FilePath)]
    facts: Option<Source>,
    /// Write the rendered files below this directory, and run their `check:`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show how the rendered files differ from those below this directory
    #[arg(long, value_name = "DIR")]
    diff: Option<PathBuf>,
    /// Exit with 3 if a file differs from the one below --diff
    #[arg(long, requires = "diff")]
    detailed_exit_code: bool,
    /// Read real secrets with your own AWS credentials, or the role of this instance; show redacted diffs only
    #[arg(long, conflicts_with = "out")]
    live: bool,
    /// Show what the unpacked release in this directory would run, and its mistakes
    #[arg(long, value_name = "DIR")]
    release: Option<PathBuf>,
}

/// The source of the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source(Facts);

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(if text == "imds" { Facts::Metadata } else { Facts::File(text.into()) }))
    }
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let Args { documents, facts, out, diff, detailed_exit_code, live, release } = args;
    let facts = facts.map_or(Facts::Unset, |Source(facts)| facts);
    let rehearsal = match rehearse(&Request { documents, facts, out, diff, live, release }, environment).await {
        Ok(rehearsal) => rehearsal,
        Err(refusal) => {
            if json {
                output::json(&refusal.json());
            } else {
                talk(&refusal.to_string());
            }
            return refusal.exit();
        }
    };
    if json {
        output::json(&rehearsal.json());
    } else {
        let canvas = canvas(environment);
        drawn(&canvas.draw(&rehearsal.lines(canvas.width)));
        rehearsal.notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    if rehearsal.has_mistakes() {
        return Exit::Document;
    }
    match rehearsal.ending() {
        Ending::Failed => Exit::Failed,
        Ending::Unreachable => Exit::Unreachable,
        _ if detailed_exit_code && rehearsal.differs() => Exit::Differs,
        _ => Exit::Done,
    }
}
