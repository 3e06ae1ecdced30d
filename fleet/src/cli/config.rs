//! `ingot-fleet config`: every setting of an environment, and where its value comes from.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::cli::input;
use crate::cli::output::{self, data};
use crate::exit::Exit;
use crate::fleet::origin::{self, Origin, Setting};

/// Show every setting of an environment and where its value comes from
///
/// A value comes from the environment itself, from `defaults:`, or from ingot-fleet's own defaults. To show the
/// settings of an edge, put `edge-` before its name, such as edge-main.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Environment to show
    #[arg(value_name = "ENV")]
    environment: String,
}

pub(crate) fn run(args: &Args, file: &Path, as_json: bool) -> Exit {
    let read = match input::sound(file) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let of_edge = args.environment.strip_prefix("edge-").and_then(|name| read.fleet.edges.iter().find(|edge| edge.key.name == name));
    let settings = match of_edge {
        Some(edge) => origin::settings_of_edge(edge),
        None => match input::environment(&read.fleet, &args.environment) {
            Ok(environment) => origin::settings(environment),
            Err(exit) => return exit,
        },
    };
    if as_json {
        let settings: Vec<Json> = settings.iter().map(entry).collect();
        output::json(&json!({ "version": 1, "environment": args.environment, "settings": settings }));
    } else {
        data(&table(&settings));
    }
    Exit::Done
}

fn entry(Setting { path, value, origin }: &Setting) -> Json {
    let (from, place) = match origin {
        Origin::Default => ("default", None),
        Origin::Defaults(place) => ("defaults", Some(place)),
        Origin::Environment(place) => ("environment", Some(place)),
    };
    json!({
        "setting": path, "value": value, "from": from,
        "file": place.map(|place| place.file.to_string()), "line": place.map(|place| place.line),
    })
}

fn table(settings: &[Setting]) -> String {
    let value = |value: &Json| value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned);
    let rows: Vec<[String; 3]> = settings
        .iter()
        .map(|Setting { path, value: written, origin }| {
            let from = match origin {
                Origin::Default => "default".to_owned(),
                Origin::Defaults(place) => format!("defaults, {}:{}", place.file, place.line),
                Origin::Environment(place) => format!("{}:{}", place.file, place.line),
            };
            [path.clone(), value(written), from]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    rows.iter().map(|[path, value, from]| format!("{path:first$}  {value:second$}  {from}")).collect::<Vec<_>>().join("\n")
}
