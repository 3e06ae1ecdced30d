//! The merged document as YAML, each key with the layer it comes from.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use crate::document::layers;
use crate::document::source::Layers;
use crate::document::tree::{self, Node, Value};
use crate::number;
use crate::text::{Place, is_unshowable, shown_on_a_line};

/// The indentation of one level.
const STEP: &str = "  ";

/// Merges layers. `None` if there are none.
pub(crate) fn merged(layers: Layers) -> Option<Node> {
    let mut nodes = layers.nodes.into_iter();
    let mut merged = nodes.next()?;
    nodes.for_each(|node| layers::merge(&mut merged, node));
    Some(merged)
}

/// An equivalent document, with a comment after each key: the file and line where it was last written.
pub(crate) fn yaml(document: &Node) -> String {
    let lines = lines(document);
    let width = |line: &str| line.chars().count();
    let widest = lines.iter().filter(|(_, place)| place.is_some()).map(|(line, _)| width(line)).filter(|width| *width <= 60).max();
    let mut out = String::new();
    for (line, place) in &lines {
        let _ = match place {
            Some(place) => writeln!(out, "{line:0$}  # {1}", widest.unwrap_or(0), from(place)),
            None => writeln!(out, "{line}"),
        };
    }
    out
}

/// The same without comments: the text does not depend on where the keys were written.
pub fn bare_yaml(document: &Node) -> String {
    lines(document).into_iter().map(|(line, _)| line + "\n").collect()
}

/// Every line of a document.
fn lines(document: &Node) -> Lines {
    let mut lines = vec![("#ingot".to_owned(), None)];
    if let Value::Map(entries) = &document.value {
        for (key, node) in entries {
            entry(&scalar(&key.name), &key.place, node, "", &mut lines);
        }
    }
    lines
}

/// The document as JSON.
pub(crate) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Number(text) => Json::Number(number::written(&number::in_json(&number::written(text)))),
        Value::Sequence(items) => items.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|(key, node)| (key.name.clone(), json(node))).collect::<Map<_, _>>().into(),
        _ => node.to_json(),
    }
}

/// The layer of each key, in a tree of the same shape.
pub(crate) fn origins(document: &Node) -> Json {
    origins_of(document, &document.place)
}

fn origins_of(node: &Node, key: &Place) -> Json {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            entries.iter().map(|(key, node)| (key.name.clone(), origins_of(node, &key.place))).collect::<Map<_, _>>().into()
        }
        _ => from(key).into(),
    }
}

fn from(place: &Place) -> String {
    shown_on_a_line(&format!("{}:{}", place.file, place.line)).into_owned()
}

/// Lines, each with the place to show after it.
type Lines = Vec<(String, Option<Place>)>;

/// Adds a key and its value.
fn entry(head: &str, place: &Place, node: &Node, indent: &str, lines: &mut Lines) {
    let place = Some(place.clone());
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            lines.push((format!("{indent}{head}:"), place));
            let indent = format!("{indent}{STEP}");
            entries.iter().for_each(|(key, node)| entry(&scalar(&key.name), &key.place, node, &indent, lines));
        }
        Value::String(text) if is_block(text) => {
            let keep = if text.ends_with('\n') { "" } else { "-" };
            lines.push((format!("{indent}{head}: |{keep}"), place));
            let inner = text.strip_suffix('\n').unwrap_or(text);
            let line = |line: &str| if line.is_empty() { String::new() } else { format!("{indent}{STEP}{line}") };
            lines.extend(inner.split('\n').map(|part| (line(part), None)));
        }
        _ => lines.push((format!("{indent}{head}: {}", flow(node)), place)),
    }
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Bool(value, _) => value.to_string(),
        Value::Number(text) => text.clone(),
        Value::String(text) => scalar(text),
        Value::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| format!("{}: {}", scalar(&key.name), flow(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A string: unquoted if it cannot be mistaken for another type, otherwise in quotes.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./@+".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins && text.chars().all(is_plain) && tree::is_string(text) {
        return text.to_owned();
    }
    // JSON strings are valid YAML. Characters that control a terminal are escaped as well.
    let quoted = Json::from(text).to_string();
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        let _ = match u32::from(c) {
            code if !is_unshowable(c) && c != '\u{feff}' && code != 0x7f => write!(out, "{c}"),
            code if code > 0xffff => write!(out, "\\U{code:08x}"),
            code => write!(out, "\\u{code:04x}"),
        };
    }
    out
}

/// Whether a string can be written as a block scalar.
fn is_block(text: &str) -> bool {
    let inner = text.strip_suffix('\n').unwrap_or(text);
    let is_odd = |c: char| c != '\n' && (c == '\t' || c == '\u{feff}' || c == '\u{7f}' || is_unshowable(c));
    inner.contains('\n') && !inner.starts_with([' ', '\n']) && !inner.ends_with('\n') && !text.contains(is_odd) && !inner.contains(" \n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::tree::parse;

    fn node(text: &str) -> Node {
        let mut layers = Layers::default();
        layers.add("base.yaml", text);
        merged(layers).unwrap()
    }

    #[test]
    fn each_key_has_its_layer() {
        let mut layers = Layers::default();
        layers.add(
            "base.yaml",
            "version: 1\nvalues: { env: test, size: 0x10 }\nfiles:\n  /etc/a:\n    content: |\n      one\n\n        two\n",
        );
        layers.add("user data", "#ingot\nvalues:\n  env: prod\n  tags: [a, \"no\", 'x: y', 5]\nfiles: { /etc/b: {} }\n");
        let document = merged(layers).unwrap();
        insta::assert_snapshot!(yaml(&document), @r#"
        #ingot
        version: 1                  # base.yaml:1
        values:                     # user data:2
          env: prod                 # user data:3
          size: 0x10                # base.yaml:2
          tags: [a, no, "x: y", 5]  # user data:4
        files:                      # user data:5
          /etc/a:                   # base.yaml:4
            content: |              # base.yaml:5
              one

                two
          /etc/b: {}                # user data:5
        "#);
        assert_eq!(origins(&document)["values"]["env"], "user data:3");
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z/._-]{0,8}",
            "\\PC{0,12}",
            "(true|null|~|1e3|0x1f|0640|yes|- a|a: b|#x)",
            "([ a-zé#]{0,5}\n){0,4}[a-z]{0,3}",
            any::<String>()
        ]
        .prop_map(|text| text.replace('\0', ""))
    }

    fn any_node() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            any_text().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            any::<bool>().prop_map(Json::from),
            Just(Json::Null)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(any_text(), inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().filter(|(key, _)| key != "<<").collect())),
            ]
        })
    }

    proptest! {
        /// Must hold for any document.
        #[test]
        fn what_is_shown_reads_back(values in any_node()) {
            let document = node(&serde_json::json!({ "version": 1, "values": { "x": values } }).to_string());
            let shown = yaml(&document);
            let (read, mistakes) = parse(&"shown".into(), &shown);
            prop_assert_eq!(mistakes, vec![], "{}", shown);
            prop_assert_eq!(read.unwrap().to_json(), document.to_json(), "{}", shown);
        }
    }
}
