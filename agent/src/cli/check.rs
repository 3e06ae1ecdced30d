//! `ingot check`: every mistake of a document at once.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{self, data, talk};
use crate::exit::Exit;
use crate::host::files::DiskFiles;
use crate::rehearse::prepare::{self, Prepared};

/// Report every error of a document
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are merged as layers, the last one on top
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, json: bool) -> Exit {
    let prepared = prepare::plan(&args.documents, &DiskFiles::new(None), None).await;
    let Prepared { plan, unread } = prepared.expect("without AWS, there is nothing that could not be read");
    let (mistakes, missing) = match plan {
        Ok(plan) if unread.is_empty() => {
            let text = format!("no mistakes in {} step{}", plan.nodes.len(), if plan.nodes.len() == 1 { "" } else { "s" });
            if json {
                output::json(&json!({ "mistakes": [] }));
            } else {
                data(&text);
            }
            return Exit::Done;
        }
        Ok(_) => (None, Vec::new()),
        Err(error) if unread.is_empty() => (Some(error), Vec::new()),
        // What is missing may be in what was not read.
        Err(error) => error.without_what_may_come(),
    };
    let missing = missing.into_iter().map(|mistake| match mistake.place {
        Some(place) => format!("{place}: {}, unless what was not read brings it", mistake.message),
        None => mistake.message,
    });
    let notes: Vec<String> = unread.into_iter().chain(missing).collect();
    match (&mistakes, json) {
        (Some(error), false) => data(&error.to_string()),
        (None, false) => data("no mistakes in what was read"),
        (mistakes, true) => {
            let entries = mistakes.as_ref().map(|error| error.entries()).unwrap_or_default();
            output::json(&json!({ "mistakes": entries, "notes": notes }));
        }
    }
    if !json {
        notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    if mistakes.is_some() { Exit::Document } else { Exit::Done }
}
