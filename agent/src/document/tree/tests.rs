//! Tests of the tree.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn tree(text: &str) -> Node {
    parse(&"x.yaml".into(), text).0.unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    let (_, mistakes) = parse(&"x.yaml".into(), text);
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.place.as_ref().unwrap(), mistake.message)).collect()
}

#[test]
fn reads_scalars_as_the_core_schema_does() {
    let node = tree("[~, true, False, yes, on, 0640, 1_000, '5', 1.2.3, 12:30, 2024-01-01, ., .inf, -007]");
    let expected = json!([null, true, false, "yes", "on", "0640", "1_000", "5", "1.2.3", "12:30", "2024-01-01", ".", ".inf", "-007"]);
    assert_eq!(node.to_json(), expected);
}

/// Regression: `version: 1.20` asked for `app-1.2.tar.gz`.
#[test]
fn numbers_keep_the_text_they_were_written_as() {
    let written = ["5", "-5", "0x1f", "0o17", "1.20", "1e3", "1E5", ".5", "+1", "-0", "1.0", "12345678901234567890123", "1e400"];
    let Value::Sequence(items) = tree(&format!("[{}]", written.join(", "))).value else { panic!("a list") };
    for (item, text) in items.iter().zip(written) {
        assert_eq!((&item.value, item.to_json().to_string().as_str()), (&Value::Number(text.to_owned()), text));
    }
}

#[test]
fn remembers_where_things_stand() {
    let node = tree("a:\n  b: [x,\n    y]\n");
    let list = node.get("a").unwrap().get("b").unwrap();
    let Value::Sequence(items) = &list.value else { panic!("{list:?}") };
    assert_eq!(items[1].place.to_string(), "x.yaml:3:5");
}

#[test]
fn names_every_duplicate_key() {
    assert_eq!(
        mistakes("a: 1\na: 2\nb: {c: 1, c: 2}\n"),
        ["x.yaml:2:1: the key `a` is defined twice; first in line 1", "x.yaml:3:11: the key `c` is defined twice; first in line 3"]
    );
}

#[test]
fn refuses_what_has_no_place_in_a_document() {
    assert!(mistakes("a: !secret x")[0].contains("tags"));
    assert!(mistakes("x: &a {b: 1}\ny:\n  <<: *a\n")[0].contains("merge keys"));
    assert!(mistakes("a: 1\n---\nb: 2\n")[0].contains("second YAML document"));
    assert!(mistakes("a: [1")[0].contains("not YAML"));
    // This is how Python writes JSON.
    let (_, pair) = parse(&"x".into(), r#"a: "\ud83d\ude00""#);
    assert!(pair[0].hint.as_ref().is_some_and(|hint| hint.contains("write the character itself")));
    assert!(mistakes("{{values.x}}: 1")[0].contains("must be in quotes"));
    assert!(mistakes("{[x]: 1}")[0].contains("used as a key"));
}

#[test]
fn follows_aliases_within_bounds() {
    assert_eq!(tree("a: &x [1]\nb: *x\n").to_json(), json!({"a": [1], "b": [1]}));
    let mut bomb = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for n in 1..12 {
        bomb.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")));
    }
    assert!(mistakes(&bomb)[0].contains("more than a million"));
    assert!(mistakes(&"[".repeat(100))[0].contains("nested"));
    assert!(!mistakes(&"[".repeat(100_000)).is_empty());
}

#[test]
fn an_empty_text_is_no_document() {
    assert_eq!(parse(&"x".into(), "# nothing\n"), (None, Vec::new()));
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,80}|[a-c:{}\\[\\],&*!|>'\"#\\- \n]{0,80}") {
        let _ = parse(&"x".into(), &text);
    }
}
