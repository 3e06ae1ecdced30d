//! Tests that each format reads back what its helper writes, for any value.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::quote::{env::env, ini::ini, json, shell, toml, yaml};
use super::refusal::Refusal;
use super::scope::Buffer;
use super::{Format, environment};

type Quote = fn(&Value, &mut Buffer) -> Result<(), Refusal>;

fn quoted(quote: Quote, value: &Value) -> Option<String> {
    let mut out = Buffer::new();
    quote(value, &mut out).ok()?;
    Some(out.into_secret().expose().to_owned())
}

fn env_for_systemd(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    env(value, Some(&json!("systemd")), out)
}

fn ini_for_mysql(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    ini(value, Some(&json!("mysql")), out)
}

/// Characters that have broken quoting elsewhere, in one string.
const HOSTILE: &str = "a\"b'c\\d\ne\tf\r$HOME `id` %s #x ;y {{z}} \u{1}\u{7f}\u{85}\u{2028}\u{feff}ü🦀";

/// Reads one POSIX shell word: single-quoted parts, and single characters escaped by a backslash.
fn shell_word(word: &str) -> Option<String> {
    let mut read = String::new();
    let mut rest = word.chars();
    while let Some(character) = rest.next() {
        match character {
            '\'' => loop {
                match rest.next()? {
                    '\'' => break,
                    verbatim => read.push(verbatim),
                }
            },
            '\\' => read.push(rest.next()?),
            _ => return None,
        }
    }
    Some(read)
}

fn env_value(quoted: &str) -> String {
    let mut found = Vec::new();
    environment::parse(&format!("A={quoted}\nB=end"), |_, value| found.push(value.to_owned())).unwrap();
    assert_eq!(found.len(), 2, "{quoted}");
    found.swap_remove(0)
}

fn from_toml(text: &str) -> Value {
    let table: toml::Table = toml::from_str(&format!("x = {text}\ny = 1")).unwrap();
    serde_json::to_value(&table["x"]).unwrap()
}

fn from_yaml(text: &str) -> Value {
    Value::deserialize(serde_yaml::Deserializer::from_str(&format!("x: {text}\ny: 1"))).unwrap()["x"].clone()
}

fn from_ini(text: &str) -> String {
    ini::Ini::load_from_str(&format!("[s]\nx = {text}\ny = 1\n")).unwrap().get_from(Some("s"), "x").unwrap().to_owned()
}

#[test]
fn a_hostile_string_comes_back_whole() {
    let value = json!(HOSTILE);
    assert_eq!(from_toml(&quoted(toml, &value).unwrap()), value);
    assert_eq!(serde_json::from_str::<Value>(&quoted(json, &value).unwrap()).unwrap(), value);
    assert_eq!(from_yaml(&quoted(yaml, &value).unwrap()), value);
    assert_eq!(shell_word(&quoted(shell, &value).unwrap()).unwrap(), HOSTILE);
    assert_eq!(env_value(&quoted(env_for_systemd, &value).unwrap()), HOSTILE);
}

/// Values as they come from YAML and JSON. Floats that are whole numbers are left out: `1.0` is equal only to itself in
/// these trees, and no format guarantees to keep the difference.
fn values(null: bool) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_filter("whole", |float| float.fract() != 0.0).prop_map(Value::from),
        prop::sample::select(vec!["no", "~", "012", "1e3", "0x1f", "1:30", "2024-01-01", "- a", "", "=", "<<"]).prop_map(Value::from),
        Just(if null { Value::Null } else { Value::Bool(true) }),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn toml_reads_back_the_same(value in values(false)) {
        let text = quoted(toml, &value).unwrap();
        prop_assert_eq!(from_toml(&text), value);
        prop_assert_eq!(Format::Toml.check(&format!("x = {text}")), Ok(()));
    }

    #[test]
    fn json_reads_back_the_same(value in values(true)) {
        prop_assert_eq!(serde_json::from_str::<Value>(&quoted(json, &value).unwrap()).unwrap(), value);
    }

    #[test]
    fn yaml_reads_back_the_same(value in values(true)) {
        let text = quoted(yaml, &value).unwrap();
        prop_assert_eq!(from_yaml(&text), value.clone());
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        prop_assert!(!text.contains('\n'));
    }

    #[test]
    fn shell_reads_back_the_same(text in "[^\0]*") {
        prop_assert_eq!(shell_word(&quoted(shell, &json!(text)).unwrap()).unwrap(), text);
    }

    #[test]
    fn ini_reads_back_the_same(text in any::<String>(), more in "[ '\"\\\\$`a#;=:\\[\\]]*") {
        for text in [text, more] {
            if let Some(quoted) = quoted(ini_for_mysql, &json!(text)) {
                prop_assert_eq!(from_ini(&quoted), text);
            }
        }
    }
}
