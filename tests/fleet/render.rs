//! `ingot-fleet render`.

use crate::EXAMPLE;
use crate::program::{fleet, fleet_in, tests};

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
