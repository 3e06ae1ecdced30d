//! Makes typed values of a [`Node`], and finds every mistake on the way, not only the first.
//!
//! serde gives up at the first error. So a value that cannot be read is noted, set aside, and the whole is read once
//! more without it, until it reads well or nothing is left to set aside. Unknown keys need no second reading: the
//! names of a struct's fields are known before its map is read.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::document::error::Mistake;
use crate::document::reader::Reader;
use crate::document::tree::{Key, Node, Value};
use crate::failure::nearest;

/// Reads `node` as a `T`. `None` if it has mistakes; they are all in `mistakes` then.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<T> {
    decode_without(node, &[], mistakes)
}

/// The same, passing over the keys `apart` of the outermost map: somebody else reads those.
pub(crate) fn decode_without<T: DeserializeOwned>(node: &Node, apart: &[&'static str], mistakes: &mut Vec<Mistake>) -> Option<T> {
    let reading = Reading { aside: RefCell::default(), unknown: RefCell::default(), apart, root: node };
    let mut found: Vec<Mistake> = Vec::new();
    let value = loop {
        match T::deserialize(Reader { node, reading: &reading }) {
            Ok(value) => break Some(value),
            Err(error) => {
                let error = error.within(node);
                let at = error.at.unwrap_or(node as *const Node);
                let echo = reading.has_aside_below(at, error.missing) || reading.has_unknown_key(at);
                if !echo && let Some(mistake) = error.mistake {
                    found.push(*mistake);
                }
                let new = reading.aside.borrow_mut().insert(at);
                if std::ptr::eq(at, node) || !new {
                    break None;
                }
            }
        }
    };
    let failed = !found.is_empty();
    let unknown = reading.unknown.into_inner();
    let clean = unknown.is_empty() && !failed;
    mistakes.extend(found);
    mistakes.extend(unknown.into_iter().map(|unknown| unknown.mistake));
    value.filter(|_| clean)
}

pub(super) struct Reading<'a> {
    /// Values that could not be read.
    aside: RefCell<BTreeSet<*const Node>>,
    /// Unknown keys by address, since every reading meets them anew, and the maps they stand in.
    pub(super) unknown: RefCell<Vec<Unknown>>,
    pub(super) apart: &'a [&'static str],
    pub(super) root: &'a Node,
}

pub(super) struct Unknown {
    pub(super) key: *const Key,
    pub(super) map: *const Node,
    pub(super) mistake: Mistake,
}

impl Reading<'_> {
    /// Whether what is wrong with the map at `at` may come of a key that is only misspelt.
    fn has_unknown_key(&self, at: *const Node) -> bool {
        self.unknown.borrow().iter().any(|unknown| std::ptr::eq(unknown.map, at))
    }

    pub(super) fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains(&(node as *const Node))
    }

    /// Whether what is wrong with the map at `at` may come of a value in it that was set aside: a field that is missing, or
    /// what its fields are together.
    fn has_aside_below(&self, at: *const Node, missing: Option<&str>) -> bool {
        fn find(node: &Node, at: *const Node) -> Option<&Node> {
            if std::ptr::eq(node, at) {
                return Some(node);
            }
            match &node.value {
                Value::Sequence(items) => items.iter().find_map(|item| find(item, at)),
                Value::Map(entries) => entries.iter().find_map(|(_, child)| find(child, at)),
                _ => None,
            }
        }
        let Some(Value::Map(entries)) = find(self.root, at).map(|map| &map.value) else { return false };
        entries.iter().any(|(key, child)| self.is_aside(child) && missing.is_none_or(|field| key.name == field))
    }
}

pub(super) fn listed(words: &[&str]) -> String {
    words.join(", ")
}

/// The mistake of an unknown key.
pub(crate) fn unknown_key(key: &Key, known: &[&str]) -> Mistake {
    let hint = match nearest(&key.name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", listed(known)),
    };
    Mistake::at(&key.place, format!("unknown key `{}`", key.name), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;
    use crate::text::Text;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        run: Vec<Text>,
        #[serde(default)]
        once: Once,
        limit: Option<crate::step::fields::TimeLimit>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Once {
        #[default]
        Instance,
        Always,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    fn read(text: &str) -> (Option<Sample>, Vec<String>) {
        let node = parse(&"x".into(), text).0.unwrap();
        let mut mistakes = Vec::new();
        let value = decode_without(&node, &["after"], &mut mistakes);
        let lines = mistakes.into_iter().map(|m| format!("{}: {} ({})", m.place.unwrap(), m.message, m.hint.unwrap_or_default()));
        (value, lines.collect())
    }

    #[test]
    fn reads_what_is_right_and_gives_texts_their_place() {
        let (value, mistakes) = read("run: [a, 'b']\nonce: always\nafter: whatever\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(value.unwrap().run[1].place().unwrap().to_string(), "x:1:10");
    }

    #[test]
    fn finds_every_mistake_of_one_value() {
        let (value, mistakes) = read("run: [a, 5, true]\nonce: allways\nlimit: soon\ninner: {nam: x}\nrum: [a]\n");
        assert_eq!(value, None);
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        x:1:10: expected a string, found a number (put it in quotes: "5")
        x:1:13: expected a string, found a boolean (put it in quotes: "true")
        x:2:7: `allways` is not one of instance, always (did you mean `always`?)
        x:3:8: `soon` is not a length of time (write a number and its unit, as in 90s, 20m or 1h30m)
        x:4:9: unknown key `nam` (did you mean `name`?)
        x:5:1: unknown key `rum` (did you mean `run`?)
        "#);
    }

    #[test]
    fn does_not_call_missing_what_was_only_wrong() {
        let (_, mistakes) = read("run: 5\n");
        assert_eq!(mistakes, ["x:1:6: expected a list, found a number (write it in the form that is expected here)"]);
    }
}
