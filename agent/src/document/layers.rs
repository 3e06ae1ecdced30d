//! Merges several boot documents into one: map by map, later layers over earlier ones.

use std::collections::BTreeMap;

use crate::document::tree::{Key, Node, Value};

/// Merges `over` into `base`: maps are merged key by key, everything else is replaced, and `null` removes.
///
/// A key and its value keep the place where they were last written, so that a mistake is shown in the layer that made
/// it.
pub fn merge(base: &mut Node, over: Node) {
    let Value::Map(entries) = over.value else {
        *base = over;
        return;
    };
    let Value::Map(merged) = &mut base.value else {
        *base = Node { place: over.place, value: Value::Map(entries) };
        return;
    };
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut slots: Vec<Option<(Key, Node)>> = Vec::with_capacity(merged.len() + entries.len());
    for (key, node) in std::mem::take(merged) {
        places.entry(key.name.clone()).or_insert(slots.len());
        slots.push(Some((key, node)));
    }
    for (key, node) in entries {
        match places.get(&key.name).copied() {
            Some(at) if node.value == Value::Null => {
                slots[at] = None;
                places.remove(&key.name);
            }
            Some(at) => {
                if let Some((known, below)) = &mut slots[at] {
                    *known = key;
                    merge(below, node);
                }
            }
            None => {
                places.insert(key.name.clone(), slots.len());
                slots.push(Some((key, node)));
            }
        }
    }
    merged.extend(slots.into_iter().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;
    use serde_json::json;

    fn merged(layers: &[&str]) -> serde_json::Value {
        let mut nodes = layers.iter().map(|text| parse(&"x".into(), text).0.unwrap());
        let mut base = nodes.next().unwrap();
        nodes.for_each(|node| merge(&mut base, node));
        base.to_json()
    }

    #[test]
    fn merges_maps_key_by_key_and_replaces_the_rest() {
        let layers =
            ["values: {env: test, list: [1, 2]}\nfiles: {/a: {content: a}}", "values: {env: prod, list: [3]}\nfiles: {/b: {content: b}}"];
        assert_eq!(
            merged(&layers),
            json!({"values": {"env": "prod", "list": [3]}, "files": {"/a": {"content": "a"}, "/b": {"content": "b"}}})
        );
    }

    #[test]
    fn null_removes_what_an_earlier_layer_said() {
        assert_eq!(merged(&["files: {/a: {content: a}, /b: {}}", "files: {/a: null}"]), json!({"files": {"/b": {}}}));
    }

    #[test]
    fn a_layer_may_put_back_what_another_removed() {
        assert_eq!(merged(&["a: {b: 1}", "a: null", "a: {c: 2}"]), json!({"a": {"c": 2}}));
    }

    #[test]
    fn a_map_replaces_a_word() {
        assert_eq!(merged(&["a: x", "a: {b: 1}"]), json!({"a": {"b": 1}}));
    }
}
