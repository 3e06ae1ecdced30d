//! The command line itself: help, usage, what is generated.

use crate::EXAMPLE;
use crate::docs::commands;
use crate::program::{files, fleet, read, tests};

#[test]
fn help_and_version_are_answers_not_mistakes() {
    assert_eq!(fleet(["--version"]).exits(0).stdout, format!("ingot-fleet {}\n", env!("CARGO_PKG_VERSION")));
    for command in commands() {
        let ran = fleet([command.as_str(), "--help"]).exits(0);
        assert!(ran.stdout.contains(&format!("Usage: ingot-fleet {command}")) && ran.stderr.is_empty(), "{ran}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_speaks_on_stderr() {
    let wrong: [&[&str]; 5] = [&[], &["--nonsense"], &["chekc"], &["render"], &["completions", "csh"]];
    for arguments in wrong {
        let ran = fleet(arguments).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}\n{ran}");
    }
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = fleet(["completions", shell]).exits(0);
        assert!(commands().iter().all(|command| ran.stdout.contains(command)), "{shell}\n{ran}");
    }
    let manual = fleet(["man"]).exits(0).stdout;
    for command in commands() {
        assert!(manual.contains(&format!(r"ingot\-fleet\-{} \- ", command.replace('-', r"\-"))), "no page for {command}");
    }
}

#[test]
fn the_schema_takes_what_check_takes() {
    let schema = fleet(["schema"]).exits(0).json();
    jsonschema::meta::validate(&schema).expect("it is a schema");
    let schema = jsonschema::validator_for(&schema).expect("it is a schema");
    for file in ["documents/fleet/fleet.yaml", "documents/fleet/every-setting.yaml"] {
        let errors: Vec<String> = schema.iter_errors(&parsed(file)).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{file}: {errors:#?}");
    }
}

/// An editor shows the same mistakes, as far as a schema can tell.
#[test]
fn the_schema_refuses_what_check_refuses_for_its_form() {
    let schema = jsonschema::validator_for(&fleet(["schema"]).exits(0).json()).expect("it is a schema");
    for name in
        ["keys", "version", "top-level", "environments", "environment-word", "names", "words", "types", "identifiers", "batch", "data"]
    {
        let file = format!("documents/fleet/bad/{name}.yaml");
        assert!(files("documents/fleet/bad", "yaml").contains(&file));
        assert!(!schema.is_valid(&parsed(&file)), "{file}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ingot-fleet"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.args(EXAMPLE).arg("schema").current_dir(tests()).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

fn parsed(file: &str) -> serde_json::Value {
    serde_yaml::from_str(&read(&tests().join(file))).unwrap()
}
