//! The pages in docs/fleet say what the program says: field tables come from `ingot-fleet schema`, command lines from
//! `--help`.
//!
//! `INGOT_UPDATE_DOCS=1 cargo test -p ingot-fleet docs` rewrites the blocks that differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::blocks::{described, with_blocks};
use crate::fields;
use crate::program::{fleet, fleet_in, read, tests, write};

const UPDATE: &str = "INGOT_UPDATE_DOCS";

/// Every verb that the help lists, but for `help`.
pub(crate) fn commands() -> BTreeSet<String> {
    let help = fleet(["--help"]).exits(0).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

fn pages() -> Vec<PathBuf> {
    let directory = tests().join("../docs/fleet").canonicalize().expect("docs/fleet is there");
    let entries = std::fs::read_dir(directory).expect("it can be listed");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn the_pages_say_what_the_schema_and_the_help_say() {
    let schema = fleet(["schema"]).exits(0).json();
    let mut differing = Vec::new();
    for path in pages() {
        let page = read(&path);
        let generated = with_blocks(&page, |kind, name| match (kind, name) {
            ("fields", "fleet") => fields::map(&without_settings(&schema)),
            ("fields", "edge") => {
                fields::map(schema["properties"]["edges"]["patternProperties"].as_object().unwrap().values().next().unwrap())
            }
            ("fields", "environment") => fields::map(&schema["properties"]["defaults"]),
            ("help", name) => format!("```text\n{}```\n", fleet([name, "--help"]).exits(0).stdout),
            _ => panic!("{}: there is no block `{kind}: {name}`", path.display()),
        });
        match std::env::var_os(UPDATE) {
            _ if generated == page => {}
            Some(_) => write(&path, &generated),
            None => differing.push(path.display().to_string()),
        }
    }
    assert!(differing.is_empty(), "run `{UPDATE}=1 cargo test -p ingot-fleet docs`, then read the difference: {differing:#?}");
}

/// The top level: the settings of an environment have tables of their own.
fn without_settings(schema: &serde_json::Value) -> serde_json::Value {
    let mut schema = schema.clone();
    for name in ["defaults", "edges", "environments"] {
        let description = schema["properties"][name]["description"].clone();
        schema["properties"][name] = serde_json::json!({ "type": "object", "description": description });
    }
    schema
}

#[test]
fn every_verb_has_a_section() {
    let page = read(&tests().join("../docs/fleet/verbs.md"));
    assert_eq!(described(&page, "help"), commands(), "give each verb a block `<!-- help: VERB -->` in docs/fleet/verbs.md");
}

/// What `--json` prints is told of every verb, in its section or where that leads to.
#[test]
fn every_verb_says_what_json_it_prints() {
    let page = read(&tests().join("../docs/fleet/verbs.md"));
    let section = |verb: &str| page.split(&format!("\n## {verb}\n")).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let told = |verb: &str| section(verb).rsplit("<!-- end -->").next().unwrap_or_default().contains("With `--json`: ");
    let silent: Vec<String> = commands().into_iter().filter(|verb| !told(verb) && section(verb).contains("<!-- help")).collect();
    // Schema, completions and man pages have forms of their own. `render` and `plan` have theirs between other
    // paragraphs.
    assert_eq!(silent, ["completions", "man", "schema"]);
}

/// Each complete fleet.yaml that the pages show passes `check`, with a boot document of nothing.
#[test]
fn examples_in_the_pages_have_no_mistakes() {
    let mut shown = 0;
    for path in pages() {
        let page = read(&path);
        let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for example in blocks.filter(|block| block.starts_with("version: 1\napplication:")) {
            shown += 1;
            let desk = tempfile::tempdir().unwrap();
            write(&desk.path().join("fleet.yaml"), example);
            for document in ["boot/prod.yaml", "boot/jobs.yaml", "boot/image/10-base.yaml"] {
                write(&desk.path().join(document), "version: 1\nfiles: { /etc/motd: { content: \"hello\\n\" } }\n");
            }
            let ran = fleet_in(desk.path(), ["check"]);
            assert_eq!(ran.code, Some(0), "{}\n{example}\n{ran}", path.display());
        }
    }
    assert!(shown > 0, "no page shows a fleet.yaml");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").is_dir());
}
