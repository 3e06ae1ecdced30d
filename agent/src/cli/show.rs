//! `ingot show`: the merged document, each key with the layer it is from.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use crate::boot::{self, Audience, Ending, Ground, Request, Stop, UserData};
use crate::cli::output::{self, data, talk};
use crate::cli::root::Root;
use crate::document::error::DocumentError;
use crate::document::source::Layers;
use crate::document::{include, show};
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::environment::{Environment, absolute};
use crate::host::files::DiskFiles;
use crate::rehearse::prepare::{self, Read};
use crate::report::Report;
use crate::report::event::Listener;

/// How long to wait for includes. A person waits at a terminal, so it is far less than in a boot.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Show the merged document, each key with the layer it is from
///
/// The output is itself a boot document. Without DOCUMENT, it is the document in force on this instance: the layers of
/// the image, user data and what they include, and the release of `ingot boot --release`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Boot documents to merge as layers, the last one on top; - is standard input
    #[arg(value_name = "DOCUMENT")]
    documents: Vec<PathBuf>,
    /// Directory of the image's layers [default: /etc/ingot/boot.d without DOCUMENT, none with it]
    #[arg(long, value_name = "DIR")]
    layers: Option<PathBuf>,
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args, json: bool, environment: &Environment) -> Exit {
    let layers = match args.documents.is_empty() {
        true => in_force(args, environment).await,
        false => Ok(of_documents(args).await),
    };
    let (mut layers, notes) = match layers {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    if !layers.mistakes.is_empty() {
        talk(&DocumentError::new(std::mem::take(&mut layers.mistakes), layers.sources).to_string());
        return Exit::Document;
    }
    let Some(document) = show::merged(layers) else {
        talk("no boot document\n  hint: name one, or put layers into /etc/ingot/boot.d");
        return Exit::Failed;
    };
    if json {
        output::json(&json!({ "version": 1, "document": show::json(&document), "origins": show::origins(&document), "notes": notes }));
    } else {
        data(&show::yaml(&document));
        notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    Exit::Done
}

/// The layers and documents that were given, without what they include.
async fn of_documents(args: Args) -> (Layers, Vec<String>) {
    // Not read below a root: layers and documents of the command line are never part of it, as in a boot.
    let files = DiskFiles::new(None);
    let mut layers = Layers::default();
    if let Some(directory) = &args.layers {
        layers.add_named_directory(&absolute(directory), &files).await;
    }
    let Read { layers: given, unmarked, misspelled } = prepare::read(&args.documents, &files).await;
    layers.nodes.extend(given.nodes);
    layers.sources.extend(given.sources);
    layers.mistakes.extend(given.mistakes);
    let mut notes = std::mem::take(&mut layers.passed_over);
    notes.extend(unmarked);
    notes.extend(misspelled.map(|mistake| DocumentError::warnings(vec![mistake], layers.sources.clone()).lines()).into_iter().flatten());
    notes.extend(include::set_aside(&mut layers));
    (layers, notes)
}

/// The document that a boot of this instance would use.
async fn in_force(args: Args, environment: &Environment) -> Result<(Layers, Vec<String>), Exit> {
    let request = Request {
        user_data: UserData::Metadata,
        layers: args.layers.as_deref().map(absolute),
        only: Vec::new(),
        release: None,
        deadline: READ_WITHIN,
        started_by_systemd: false,
    };
    let ground = Ground::this_machine(args.root.root, environment.aws.clone());
    let stop = match boot::in_force(request, ground, Rc::new(Reader)).await {
        Ok(found) => return Ok(found),
        Err(stop) => stop,
    };
    let why = match stop {
        Stop::Failed(why) | Stop::Asked(why) | Stop::Superseded(why) => why,
        Stop::Refused(message) => Explanation::new(message, None),
        Stop::AlreadyDone => return Err(Exit::Failed),
        Stop::Document(error) | Stop::Release(error) => {
            talk(&error.to_string());
            return Err(Exit::Document);
        }
    };
    talk(&why.to_string());
    Err(if why.unreachable { Exit::Unreachable } else { Exit::Failed })
}

/// Prints what reading the document waits for.
struct Reader;

impl Audience for Reader {
    fn listeners(&self) -> Vec<Box<dyn Listener>> {
        Vec::new()
    }

    fn say(&self, line: &str) {
        talk(line);
    }

    fn mistakes(&self, _: &DocumentError) {}

    fn failed(&self, _: &Explanation) {}

    fn over(&self, _: &Report, _: &Ending) {}
}
