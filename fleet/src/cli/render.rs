//! `ingot-fleet render`: what an environment resolves to, before anything is uploaded or created.

use std::path::Path;

use ingot::desk::DocumentError;
use serde_json::{Map, Value as Json, json};

use crate::cli::input;
use crate::cli::output::{self, data, talk};
use crate::exit::Exit;
use crate::stack::{self, Given, Stack};

/// Show what an environment resolves to: stack parameters, boot document, user data
///
/// Nothing is read from AWS. Parameters that are known only at a deployment are shown as <…>. The user data has
/// placeholders of the same form for them, and for the names that AWS assigns.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment to show
    #[arg(value_name = "ENV")]
    environment: String,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Exit {
    let read = match input::sound(file) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let environment = match input::environment(&read.fleet, &args.environment) {
        Ok(environment) => environment,
        Err(exit) => return exit,
    };
    let (stack, found) = stack::of(&read.fleet, environment, input::directory(file)).await;
    let stack = match stack {
        Some(stack) if found.mistakes.is_empty() => stack,
        _ => {
            let sources = read.sources.into_iter().chain(found.sources).collect();
            talk(&DocumentError::new(found.mistakes, sources).to_string());
            return Exit::Document;
        }
    };
    let place = read.fleet.releases.place(&read.fleet.application);
    let place = place.url(&place.document(&args.environment, &stack.document.sha256));
    if as_json {
        output::json(&document(&stack, &place));
    } else {
        data(&text(&stack, &place));
    }
    found.notes.iter().for_each(|note| talk(&format!("note: {note}")));
    Exit::Done
}

fn shown(given: &Given) -> String {
    match given {
        Given::Known(value) => value.clone(),
        Given::Later { what, .. } => format!("<{what}>"),
    }
}

fn document(stack: &Stack, place: &str) -> Json {
    let parameters: Map<String, Json> = stack
        .parameters
        .iter()
        .map(|parameter| {
            let value = match &parameter.given {
                Given::Known(value) => json!({ "value": value }),
                Given::Later { what, .. } => json!({ "value": null, "known_at_deployment": what }),
            };
            (parameter.name.to_owned(), value)
        })
        .collect();
    let document = &stack.document;
    json!({
        "version": 1,
        "stack": stack.name,
        "template": stack.template,
        "parameters": parameters,
        "document": {
            "place": place, "sha256": document.sha256, "bytes": document.content.len(), "content": document.content,
        },
        "user_data": stack.user_data,
    })
}

fn text(stack: &Stack, place: &str) -> String {
    let document = &stack.document;
    let width = stack.parameters.iter().map(|parameter| parameter.name.len()).max().unwrap_or(0);
    let mut lines = vec![format!("# stack {} of {}", stack.name, stack.template)];
    lines.extend(
        stack.parameters.iter().map(|parameter| format!("{:width$}  {}", parameter.name, shown(&parameter.given)).trim_end().to_owned()),
    );
    lines.push(format!("\n# boot document, {} bytes: {place}", document.content.len()));
    lines.push(document.content.trim_end().to_owned());
    lines.push(format!("\n# user data, {} bytes, with placeholders for values known only at deployment", stack.user_data.len()));
    lines.push(stack.user_data.trim_end().to_owned());
    lines.join("\n")
}
