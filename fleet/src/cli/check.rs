//! `ingot-fleet check`: reports every mistake in fleet.yaml, in its documents, and between them.

use std::path::Path;

use ingot::desk::DocumentError;
use serde_json::json;

use crate::cli::input;
use crate::cli::output::{self, data, talk};
use crate::exit::Exit;
use crate::fleet::Read;
use crate::stack::{self, Findings};

pub(crate) async fn run(file: &Path, as_json: bool) -> Exit {
    let Read { fleet, mut sources, mut mistakes } = match input::read(file) {
        Ok(read) => read,
        Err(exit) => return exit,
    };
    let (mut warnings, mut notes, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for environment in &fleet.environments {
        let (_, found) = stack::of(&fleet, environment, input::directory(file)).await;
        let Findings { mistakes: of_documents, warnings: of_author, notes: told, sources: read, steps } = found;
        mistakes.extend(of_documents);
        warnings.extend(of_author);
        notes.extend(told);
        sources.extend(read);
        verdicts.push((environment.key.name.clone(), steps));
    }
    let is_good = mistakes.is_empty();
    let mistakes = DocumentError::new(mistakes, sources.clone());
    // Warnings are shown only without mistakes: correcting a mistake may change what a warning is about.
    let warnings = DocumentError::warnings(if is_good { warnings } else { Vec::new() }, sources);
    if as_json {
        let environments: serde_json::Map<_, _> = verdicts.into_iter().map(|(name, steps)| (name, json!({ "steps": steps }))).collect();
        let mut found = json!({ "version": 1, "mistakes": mistakes.entries(), "warnings": warnings.entries(), "notes": notes });
        if is_good {
            found["environments"] = environments.into();
        }
        output::json(&found);
    } else {
        if is_good {
            let verdicts = verdicts.iter().map(|(name, steps)| format!("{name}: no mistakes in {steps} steps"));
            let warned = Some(warnings.to_string()).filter(|warnings| !warnings.is_empty()).map(|warnings| warnings + "\n");
            data(&warned.into_iter().chain(verdicts).collect::<Vec<_>>().join("\n"));
        } else {
            data(&mistakes.to_string());
        }
        notes.iter().for_each(|note| talk(&format!("note: {note}")));
    }
    if is_good { Exit::Done } else { Exit::Document }
}
