//! YAML as a tree that remembers the position of everything.
//!
//! serde stops at the first mistake and forgets lines, while a check has to report every mistake with its line,
//! including those found during planning. Therefore documents are parsed into this tree, and [`decode`](super::decode)
//! makes typed steps from it.
//!
//! Stricter than YAML: duplicate keys, merge keys and tags are mistakes. Plain scalars follow YAML 1.2's core schema,
//! except that a number with a leading zero is a string: `0640` is a file mode. [Numbers](crate::number) keep the text
//! they were written as.

mod quoted;
#[cfg(test)]
mod tests;
mod torn;
mod trouble;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::document::error::Mistake;
use crate::document::meant;
use crate::number;
use crate::text::Place;

pub(crate) use self::torn::parse_torn;
pub(crate) use self::trouble::QUOTE;

/// A value and its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    /// With the word as it was written, such as `True`.
    Bool(bool, &'static str),
    /// As it was written.
    Number(String),
    String(String),
    Sequence(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// The type with its article, for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(..) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Sequence(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// A key of a map and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub place: Place,
    pub name: String,
}

impl Key {
    /// The mistake for a key that is not among `known`.
    pub fn unknown(&self, known: &[&str]) -> Mistake {
        Mistake::at(&self.place, format!("unknown key `{}`", self.name), meant::hint(&self.name, known))
    }
}

/// Deeper nesting is refused. No document needs it, and it would exhaust the stack of the code that walks the tree.
const DEPTH_LIMIT: usize = 64;

/// Up to this many keys, each new key is compared with all others, which is cheaper than a table.
const FEW_KEYS: usize = 8;

/// The maximum number of nodes, since aliases may multiply values. It is more than any document needs, and small enough
/// for memory.
const NODE_LIMIT: usize = 1_000_000;

impl Node {
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A map with this node as the value of `name`, at the same place.
    pub(super) fn below(&self, name: &str) -> Node {
        let key = Key { place: self.place.clone(), name: name.to_owned() };
        Node { place: self.place.clone(), value: Value::Map(vec![(key, self.clone())]) }
    }

    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value, _) => (*value).into(),
            Value::Number(text) => serde_json::Value::Number(number::written(text)),
            Value::String(value) => value.as_str().into(),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
        }
    }

    /// The number of values in it, including itself.
    pub(crate) fn size(&self) -> usize {
        match &self.value {
            Value::Sequence(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| node.size()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Parses one document: returns its tree, if it is more than comments, and its mistakes.
///
/// With duplicate keys, tags and merge keys there still is a tree, in which more mistakes may be found. With invalid
/// YAML there is none.
pub fn parse(file: &Arc<str>, text: &str) -> (Option<Node>, Vec<Mistake>) {
    let lines: Vec<&str> = text.lines().collect();
    let (stack, anchors, mistakes) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut builder = Builder { file: file.clone(), lines, stack, anchors, root: None, mistakes, nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let marker = error.marker();
                let place = (marker.line().max(1), marker.col() + 1);
                builder.mistakes.push(trouble::found(file, &builder.lines, place, error.info()));
                return (None, builder.mistakes);
            }
        };
        if let Err(mistake) = builder.event(event, span) {
            builder.mistakes.push(mistake);
            return (None, builder.mistakes);
        }
    }
    (builder.root, builder.mistakes)
}

/// A collection that is still open.
enum Open {
    Sequence { place: Place, anchor: usize, items: Vec<Node> },
    Map { place: Place, anchor: usize, entries: Vec<(Key, Node)>, key: Option<Key>, lines: BTreeMap<String, usize> },
}

struct Builder<'t> {
    file: Arc<str>,
    lines: Vec<&'t str>,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
    nodes: usize,
}

impl Builder<'_> {
    /// Handles one event. An error ends the parse; lesser mistakes are collected.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        let place = Place { file: self.file.clone(), line: span.start.line().max(1), column: span.start.col() + 1 };
        if let Event::Scalar(_, _, _, Some(tag)) | Event::SequenceStart(_, Some(tag)) | Event::MappingStart(_, Some(tag)) = &event {
            let message = format!("tags such as `{}{}` are not part of boot documents", tag.handle, tag.suffix);
            self.mistakes.push(Mistake::at(&place, message, "remove the tag; put a string in quotes"));
        }
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(Mistake::at(&place, "a second YAML document begins here", "put each boot document into its own file"));
            }
            Event::Scalar(text, style, anchor, _) => {
                if text.contains('\0') {
                    let hint = "remove it; for a file that contains it, use `encoding: base64`";
                    self.mistakes.push(Mistake::at(&place, "a NUL character, which no name, path or variable can contain", hint));
                }
                let is_key = matches!(self.stack.last(), Some(Open::Map { key: None, .. }));
                if is_key {
                    self.key(Key { place, name: text.into_owned() });
                } else {
                    let value = if style == ScalarStyle::Plain { plain(&text) } else { Value::String(text.into_owned()) };
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    let place = if is_block { self.mark_of_block(place) } else { place };
                    self.node(Node { place, value }, anchor)?;
                }
            }
            Event::SequenceStart(anchor, _) => self.open(Open::Sequence { place, anchor, items: Vec::new() })?,
            Event::MappingStart(anchor, _) => {
                self.open(Open::Map { place, anchor, entries: Vec::new(), key: None, lines: BTreeMap::new() })?
            }
            Event::SequenceEnd => {
                if let Some(Open::Sequence { place, anchor, items }) = self.stack.pop() {
                    self.node(Node { place, value: Value::Sequence(items) }, anchor)?;
                }
            }
            Event::MappingEnd => {
                if let Some(Open::Map { place, anchor, entries, .. }) = self.stack.pop() {
                    self.node(Node { place, value: Value::Map(entries) }, anchor)?;
                }
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(Mistake::at(&place, "this alias refers to a value that contains it", "write the value out"));
                };
                if self.stack.len() + depth(&node) > DEPTH_LIMIT {
                    return Err(too_deep(&place));
                }
                self.nodes += node.size();
                self.node(Node { place, ..node }, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The position of the indicator of a block scalar. The parser reports the position of its text instead.
    fn mark_of_block(&self, text: Place) -> Place {
        let above = self.lines.get(..text.line.min(self.lines.len())).unwrap_or_default();
        let above = above.iter().enumerate().rev().skip(1).find(|(_, line)| !line.trim().is_empty());
        match above.and_then(|(n, line)| Some((n, line, trouble::mark_of_block(line)?))) {
            Some((n, line, before)) => Place { line: n + 1, column: line[..before].chars().count() + 1, ..text },
            None => text,
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Mistake> {
        let (Open::Sequence { place, .. } | Open::Map { place, .. }) = &open;
        if self.stack.len() >= DEPTH_LIMIT {
            return Err(too_deep(place));
        }
        if let Some(Open::Map { key: None, place: outer, .. }) = self.stack.last() {
            if let Some(mistake) = trouble::unquoted(outer, &self.lines) {
                return Err(mistake);
            }
            let hint = "write a plain word as the key, and put `{{…}}` in quotes";
            return Err(Mistake::at(place, "a list or a map is used as a key", hint));
        }
        self.stack.push(open);
        Ok(())
    }

    fn key(&mut self, new: Key) {
        let Some(Open::Map { entries, lines, key, .. }) = self.stack.last_mut() else { return };
        if new.name == "<<" {
            let hint = "write out the keys, or put what is shared into its own layer";
            self.mistakes.push(Mistake::at(&new.place, "merge keys (`<<`) are not part of boot documents", hint));
        }
        if let Some(first) = earlier(entries, lines, &new) {
            let message = format!("the key `{}` is defined twice; first in line {first}", new.name);
            self.mistakes.push(Mistake::at(&new.place, message, "keep one of the two"));
        }
        *key = Some(new);
    }

    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(Mistake::at(&node.place, "this document has more than a million values", "split it, or use fewer aliases"));
        }
        if anchor > 0 {
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => return Err(Mistake::at(&node.place, "an alias is used as a key", "write a plain word as the key")),
            },
        }
        Ok(())
    }
}

/// The line in which an open map already has the key `new`. `lines` is maintained once there are many keys.
fn earlier(entries: &[(Key, Node)], lines: &mut BTreeMap<String, usize>, new: &Key) -> Option<usize> {
    if entries.len() < FEW_KEYS {
        return entries.iter().find(|(key, _)| key.name == new.name).map(|(key, _)| key.place.line);
    }
    if lines.is_empty() {
        // The first of several equal keys is kept.
        lines.extend(entries.iter().rev().map(|(key, _)| (key.name.clone(), key.place.line)));
    }
    match lines.entry(new.name.clone()) {
        Entry::Vacant(entry) => {
            entry.insert(new.place.line);
            None
        }
        Entry::Occupied(first) => Some(*first.get()),
    }
}

fn too_deep(place: &Place) -> Mistake {
    Mistake::at(place, format!("values are nested more than {DEPTH_LIMIT} deep"), "flatten the document")
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Sequence(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 1,
    }
}

/// Whether an unquoted scalar is a string.
pub(crate) fn is_string(text: &str) -> bool {
    matches!(plain(text), Value::String(_))
}

/// The value of an unquoted scalar.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" => Value::Bool(true, "true"),
        "True" => Value::Bool(true, "True"),
        "TRUE" => Value::Bool(true, "TRUE"),
        "false" => Value::Bool(false, "false"),
        "False" => Value::Bool(false, "False"),
        "FALSE" => Value::Bool(false, "FALSE"),
        _ if number::is_number(text) => Value::Number(text.to_owned()),
        _ => Value::String(text.to_owned()),
    }
}
