//! `ingot-fleet import`: makes a fleet.yaml from the configuration of an Elastic Beanstalk environment.

use std::path::{Path, PathBuf};

use ingot::desk::{DocumentError, Mistake};
use serde_json::{Value as Json, json};

use super::output::{self, data, talk};
use crate::beanstalk::{self, Described, Imported, Left, Named};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::fleet;

/// No such file is larger, in bytes.
const LARGEST: u64 = 4 << 20;

/// Print a fleet.yaml made from the configuration of an Elastic Beanstalk environment
///
/// The new file goes to stdout; settings that it does not carry over go to stderr, each with what to do instead. If
/// several files set one option, the last one wins, as in Elastic Beanstalk for .ebextensions, env.yaml and saved
/// configurations. AWS is not called. Values that look like secrets are left out, and never printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Saved configuration, env.yaml, .config file, output of `aws elasticbeanstalk describe-configuration-settings`,
    /// or source directory with .ebextensions/*.config, .elasticbeanstalk/config.yml and env.yaml
    #[arg(value_name = "SAVED-CONFIGURATION", required = true)]
    paths: Vec<PathBuf>,
    /// Name of the application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Name of the environment
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Location of the releases
    #[arg(long, value_name = "s3://BUCKET/")]
    releases: Option<String>,
}

pub(crate) fn run(args: Args, as_json: bool) -> Result<(), Failure> {
    let mut described = Vec::new();
    let mut mistakes = Vec::new();
    for path in &args.paths {
        for file in files_of(path)? {
            let name = file.display().to_string();
            let text = text_of(&file)?;
            let mut one = beanstalk::read(&name, &text);
            mistakes.append(&mut one.mistakes);
            described.push(one);
        }
    }
    if !mistakes.is_empty() {
        return Err(refused(mistakes));
    }
    if described.iter().all(|one: &Described| one.settings.is_empty()) {
        let names = args.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(Failure::new(Exit::Document, format!("{names}: no option settings found"))
            .hint("save the configuration of the environment with `eb config save ENV`, and name that file"));
    }
    let Args { application, environment, releases, .. } = args;
    let imported = beanstalk::import(described, Named { application, environment, releases });
    let fleet::Read { mistakes, sources, .. } = fleet::read("fleet.yaml", &imported.text);
    let open = DocumentError::new(mistakes, sources);
    if as_json {
        output::json(&document(&imported, &open));
    } else {
        data(imported.text.trim_end());
        tell(&imported, &open);
    }
    Ok(())
}

/// The lines themselves are not shown: one that cannot be read may contain a secret.
fn refused(mistakes: Vec<Mistake>) -> Failure {
    talk(&DocumentError::new(mistakes, ingot::desk::Sources::new()).to_string());
    Failure::told(Exit::Document)
}

/// The files that a path stands for; later ones override earlier ones.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let name = path.display();
    let mut found =
        files::matching(path, ".ebextensions/*.config").map_err(|why| Failure::new(Exit::Usage, format!("cannot list {name}")).why(why))?;
    // The path may be .ebextensions itself.
    if found.is_empty() {
        found = files::matching(path, "*.config").unwrap_or_default();
    }
    let beside = [".elasticbeanstalk/config.yml", "env.yaml"].map(|name| path.join(name));
    found.extend(beside.into_iter().filter(|file| file.is_file()));
    if found.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} has neither .ebextensions/*.config nor env.yaml"))
            .hint("save the configuration of the environment with `eb config save ENV`, and name that file"));
    }
    Ok(found)
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let content = files::read(file, LARGEST).map_err(|why| {
        Failure::new(Exit::Usage, format!("cannot read {name}: {why}"))
            .hint("name a file that `eb config save` wrote, below .elasticbeanstalk/saved_configs/")
    })?;
    String::from_utf8(content)
        .map_err(|_| Failure::new(Exit::Document, format!("{name} is not UTF-8 text")).hint("name a configuration in YAML or JSON"))
}

fn tell(imported: &Imported, open: &DocumentError) {
    let Imported { carried, left, defaults, notes, .. } = imported;
    let mut of_advice: Vec<(&str, Vec<&Left>)> = Vec::new();
    for one in left {
        match of_advice.iter_mut().find(|(advice, _)| *advice == one.advice) {
            Some((_, same)) => same.push(one),
            None => of_advice.push((&one.advice, vec![one])),
        }
    }
    for (advice, same) in of_advice {
        let lines = same.iter().map(|Left { place, what, value, .. }| {
            let value = if value.is_empty() { String::new() } else { format!(" = {value}") };
            format!("{}:{}: not carried over: {what}{value}\n", place.file, place.line)
        });
        talk(&format!("{}  {advice}", lines.collect::<String>()));
    }
    notes.iter().for_each(|note| talk(&format!("note: {note}")));
    let to_do = open.entries().len();
    if to_do > 0 {
        talk(&format!("to do before `ingot-fleet check` passes:\n{open}"));
    }
    let of_default = if *defaults > 0 { format!(", {defaults} have Elastic Beanstalk's default") } else { String::new() };
    talk(&format!("{} settings carried over, {} not{of_default}", carried.len(), left.len()));
}

fn document(imported: &Imported, open: &DocumentError) -> Json {
    let Imported { text, carried, left, defaults, notes } = imported;
    let carried: Vec<Json> = carried
        .iter()
        .map(|(setting, path)| json!({ "option": format!("{} {}", setting.namespace, setting.name), "setting": path }))
        .collect();
    let left: Vec<Json> = left
        .iter()
        .map(|Left { place, what, value, advice }| {
            let value = Some(value).filter(|value| !value.is_empty());
            json!({ "option": what, "value": value, "file": *place.file, "line": place.line, "advice": advice })
        })
        .collect();
    json!({
        "version": 1, "fleet": text, "carried": carried, "not_carried": left, "defaults": defaults, "notes": notes,
        "mistakes": open.entries(),
    })
}
