//! `ingot-fleet check`.

use std::path::Path;

use serde_json::Value;

use crate::EXAMPLE;
use crate::orders::is_order;
use crate::program::{Ran, files, fleet, fleet_in, read, tests, write};

/// Each file with mistakes, as its author sees it.
#[test]
fn every_mistake_is_found_at_once_with_its_line_and_a_hint() {
    let bad = files("documents/fleet/bad", "yaml");
    assert!(bad.len() >= 40, "{}", bad.len());
    for file in bad {
        let ran = fleet(["--file", &file, "check"]).exits(78);
        assert!(ran.stderr.lines().all(|line| line.starts_with("note: ")), "{file}\n{ran}");
        let name = Path::new(&file).file_stem().unwrap().to_string_lossy().into_owned();
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, ran) });
    }
}

#[test]
fn every_hint_says_what_to_do() {
    for file in files("documents/fleet/bad", "yaml") {
        let found = fleet(["--json", "--file", &file, "check"]).exits(78).json();
        let mistakes = found["mistakes"].as_array().unwrap();
        assert!(!mistakes.is_empty(), "{file}");
        for mistake in mistakes {
            let hint = mistake["hint"].as_str().unwrap_or_default();
            assert!(is_order(hint), "{file}: {mistake:#}");
            // What has no line is about a file as a whole.
            let whole = mistake["message"].as_str().unwrap_or_default().contains("this file is empty");
            assert!(whole || (mistake["line"].is_u64() && mistake["column"].is_u64()), "{file}: {mistake:#}");
        }
    }
}

#[test]
fn the_example_has_no_mistakes() {
    insta::assert_snapshot!("example", fleet(EXAMPLE.into_iter().chain(["check"])).exits(0));
    let found = fleet(EXAMPLE.into_iter().chain(["check", "--json"])).exits(0).json();
    assert_eq!(found["mistakes"], Value::Array(Vec::new()));
    assert!(found["environments"]["prod"]["steps"].as_u64() > Some(5), "{found}");
}

#[test]
fn every_setting_can_be_said() {
    let ran = fleet(["--file", "documents/fleet/every-setting.yaml", "check"]).exits(0);
    insta::assert_snapshot!("every_setting", ran);
}

/// The tables of the reference are made from the schema: nothing in them is without an example.
#[test]
fn every_setting_of_the_schema_is_among_them() {
    let schema = fleet(["schema"]).exits(0).json();
    let said: Value = serde_yaml::from_str(&read(&tests().join("documents/fleet/every-setting.yaml"))).unwrap();
    let environments = said["environments"].as_object().unwrap().values().chain([&said["defaults"]]);
    let environments: Vec<&Value> = environments.collect();
    let mut paths = Vec::new();
    settings(&schema["properties"]["defaults"], "", &mut paths);
    assert!(paths.len() > 60, "{paths:?}");
    let missing: Vec<&String> = paths.iter().filter(|path| environments.iter().all(|one| one.pointer(path).is_none())).collect();
    assert!(missing.is_empty(), "add these to every-setting.yaml: {missing:?}");
    let mut of_edges = Vec::new();
    let edges = schema["properties"]["edges"]["patternProperties"].as_object().unwrap().values();
    edges.for_each(|edge| settings(edge, "", &mut of_edges));
    let missing: Vec<&String> = of_edges.iter().filter(|path| said["edges"]["main"].pointer(path).is_none()).collect();
    assert!(of_edges.len() > 15 && missing.is_empty(), "add these to every-setting.yaml: {missing:?}");
}

/// Every setting below a node of the schema, as a JSON pointer; of a list, those of its first item.
fn settings(node: &Value, above: &str, paths: &mut Vec<String>) {
    let choices = node["anyOf"].as_array().into_iter().flatten();
    for node in choices.chain([node]) {
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            let path = format!("{above}/{name}");
            paths.push(path.clone());
            settings(field, &path, paths);
        }
        if node["items"].is_object() {
            settings(&node["items"], &format!("{above}/0"), paths);
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_wrong_usage() {
    let ran = fleet(["--file", "documents/fleet/nowhere.yaml", "check"]).exits(2);
    insta::assert_snapshot!("no_file", ran);
}

const FLEET: &str = "version: 1\napplication: shop\nreleases: s3://shop-releases/\nenvironments:\n  prod:\n    tier: web\n    \
                     image: ami-0123456789abcdef0\n    network: { vpc: vpc-0a1b2c3d, subnets: [subnet-0a1b2c3d, subnet-0e4f5a6b] }\n    \
                     document: boot.yaml\n    instances: { types: [m7g.large] }\n";

fn checked(more: &str, document: &str) -> Ran {
    checked_as(&format!("{FLEET}{more}"), document)
}

/// Checks a fleet.yaml and a boot document in a directory of their own.
fn checked_as(fleet: &str, document: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("fleet.yaml"), fleet);
    write(&directory.path().join("boot.yaml"), document);
    fleet_in(directory.path(), ["check"])
}

const DOCUMENT: &str = "version: 1\nfiles: { /etc/motd: { content: \"hello\\n\" } }\n";

#[test]
fn a_document_that_ingot_would_not_read_is_refused() {
    let large = format!("{DOCUMENT}values: {{ x: {} }}\n", "a".repeat(16 << 20));
    let ran = checked("", &large).exits(78);
    assert!(ran.stdout.contains("fleet.yaml:9:15: cannot read the document `boot.yaml`: it has more than 16 MiB"), "{ran}");
    // The properties are part of the document, and add to it.
    let nearly = format!("{DOCUMENT}values: {{ x: {} }}\n", "a".repeat((16 << 20) - 200));
    let ran = checked(&format!("    properties: {{ LONG: {} }}\n", "b".repeat(400)), &nearly).exits(78);
    assert!(ran.stdout.contains("with its properties the document has more than 16 MiB"), "{ran}");
}

#[test]
fn properties_have_no_limit_of_size() {
    checked(&format!("    properties: {{ LONG: {} }}\n", "b".repeat(100_000)), DOCUMENT).exits(0);
}

#[test]
fn secrets_that_do_not_fit_into_a_parameter_are_refused() {
    let names: Vec<String> = (0..60).map(|n| format!("prod/shop/a-secret-of-a-service-{n:02}")).collect();
    let ran = checked(&format!("    secrets: [{}]\n", names.join(", ")), DOCUMENT).exits(78);
    assert!(ran.stdout.contains("the parameter SecretArns is"), "{ran}");
}

/// The properties are added to it.
#[test]
fn a_document_is_plain_yaml() {
    for text in ["#!/bin/sh\necho hello\n", "#cloud-config\ningot: { version: 1 }\n", "", "- version: 1\n"] {
        let ran = checked("", text).exits(78);
        assert_eq!(ran.stdout.matches("`boot.yaml` is not plain YAML").count(), 1, "{text}\n{ran}");
    }
}

#[test]
fn names_that_would_break_user_data_are_only_refused() {
    let ran = checked("  \"a\\\"b\": { tier: web, document: boot.yaml }\n", DOCUMENT).exits(78);
    assert!(ran.stdout.contains("is not a name"), "{ran}");
}

/// Two environments with one document have its mistakes once.
#[test]
fn mistakes_of_a_shared_document_are_told_once() {
    let second = FLEET.split_once("  prod:").unwrap().1;
    let ran = checked(&format!("  test:{second}"), "version: 1\nfilse: {}\n").exits(78);
    assert_eq!(ran.stdout.matches("unknown key `filse`").count(), 1, "{ran}");
}

#[test]
fn paths_begin_at_the_directory_of_fleet_yaml() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("app/fleet.yaml"), FLEET);
    write(&directory.path().join("app/boot.yaml"), DOCUMENT);
    fleet_in(directory.path(), ["--file", "app/fleet.yaml", "check"]).exits(0);
    assert!(tests().is_dir());
}

/// Messages that take longer than the template's default: its drain gets as long.
#[test]
fn a_drain_that_the_template_makes_long_enough_is_no_warning() {
    let jobs = FLEET.replace("  prod:\n    tier: web", "  jobs:\n    tier: worker");
    let document = "version: 1\nworkers: { a: { queue: a, to: http://127.0.0.1:5000, max_duration: 6h } }\n";
    let ran = checked_as(&jobs, document).exits(0);
    assert!(!ran.stdout.contains("warning"), "{ran}");
}

#[test]
fn periodic_tasks_of_no_instance_are_warned_of() {
    let jobs =
        FLEET.replace("  prod:\n    tier: web", "  jobs:\n    tier: worker").replace("types: [m7g.large]", "types: [m7g.large], min: 0");
    let fleet = format!("{jobs}    schedule: [{{ cron: \"0 2 * * *\", min: 1 }}, {{ cron: \"0 4 * * *\", min: 0 }}]\n");
    let document = "version: 1\nworkers: { a: { queue: a, to: http://127.0.0.1:5000, cron: [{ name: nightly, schedule: \"30 2 * * *\", path: /x }] } }\n";
    let ran = checked_as(&fleet, document).exits(0);
    for place in ["fleet.yaml:10:", "fleet.yaml:11:"] {
        assert!(
            ran.stdout.contains(place) && ran.stdout.contains("warning: the periodic tasks of workers.a do not launch instances"),
            "{ran}"
        );
    }
    assert_eq!(ran.stdout.matches("do not launch instances").count(), 2, "{ran}");
}

/// Until the templates carry it, another policy stands in for it, which must not bring a rule of its own.
#[test]
fn splitting_traffic_asks_no_room_of_a_group() {
    let fleet = FLEET.replace("types: [m7g.large]", "types: [m7g.large], min: 4, max: 4");
    checked_as(&format!("{fleet}    deployment: {{ policy: traffic_splitting }}\n"), DOCUMENT).exits(0);
}

/// The role of the instances reads what `secrets` lists, and nothing else.
#[test]
fn secrets_that_the_document_reads_beside_the_list_are_warned_of() {
    let document = "version: 1\nsecrets:\n  a: { secrets_manager: \"{{values.environment}}/shop/a\" }\n  b: { secrets_manager: stage/b }\n  \
                    c: { parameter: \"/prod/shop/c:3\" }\n  d: { parameters_under: /prod/shop/flags/ }\n  e: { parameter: token }\n  \
                    f: { secrets_manager: \"{{instance.region}}/f\" }\n";
    let listed = "    secrets: [prod/shop/*, /prod/shop/c, /prod/shop/flags/*]\n";
    let ran = checked(listed, document).exits(0);
    let named = |name: &str| ran.stdout.contains(&format!("reads `{name}`, which `secrets` of prod does not list"));
    assert!(named("stage/b") && named("/token"), "{ran}");
    assert_eq!(ran.stdout.matches("warning: ").count(), 2, "{ran}");
    assert!(ran.stdout.contains("fleet.yaml:11:5: warning: secrets.b of the document"), "{ran}");
    let ran = checked("", document).exits(0);
    assert_eq!(ran.stdout.matches("fleet.yaml:5:3: warning: ").count(), 5, "{ran}");
}
