//! The reference pages match the program: field tables come from `ingot schema`, command lines from `--help`.
//!
//! A generated block is between `<!-- fields: NAME -->` or `<!-- help: COMMAND -->` and `<!-- end -->`.
//! `INGOT_UPDATE_DOCS=1 cargo test --test docs` rewrites the blocks that differ.
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and reads the documentation")]

mod blocks;
mod fields;
mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blocks::{described, with_blocks};
use program::{Ingot, tests, write};
use serde_json::Value;

const UPDATE: &str = "INGOT_UPDATE_DOCS";

/// The commands in a page's consoles, each with the output that is shown, in which `…` matches anything.
fn consoles(page: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split_once("```")) {
        for line in block.0.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push((command.to_owned(), String::new())),
                None => found.last_mut().expect("a console begins with a command").1.push_str(&format!("{line}\n")),
            }
        }
    }
    found
}

/// Whether `output` matches the `sample` on a page.
fn is_sampled(output: &str, sample: &str) -> bool {
    let mut parts = sample.trim_end().split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = output.trim_end().strip_prefix(first) else { return false };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || sample.trim_end().ends_with('…')
}

/// Runs those commands of a page that are ingot's, or show a file, in `directory`. Returns how many there were.
fn samples_are_real(page: &str, directory: &Path, before: impl Fn(&str)) -> usize {
    let (mut tried, out) = (0, directory.join("out"));
    for (command, sample) in consoles(page) {
        before(&command);
        let command = command.replace("cargo run --release --", "ingot").replace("/tmp/shop", out.to_str().unwrap());
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = match words.as_slice() {
            ["ingot", verb @ ("check" | "dry-run"), rest @ ..] => {
                let ran = Ingot::new([verb]).args(rest).directory(directory).run();
                format!("{}{}", ran.stdout, ran.stderr)
            }
            ["cat", file] => read(&directory.join(file)),
            _ => continue,
        };
        assert!(is_sampled(&output, &sample), "`{command}` is shown with\n{sample}\nand prints\n{output}");
        tried += 1;
    }
    tried
}

#[test]
fn the_sample_of_the_readme_is_what_ingot_prints() {
    let (repository, desk) = (tests().join(".."), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(repository.join("tests"), desk.path().join("tests")).unwrap();
    assert_eq!(samples_are_real(&read(&repository.join("README.md")), desk.path(), |_| ()), 2);
}

/// The page changes its document in two places, and its consoles show the effect.
#[test]
fn the_samples_of_getting_started_are_what_ingot_prints() {
    let (page, desk) = (read(&tests().join("../docs/getting-started.md")), tempfile::tempdir().unwrap());
    let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    let document = blocks.iter().find(|block| block.starts_with("#ingot")).expect("the page has a document");
    let facts = blocks.iter().find(|block| block.starts_with("instance:")).expect("the page has facts");
    write(&desk.path().join("facts.yaml"), facts);
    let checks = std::cell::Cell::new(0);
    let tried = samples_are_real(&page, desk.path(), |command| {
        checks.set(checks.get() + usize::from(command.starts_with("ingot check")));
        let document = match (command, checks.get()) {
            ("ingot check boot.yaml", 2) => document.replace("{{toml values.greeting}}", "{{toml values.greting}}"),
            (command, _) if command.contains("--diff") => document.replace("greeting: hello", "greeting: good morning"),
            _ => (*document).to_owned(),
        };
        write(&desk.path().join("boot.yaml"), &document);
    });
    assert_eq!(tried, 7);
}

#[test]
fn the_reference_says_what_the_schema_and_the_help_say() {
    let schema = schema();
    let tables: BTreeSet<String> = pages(&reference()).iter().flat_map(|path| described(&read(path), "fields")).collect();
    let mut differing = Vec::new();
    for path in pages(&reference()) {
        let page = read(&path);
        let generated = with_blocks(&page, |kind, name| match kind {
            "fields" => fields::tables(&schema, name, &tables),
            "help" => format!("```text\n{}```\n", help(name)),
            _ => panic!("{}: a block is either `fields` or `help`, not `{kind}`", path.display()),
        });
        if generated == page {
            continue;
        }
        match std::env::var_os(UPDATE) {
            Some(_) => write(&path, &generated),
            None => differing.push(path.display().to_string()),
        }
    }
    assert!(differing.is_empty(), "run `{UPDATE}=1 cargo test --test docs`, then read the difference: {differing:#?}");
}

#[test]
fn every_kind_of_step_has_a_page_with_its_fields() {
    for kind in fields::kinds(&schema()) {
        let path = reference().join(format!("steps/{kind}.md"));
        assert!(path.is_file(), "there is no page {}", path.display());
        assert!(read(&path).contains(&format!("<!-- fields: {kind} -->")), "{} has no field table", path.display());
    }
}

#[test]
fn every_command_has_a_section() {
    let page = read(&reference().join("cli.md"));
    assert_eq!(described(&page, "help"), commands(""), "give each command a block `<!-- help: COMMAND -->` in cli.md");
}

#[test]
fn a_block_that_is_not_closed_is_refused() {
    let unclosed = std::panic::catch_unwind(|| with_blocks("<!-- help: boot -->\n", |_, _| String::new()));
    assert!(unclosed.is_err());
}

#[test]
fn everything_around_a_block_stays() {
    let page = "before\n\n<!-- fields: file -->\nold\n<!-- end -->\n\nafter\n";
    let expected = "before\n\n<!-- fields: file -->\n\nfile\n\n<!-- end -->\n\nafter\n";
    assert_eq!(with_blocks(page, |_, name| format!("{name}\n")), expected);
}

fn schema() -> Value {
    Ingot::new(["schema"]).run().exits(0).json()
}

fn help(command: &str) -> String {
    Ingot::new(command.split(' ').filter(|word| !word.is_empty()).chain(["--help"])).run().exits(0).stdout
}

/// The commands below `command`, as its help lists them, and the commands below those.
fn commands(command: &str) -> BTreeSet<String> {
    let help = help(command);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    // `help` has no help of its own.
    let names = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let whole: BTreeSet<String> = names.map(|name| format!("{command} {name}").trim().to_owned()).collect();
    let below: Vec<String> = whole.iter().flat_map(|command| commands(command)).collect();
    whole.into_iter().chain(below).collect()
}

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").canonicalize().expect("docs/reference is there")
}

/// Every page below `directory`, in order.
fn pages(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
