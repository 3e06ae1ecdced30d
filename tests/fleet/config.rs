//! `ingot-fleet config`.

use crate::EXAMPLE;
use crate::program::fleet;

#[test]
fn each_setting_has_its_value_and_its_origin() {
    insta::assert_snapshot!("config_prod", fleet(EXAMPLE.into_iter().chain(["config", "prod"])).exits(0));
    insta::assert_snapshot!("config_jobs", fleet(EXAMPLE.into_iter().chain(["config", "jobs"])).exits(0));
}

#[test]
fn json_says_the_same() {
    let found = fleet(EXAMPLE.into_iter().chain(["config", "prod", "--json"])).exits(0).json();
    let settings = found["settings"].as_array().unwrap();
    let setting = |path: &str| settings.iter().find(|setting| setting["setting"] == path).unwrap_or_else(|| panic!("no {path}"));
    assert_eq!((&setting("instances.max")["value"], &setting("instances.max")["from"]), (&20.into(), &"environment".into()));
    assert_eq!((&setting("instances.min")["value"], &setting("instances.min")["from"]), (&2.into(), &"defaults".into()));
    assert_eq!((&setting("load_balancer.port")["value"], &setting("load_balancer.port")["from"]), (&80.into(), &"default".into()));
    assert!(setting("instances.min")["line"].is_u64() && setting("load_balancer.port")["line"].is_null());
}

#[test]
fn an_environment_that_is_not_there_is_wrong_usage() {
    insta::assert_snapshot!("config_prdo", fleet(EXAMPLE.into_iter().chain(["config", "prdo"])).exits(2));
}

#[test]
fn nothing_is_shown_of_what_has_mistakes() {
    let ran = fleet(["--file", "documents/fleet/bad/batch.yaml", "config", "prod"]).exits(78);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("a batch of 0 replaces nothing"), "{ran}");
}

#[test]
fn an_edge_is_shown_by_the_name_of_its_stack() {
    let found = fleet(["--file", "documents/fleet/every-setting.yaml", "config", "edge-main", "--json"]).exits(0).json();
    let of = |name: &str| found["settings"].as_array().unwrap().iter().find(|one| one["setting"] == name).cloned().unwrap_or_default();
    let stickiness = of("stickiness");
    assert_eq!((&stickiness["value"], &stickiness["from"]), (&"1h".into(), &"environment".into()), "{found}");
    assert_eq!(of("load_balancer.port")["value"], 8080);
    // Those of an environment in it are not shown twice.
    let blue = fleet(["--file", "documents/fleet/every-setting.yaml", "config", "blue"]).exits(0).stdout;
    assert!(blue.contains("load_balancer.slot") && !blue.contains("load_balancer.port"), "{blue}");
}
