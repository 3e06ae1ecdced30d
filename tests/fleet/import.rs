//! `ingot-fleet import`.

use crate::orders::is_order;
use crate::program::{fleet, fleet_in, read, tests, write};

const SAVED: &str = "documents/fleet/beanstalk/saved.cfg.yml";
/// How advice begins, beside what hints begin with.
const ORDERS: [&str; 16] = [
    "bake ",
    "choose ",
    "deploy ",
    "leave ",
    "list ",
    "log in ",
    "look up ",
    "mount ",
    "pass ",
    "point ",
    "read ",
    "rename ",
    "restore ",
    "run ",
    "subscribe ",
    "terminate ",
];
const SOURCE: &str = "documents/fleet/beanstalk/source";

#[test]
fn a_saved_configuration_becomes_an_environment() {
    insta::assert_snapshot!(
        "import_saved",
        fleet(["import", SAVED, "--application", "shop", "--releases", "s3://shop-releases/"]).exits(0)
    );
}

#[test]
fn a_source_directory_has_its_extensions_and_env_yaml() {
    insta::assert_snapshot!("import_source", fleet(["import", SOURCE]).exits(0));
}

/// What is told of each option is something that can be done.
#[test]
fn every_advice_is_an_order() {
    for path in [SAVED, SOURCE] {
        let found = fleet(["import", path, "--json"]).exits(0).json();
        let left = found["not_carried"].as_array().unwrap();
        assert!(left.len() >= 4 && found["carried"].as_array().is_some_and(|carried| carried.len() >= 4), "{found:#}");
        for one in left {
            let advice = one["advice"].as_str().unwrap();
            assert!(is_order(advice) || ORDERS.iter().any(|order| advice.starts_with(order)), "{one:#}");
            assert!(one["file"].is_string() && one["line"].is_u64(), "{one:#}");
        }
    }
}

/// With an image and the boot document that the page for people from Elastic Beanstalk shows.
#[test]
fn what_is_imported_passes_the_check_once_the_rest_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let text = fleet(["import", SAVED, "--application", "shop", "--environment", "prod"]).exits(0).stdout;
    let text = text.replace("    network:\n", "    image: ssm:/golden/shop/x86_64\n    document: boot/prod.yaml\n    network:\n");
    write(&directory.path().join("fleet.yaml"), &text);
    let page = read(&tests().join("../docs/migrate-from-elastic-beanstalk.md"));
    let document = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    write(&directory.path().join("boot/prod.yaml"), document);
    fleet_in(directory.path(), ["check"]).exits(0);
}

#[test]
fn what_is_no_configuration_is_refused_with_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(&path.join("options.config"), "files: {}\n");
    write(&path.join("other.yaml"), "services: {}\n");
    write(&path.join("broken.yml"), "OptionSettings: [\n");
    std::fs::create_dir(path.join("empty")).unwrap();
    std::fs::write(path.join("binary"), [0xff, 0xfe, 0]).unwrap();
    for (name, code) in [("options.config", 78), ("other.yaml", 78), ("broken.yml", 78), ("binary", 78), ("empty", 2), ("missing.yml", 2)] {
        let ran = fleet_in(path, ["import", name]).exits(code);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("hint: "), "{ran}");
    }
}

/// Whatever is wrong with a file, and whatever its secrets are called.
#[test]
fn no_message_repeats_a_value_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for options in ["TOKEN: {x: hunter2}", "A: 1\n    PIN: \"hunter2", "PIN: hunter2\n    PIN: hunter2", "PIN: !x hunter2"] {
        let text = format!("OptionSettings:\n  aws:elasticbeanstalk:application:environment:\n    {options}\n");
        write(&path.join("saved.cfg.yml"), &text);
        let ran = fleet_in(path, ["import", "saved.cfg.yml"]).exits(78);
        assert!(ran.stderr.contains("saved.cfg.yml:") && !ran.stderr.contains("hunter2") && ran.stdout.is_empty(), "{ran}");
    }
}
