//! `ingot check`: every mistake of a document at once.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::{data, prepare};
use crate::exit::Exit;
use crate::host::files::DiskFiles;

/// Find every mistake of a document
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents; several are layers, the last one on top
    #[arg(required = true, value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, json: bool) -> Exit {
    let (exit, text, value) = match prepare::plan(&args.documents, &DiskFiles::new(None)).await {
        Ok(plan) => {
            let text = format!("no mistakes in {} step{}", plan.nodes.len(), if plan.nodes.len() == 1 { "" } else { "s" });
            (Exit::Done, text, json!({ "mistakes": [] }))
        }
        Err(error) => (Exit::Document, error.to_string(), json!({ "mistakes": error.entries() })),
    };
    data(&if json { value.to_string() } else { text });
    exit
}
