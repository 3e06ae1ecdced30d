//! `ingot-fleet render`.

use serde_json::Value;

use crate::EXAMPLE;
use crate::program::{fleet, fleet_in, tests, write};

#[test]
fn an_environment_is_shown_as_it_would_be_created() {
    insta::assert_snapshot!("render_prod", fleet(EXAMPLE.into_iter().chain(["render", "prod"])).exits(0));
    insta::assert_snapshot!("render_jobs", fleet(EXAMPLE.into_iter().chain(["render", "jobs"])).exits(0));
}

#[test]
fn json_has_the_document_with_its_digest() {
    let found = fleet(EXAMPLE.into_iter().chain(["render", "prod", "--json"])).exits(0).json();
    let document = &found["document"];
    assert_eq!(document["bytes"].as_u64(), Some(document["content"].as_str().unwrap().len() as u64));
    let sha256 = document["sha256"].as_str().unwrap();
    assert_eq!(document["place"], format!("s3://shop-releases/shop/environments/prod/documents/{sha256}.yaml"));
    assert_eq!(found["parameters"]["Document"]["value"], sha256);
    assert!(found["user_data"].as_str().unwrap().contains(sha256));
    assert_eq!(found["parameters"]["Release"], serde_json::json!({ "value": null, "known_at_deployment": "name of the release" }));
}

/// The digest is what instances include the document by, and must not depend on who uploads it.
#[test]
fn the_same_files_have_the_same_digest_wherever_they_lie() {
    let digest = |found: serde_json::Value| found["document"]["sha256"].as_str().unwrap().to_owned();
    let here = digest(fleet(EXAMPLE.into_iter().chain(["render", "prod", "--json"])).exits(0).json());
    let there = digest(fleet_in(&tests().join("documents/fleet"), ["render", "prod", "--json"]).exits(0).json());
    assert_eq!(here, there);
}

#[test]
fn a_document_with_mistakes_is_not_rendered() {
    let ran = fleet(["--file", "documents/fleet/bad/document-mistakes.yaml", "render", "prod"]).exits(78);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("unknown key `servces`"), "{ran}");
}

/// A fleet.yaml with an environment of each tier, and one document for both.
fn rendered(fleet: &str, document: &str, environment: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("fleet.yaml"), fleet);
    write(&directory.path().join("boot.yaml"), document);
    fleet_in(directory.path(), ["render", environment, "--json"]).exits(0).json()
}

const FLEET: &str = "version: 1
application: shop
releases: s3://shop-releases/
defaults:
  image: ami-0123456789abcdef0
  network: { vpc: vpc-0a1b2c3d, subnets: [subnet-0a1b2c3d, subnet-0e4f5a6b] }
  document: boot.yaml
  instances: { types: [m7g.large] }
  properties: { LOG_LEVEL: info }
environments:
  prod: { tier: web }
  jobs: { tier: worker }
";

/// Otherwise a comment in fleet.yaml, or another environment above, would replace every instance.
#[test]
fn where_a_line_stands_does_not_change_the_document() {
    let document = "version: 1\nfiles: { /etc/motd: { content: \"hello\\n\" } }\n";
    let digest = |fleet: &str, document: &str| rendered(fleet, document, "jobs")["document"]["sha256"].clone();
    let before = digest(FLEET, document);
    let moved = FLEET.replace("  properties:", "  # Of all.\n\n  properties:").replace("  prod:", "  blue: { tier: web }\n  prod:");
    assert_eq!(digest(&moved, document), before);
    assert_eq!(digest(FLEET, &format!("# What the machine says.\n{document}")), before);
    assert_ne!(digest(&FLEET.replace("info", "debug"), document), before);
}

#[test]
fn a_worker_that_leaves_gets_as_long_as_its_messages() {
    let given = |environment: &str, worker: &str| {
        let document = format!("version: 1\nworkers: {{ a: {{ queue: a, to: http://127.0.0.1:5000, drain: 1m }}{worker} }}\n");
        let found = rendered(FLEET, &document, environment);
        let value = |name: &str| found["parameters"][name]["value"].as_str().map(str::to_owned);
        (value("Grace"), value("LeavingTimeout"), found["user_data"].as_str().unwrap().to_owned())
    };
    for (worker, grace, timeout) in [
        ("", "660", "120"),
        (", b: { queue: b, to: http://127.0.0.1:5000 }", "4200", "120"),
        (", b: { queue: b, to: http://127.0.0.1:5000, max_duration: 10m }", "1200", "120"),
        (", b: { queue: b, to: http://127.0.0.1:5000, max_duration: 12h }", "43800", "440"),
        (", b: { queue: b, to: http://127.0.0.1:5000, drain: 3h }", "11400", "120"),
    ] {
        let (given_grace, given_timeout, user_data) = given("jobs", worker);
        assert_eq!((given_grace.as_deref(), given_timeout.as_deref()), (Some(grace), Some(timeout)), "{worker}");
        assert!(user_data.contains(&format!("grace: {grace}s")), "{worker}: {user_data}");
    }
    let (grace, timeout, _) = given("prod", "");
    assert_eq!((grace, timeout), (None, None), "the drain of a web environment follows its load balancer");
    let without = rendered(FLEET, "version: 1\nfiles: { /etc/motd: { content: hello } }\n", "jobs");
    assert!(without["parameters"]["Grace"].is_null(), "{without:#}");
}
