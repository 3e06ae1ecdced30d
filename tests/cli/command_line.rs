//! The command line itself: help, usage, generated files, and exit codes.

mod program;

use program::{FACTS, Ingot, documents, tests, write};

/// Every command in the help of ingot, except `help`.
fn commands() -> Vec<String> {
    let help = Ingot::new(["--help"]).run().exits(0).stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<String> = listed.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    assert!(commands.len() > 9, "commands are missing: {help}");
    commands.into_iter().filter(|command| command != "help").collect()
}

#[test]
fn help_and_version_are_answers_not_mistakes() {
    for arguments in [["--help"], ["-h"], ["help"]] {
        let ran = Ingot::new(arguments).run().exits(0);
        assert!(ran.stdout.contains("Usage: ingot") && ran.stderr.is_empty(), "{ran}");
    }
    for command in commands() {
        let ran = Ingot::new([command.as_str(), "--help"]).run().exits(0);
        assert!(ran.stdout.contains(&format!("Usage: ingot {command}")) && ran.stderr.is_empty(), "{ran}");
    }
    let ran = Ingot::new(["--version"]).run().exits(0);
    assert_eq!(ran.stdout, format!("ingot {}\n", env!("CARGO_PKG_VERSION")));
}

/// The whole help as users read it, so that a change of the interface shows up in review.
#[test]
fn the_help_of_every_command_is_as_it_was() {
    let mut all = Ingot::new(["--help"]).run().exits(0).stdout;
    for command in commands() {
        all.push_str(&format!("\n=== {command}\n\n{}", Ingot::new([command.as_str(), "--help"]).run().exits(0).stdout));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn wrong_usage_exits_with_2_and_speaks_on_stderr() {
    let wrong: [&[&str]; 9] = [
        &[],
        &["--nonsense"],
        &["bot"],
        &["boot", "--nonsense"],
        &["boot", "--deadline", "soon"],
        &["boot", "--only", "nonsense"],
        &["check"],
        &["completions", "csh"],
        &["status", "--timeout", "1s"],
    ];
    for arguments in wrong {
        let ran = Ingot::new(arguments).run().exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}\n{ran}");
    }
}

/// Users of other tools try the words they know.
#[test]
fn a_command_of_another_tool_leads_to_the_one_that_is_meant() {
    for (given, meant) in [
        ("plan", "dry-run"),
        ("render", "dry-run"),
        ("dry_run", "dry-run"),
        ("validate", "check"),
        ("lint", "check"),
        ("apply", "boot"),
        ("logs", "status"),
    ] {
        let ran = Ingot::new([given, "boot.yaml"]).run().exits(2);
        assert!(ran.stderr.contains(&format!("a similar subcommand exists: '{meant}'")), "{given}: {ran}");
    }
}

#[test]
fn what_wrong_usage_quotes_cannot_control_a_terminal() {
    let ran = Ingot::new(["boot", "--only", "\u{1b}[31m\u{202e}x"]).run().exits(2);
    assert!(ran.stderr.contains("--only") && !ran.stderr.contains(['\u{1b}', '\u{202e}']), "{ran}");
}

#[test]
fn the_schema_is_a_json_schema_and_the_examples_satisfy_it() {
    let schema = Ingot::new(["schema"]).run().exits(0).json();
    jsonschema::meta::validate(&schema).expect("it is a schema");
    let schema = jsonschema::validator_for(&schema).expect("it is a schema");
    for document in documents("documents") {
        let value = parsed(&document);
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{document}: {errors:#?}");
    }
}

/// An editor should show the same mistakes as `check`, as far as a schema can express them.
#[test]
fn the_schema_refuses_what_check_refuses_for_its_shape() {
    let schema = jsonschema::validator_for(&Ingot::new(["schema"]).run().exits(0).json()).expect("it is a schema");
    assert!(!schema.is_valid(&parsed("documents/invalid/types.yaml")));
    for text in ["{}", "version: 2", "version: 1\nservces: {}", "version: 1\nfiles: { /etc/a: { content: x, moed: '0644' } }"] {
        let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
        assert!(!schema.is_valid(&value), "{text}");
    }
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Ingot::new(["completions", shell]).run().exits(0);
        for command in commands() {
            assert!(ran.stdout.contains(&command), "{shell} does not complete {command}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let manual = Ingot::new(["man"]).run().exits(0).stdout;
    assert!(manual.contains(".TH ingot 1"), "{manual}");
    for command in commands() {
        let escaped = command.replace('-', r"\-");
        assert!(manual.contains(&format!(r"ingot\-{escaped} \- ")), "no page for {command}");
    }
    // roff silently drops a line that it takes for an unknown request.
    let requests = manual.lines().filter(|line| line.starts_with('.')).map(|line| line.split(' ').next().unwrap());
    let unknown: Vec<&str> = requests
        .filter(|request| ![".TH", ".SH", ".SS", ".TP", ".ie", ".el", ".br", ".nf", ".fi", ".RS", ".RE", ".IP", ".PP"].contains(request))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and reads the documentation")]
fn the_manual_has_the_sections_that_readers_look_for() {
    let manual = Ingot::new(["man"]).run().exits(0).stdout;
    let section = |name: &str| {
        let rest = manual.split_once(&format!("\n.SH {name}\n")).unwrap_or_else(|| panic!("no section {name}")).1;
        rest.split("\n.SH ").next().unwrap().replace(r"\-", "-")
    };
    let page = |path: &str| std::fs::read_to_string(tests().join("../docs/reference").join(path)).unwrap();
    let table = page("exit-codes.md");
    let codes = table.split("## JSON").next().unwrap().lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    for (code, _) in codes.filter(|(code, _)| code.parse::<u8>().is_ok()).take(7) {
        assert!(section("EXIT STATUS").contains(&format!(".TP\n\\fB{code}\\fR\n")), "{code}");
    }
    let (files, paths) = (section("FILES"), page("paths.md"));
    let named: Vec<&str> = files.split(r"\fI").skip(1).filter_map(|rest| rest.split(r"\fR").next()).collect();
    assert!(named.len() > 5, "{files}");
    named.iter().for_each(|path| assert!(paths.contains(&format!("`{path}`")), "{path} is not in paths.md"));
    let section_of_document = section("BOOT DOCUMENT");
    for kind in ["secrets", "volumes", "files", "services", "signals"] {
        assert!(section_of_document.contains(&format!("\n.SS {kind}\n")), "{kind}");
    }
    let examples = section("EXAMPLES");
    let commands: Vec<&str> = examples.lines().filter(|line| line.contains("ingot ") && !line.starts_with(['.', '\\'])).collect();
    assert!(commands.len() > 4, "{examples}");
    for command in commands.iter().flat_map(|line| line.split("ingot ").skip(1)) {
        let verb = command.split_whitespace().next().unwrap();
        let help = Ingot::new([verb, "--help"]).run().exits(0).stdout;
        for option in command.split_whitespace().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{verb} has no {option}");
        }
    }
}

#[test]
fn a_machine_that_never_booted_says_so() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().to_str().unwrap();
    let ran = Ingot::new(["status", "--root", root]).run().exits(4);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("never ran\n", ""));
    let ran = Ingot::new(["status", "--root", root, "--json"]).run().exits(4);
    assert_eq!(ran.json(), serde_json::json!({ "status": "never ran", "report": null }));
}

#[test]
fn status_waits_no_longer_than_it_was_told() {
    let root = tempfile::tempdir().unwrap();
    let ran = Ingot::new(["status", "--wait", "--timeout", "200ms", "--root", root.path().to_str().unwrap()]).run().exits(4);
    assert_eq!(ran.stdout, "never ran\n");
}

#[test]
fn a_boot_below_a_root_leaves_a_status_behind() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    write(&root.path().join("boot.yaml"), "version: 1\nfiles:\n  /etc/motd: { content: \"hello\\n\" }\n");
    let ran = Ingot::new(["boot", "--root", path, "--user-data"]).args([root.path().join("boot.yaml")]).run().exits(0);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("write /etc/motd"), "{ran}");
    let ran = Ingot::new(["status", "--root", path]).run().exits(0);
    assert!(ran.stdout.starts_with("done"), "{ran}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error_of_ours() {
    let shop = ["dry-run", "documents/shop.yaml", FACTS[0], FACTS[1]];
    let all: [&[&str]; 6] = [&["schema"], &["man"], &["completions", "bash"], &["--help"], &shop, &["check", "documents/shop.yaml"]];
    for arguments in all {
        let (code, stderr) = Ingot::new(arguments).run_with_closed_stdout();
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("bug") && !stderr.contains("panic"), "{arguments:?}: {stderr}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot")]
fn parsed(document: &str) -> serde_json::Value {
    serde_yaml::from_str(&std::fs::read_to_string(tests().join(document)).unwrap()).unwrap()
}
