//! Properties that hold for every fleet.yaml.

#[path = "../../../tests/fleet/orders.rs"]
mod orders;

use ingot::desk::Mistake;
use serde_json::{Value as Json, json};

use self::orders::is_order;
use crate::fleet::{Read, origin, read};

const EVERY_SETTING: &str = include_str!("../../../tests/documents/fleet/every-setting.yaml");

fn every_setting() -> Json {
    serde_yaml::from_str(EVERY_SETTING).unwrap()
}

/// Collects JSON pointers to a node and every value below it.
fn pointers(node: &Json, above: &str, found: &mut Vec<String>) {
    found.push(above.to_owned());
    match node {
        Json::Object(fields) => fields.iter().for_each(|(name, node)| {
            pointers(node, &format!("{above}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Json::Array(items) => items.iter().enumerate().for_each(|(at, node)| pointers(node, &format!("{above}/{at}"), found)),
        _ => {}
    }
}

fn changed(pointer: &str, value: &Json) -> Read {
    let mut whole = every_setting();
    *whole.pointer_mut(pointer).unwrap() = value.clone();
    read("fleet.yaml", &whole.to_string())
}

fn assert_followable(mistakes: &[Mistake], about: &str) {
    for mistake in mistakes {
        assert!(mistake.hint.as_deref().is_some_and(is_order), "{about}: {mistake:?}");
        assert!(mistake.place.is_some(), "{about}: {mistake:?}");
    }
}

#[test]
fn every_setting_has_no_mistakes() {
    let read = read("fleet.yaml", EVERY_SETTING);
    assert_eq!(read.mistakes, []);
    assert!(read.fleet.environments.iter().all(|environment| environment.is_sound));
    for environment in &read.fleet.environments {
        assert!(origin::settings(environment).len() > 15);
    }
}

/// Any wrong value in any place is reported with a hint.
#[test]
fn mistakes_of_any_setting_have_hints_that_can_be_followed() {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(100_000),
        json!(""),
        json!("x y"),
        json!("{{values.x}}"),
        json!("*"),
        json!("99d"),
        json!("0%"),
        json!([]),
        json!({}),
        json!(["a"]),
        json!({ "a": { "b": [1] } }),
    ];
    let (mut all, mut refused) = (Vec::new(), 0);
    pointers(&every_setting(), "", &mut all);
    for (at, pointer) in all.into_iter().enumerate() {
        // Each value in every fourth place only, which saves a minute.
        for value in odd.iter().skip(at % 4).step_by(4) {
            let read = changed(&pointer, value);
            assert_followable(&read.mistakes, &format!("{pointer} = {value}"));
            refused += usize::from(!read.mistakes.is_empty());
        }
    }
    assert!(refused > 250, "{refused}");
}

/// An unknown key is reported wherever it is.
#[test]
fn an_unknown_key_is_found_in_every_map() {
    let mut all = Vec::new();
    pointers(&every_setting(), "", &mut all);
    for pointer in all {
        let free = ["/environments", "/edges", "properties", "on_rotation"].iter().any(|name| pointer.ends_with(name));
        let Some(Json::Object(fields)) = every_setting().pointer(&pointer).cloned() else { continue };
        if free {
            continue;
        }
        let mut fields = fields;
        fields.insert("quux".into(), json!(1));
        let read = changed(&pointer, &Json::Object(fields));
        assert!(read.mistakes.iter().any(|mistake| mistake.message.contains("unknown key `quux`")), "{pointer}: {:?}", read.mistakes);
    }
}
