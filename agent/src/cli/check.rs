//! `ingot check`: reports every mistake of a document at once, and warnings if there are no mistakes.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{self, data, talk};
use crate::document::error::DocumentError;
use crate::exit::Exit;
use crate::host::files::DiskFiles;
use crate::rehearse::prepare::{self, Prepared};

/// Report every mistake in a document
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are merged as layers, the last one on top; - is standard input, a directory all layers
    /// in it
    #[arg(required_unless_present = "layers", value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
    /// Directory of the image's layers, which come before DOCUMENT
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, json: bool) -> Exit {
    let documents: Vec<PathBuf> = args.layers.into_iter().chain(args.documents).collect();
    let prepared = prepare::plan(&documents, &DiskFiles::new(None), None, None).await;
    let Prepared { plan, warnings, unread, passed_over, unmarked, .. } =
        prepared.expect("without AWS, there is nothing that could not be read");
    let whole = unread.is_empty();
    let mut due = Vec::new();
    let (steps, mistakes, missing) = match plan {
        Ok(plan) => {
            due.extend(plan.not_due.iter().map(|address| format!("{address} is not due: its `when:` is false")));
            due.extend(plan.open.iter().map(|(address, when)| format!("{address} is due if `{when}` is true")));
            (plan.nodes.len(), None, Vec::new())
        }
        Err(error) if whole => (0, Some(error), Vec::new()),
        Err(error) => {
            // What seems to be missing may be in a part that was not read.
            let (mistakes, missing) = error.without_what_may_come();
            (0, mistakes, missing)
        }
    };
    let missing = missing.into_iter().map(|mistake| match mistake.place {
        Some(place) => format!("{place}: {}, unless an unread document defines it", mistake.message),
        None => mistake.message,
    });
    let unmarked = unmarked.filter(|_| mistakes.is_none());
    let notes: Vec<String> = unread.into_iter().chain(passed_over).chain(missing).chain(unmarked).collect();
    // Warnings are only shown for a document without mistakes: correcting a mistake may change them.
    let warned = if mistakes.is_none() { warnings.entries() } else { Vec::new() };
    if json {
        let mut found = json!({ "mistakes": mistakes.as_ref().map(DocumentError::entries).unwrap_or_default() });
        if mistakes.is_some() || !whole || !notes.is_empty() || !due.is_empty() {
            found["notes"] = json!(notes.iter().chain(&due).collect::<Vec<_>>());
        }
        if !warned.is_empty() {
            found["warnings"] = json!(warned);
        }
        output::json(&found);
    } else {
        match &mistakes {
            Some(error) => data(&error.to_string()),
            None if warned.is_empty() => data(&lines(verdict(steps, whole), &due)),
            None => {
                let verdict = format!("{warnings}\n\n{}, {}", verdict(steps, whole), counted(warned.len(), "warning"));
                data(&lines(verdict, &due));
            }
        }
        notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    if mistakes.is_some() { Exit::Document } else { Exit::Done }
}

fn lines(verdict: String, more: &[String]) -> String {
    std::iter::once(verdict).chain(more.iter().cloned()).collect::<Vec<_>>().join("\n")
}

fn verdict(steps: usize, whole: bool) -> String {
    if whole { format!("no mistakes in {}", counted(steps, "step")) } else { "no mistakes in what was read".into() }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
