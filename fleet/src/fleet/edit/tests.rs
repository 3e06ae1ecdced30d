//! What an edit preserves, and what it refuses.

use super::*;

/// A fleet.yaml with this text as the environment `prod`.
fn file(prod: &str) -> String {
    format!(
        "# The shop.\nversion: 1\napplication: shop\nreleases: s3://shop-releases/\ndefaults:\n  properties: {{ REGION: eu, LEVEL: warn }}\n\
         environments:\n  prod:{prod}\n  # And the rest.\n  jobs: {{ tier: worker }}\n"
    )
}

fn changes(pairs: &[(&str, Option<&str>)]) -> Changes {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
}

/// Returns the text of `prod` after the changes.
fn changed(prod: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let new = edited(&file(prod), "prod", &changes(pairs)).unwrap_or_else(|objection| panic!("{prod}: {}", objection.message));
    let rest = new.split_once("environments:\n  prod:").expect("what is before it stays").1;
    rest.strip_suffix("\n  # And the rest.\n  jobs: { tier: worker }\n").expect("what is behind it stays").to_owned()
}

#[test]
fn a_value_is_replaced_in_place() {
    let block = "\n    tier: web\n    properties:\n      A: one  # as always\n      B: \"x # y\" # quoted\n      C: 'it''s'";
    let all = [("A", Some("two words")), ("B", Some("true")), ("C", Some("plain"))];
    assert_eq!(
        changed(block, &all),
        "\n    tier: web\n    properties:\n      A: \"two words\"  # as always\n      B: \"true\" # quoted\n      C: plain"
    );
    assert_eq!(changed(" { properties: { A: one, B: \"}\" } }", &all[..2]), " { properties: { A: \"two words\", B: \"true\" } }");
    assert_eq!(changed(block, &[("A", Some("one"))]), block, "it is so already");
}

#[test]
fn a_new_property_is_added_at_the_end() {
    let new = [("NEW", Some("1"))];
    assert_eq!(
        changed("\n    properties:\n      A: one\n      # of A\n    tier: web", &new),
        "\n    properties:\n      A: one\n      NEW: \"1\"\n      # of A\n    tier: web"
    );
    assert_eq!(changed("\n    tier: web", &new), "\n    tier: web\n    properties:\n      NEW: \"1\"");
    assert_eq!(
        changed("\n    schedule:\n      - cron: x\n        min: 1\n", &new),
        "\n    schedule:\n      - cron: x\n        min: 1\n    properties:\n      NEW: \"1\"\n"
    );
    assert_eq!(changed(" { tier: web }", &new), " { tier: web, properties: { NEW: \"1\" } }");
    assert_eq!(changed("\n    properties: { A: one }", &new), "\n    properties: { A: one, NEW: \"1\" }");
    assert_eq!(changed("\n    properties: {}", &new), "\n    properties: { NEW: \"1\" }");
    assert_eq!(changed("\n    properties: {\n      A: one,\n    }", &new), "\n    properties: {\n      A: one, NEW: \"1\"\n    }");
}

#[test]
fn a_property_is_removed() {
    let of = |prod: &str, names: &[&'static str]| changed(prod, &names.iter().map(|name| (*name, None)).collect::<Vec<_>>());
    let block = "\n    properties:\n      A: one # note\n      B: two\n    tier: web";
    assert_eq!(of(block, &["A"]), "\n    properties:\n      B: two\n    tier: web");
    assert_eq!(of(block, &["A", "B"]), "\n    tier: web", "the last one takes `properties` with it");
    assert_eq!(of(" { properties: { A: one, B: two } }", &["A"]), " { properties: { B: two } }");
    assert_eq!(of(" { properties: { A: one, B: two } }", &["B"]), " { properties: { A: one } }");
    assert_eq!(of(" { properties: { A: one } }", &["A"]), " { properties: {  } }");
    assert_eq!(of("\n    properties:\n      A: |\n        one\n        two\n      B: two", &["A"]), "\n    properties:\n      B: two");
    // A property set in `defaults:` applies unless the environment overrides it.
    assert_eq!(of("\n    properties:\n      LEVEL: info", &["LEVEL"]), "\n    properties:\n      LEVEL: null");
    assert_eq!(of("\n    tier: web", &["REGION"]), "\n    tier: web\n    properties:\n      REGION: null");
    let none = edited(&file(" { tier: web }"), "prod", &changes(&[("GONE", None)])).unwrap_err();
    assert_eq!(none.message, "`prod` has no property `GONE`");
}

#[test]
fn unsupported_forms_are_left_to_the_user() {
    for prod in [
        "\n    properties: &shared\n      A: one\n    tier: web",
        "\n    properties:\n      A: |\n        one\n        two",
        "\n    properties:\n      A: one\n        and more",
        "\n    properties: { A: 'one\n      two' }",
    ] {
        let text = file(prod).replace("{ tier: worker }", if prod.contains('&') { "{ properties: *shared }" } else { "{ tier: worker }" });
        let objection = edited(&text, "prod", &changes(&[("A", Some("two"))]));
        // An environment that shares the properties through an anchor would be changed too.
        let Err(objection) = objection else { panic!("{prod}: {}", objection.unwrap()) };
        assert!(objection.message.contains("does not support the form they are written in"), "{prod}");
    }
}

#[test]
fn each_value_comes_back_as_it_was_given() {
    for value in
        ["", "1", "null", "a: b", "- x", "{{values.release}}", "\"", "ü€😀", "two\nlines", "\t\u{1}", "#x", "'", "yes", "a,b}", "=", "@x"]
    {
        for prod in ["\n    properties:\n      A: one", " { properties: { A: one } }", "\n    tier: web"] {
            let new = edited(&file(prod), "prod", &changes(&[("A", Some(value))])).unwrap();
            assert_eq!(parsed(&new).unwrap().to_json()["environments"]["prod"][PROPERTIES]["A"], value, "{new}");
        }
    }
}
