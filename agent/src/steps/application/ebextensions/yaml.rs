//! Parses YAML or JSON, keeping the line of each value.
//!
//! More lenient than the parser of boot documents: scalars are the text as written, tags are ignored, and the last of
//! equal keys wins.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, Span};

/// More values than any of these files has. The limit is needed because aliases multiply values.
const NODE_LIMIT: usize = 50_000;

const DEPTH_LIMIT: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) node: Node,
}

/// Text that is not YAML: the line and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// The result of parsing a text.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// `None` if the text contains nothing but comments.
    pub(crate) root: Option<Node>,
    /// Keys that occur more than once, with the line of each repetition.
    pub(crate) twice: Vec<(String, usize)>,
}

pub(crate) fn parse(text: &str) -> Result<Parsed, Refusal> {
    let mut builder = Builder { open: Vec::new(), anchors: BTreeMap::new(), root: None, twice: Vec::new(), nodes: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|error| Refusal { line: error.marker().line().max(1), message: format!("this is not YAML: {}", error.info()) })?;
        builder.event(event, span)?;
    }
    Ok(Parsed { root: builder.root, twice: builder.twice })
}

/// A list or map that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    value: Value,
    /// The key whose value comes next.
    key: Option<(String, usize)>,
    /// All keys so far.
    keys: BTreeSet<String>,
}

impl Open {
    /// The finished value, in which the last of equal keys wins.
    fn closed(self) -> Value {
        let Self { value, mut keys, .. } = self;
        match value {
            Value::Map(entries) if entries.len() > keys.len() => {
                let mut left: Vec<Entry> = entries.into_iter().rev().filter(|entry| keys.remove(&entry.key)).collect();
                left.reverse();
                Value::Map(left)
            }
            value => value,
        }
    }
}

struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    twice: Vec<(String, usize)>,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Refusal> {
        let line = span.start.line().max(1);
        let refused = |message: &str| Err(Refusal { line, message: message.into() });
        match event {
            Event::DocumentStart(_) if self.root.is_some() => return refused("a second document begins here"),
            Event::Scalar(text, _, anchor, _) => match self.open.last_mut() {
                Some(Open { value: Value::Map(_), key: key @ None, .. }) => *key = Some((text.into_owned(), line)),
                _ => return self.node(Node { line, value: Value::Scalar(text.into_owned()) }, anchor),
            },
            Event::SequenceStart(anchor, _) => return self.begin(line, anchor, Value::List(Vec::new())),
            Event::MappingStart(anchor, _) => return self.begin(line, anchor, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let (line, anchor) = (open.line, open.anchor);
                    return self.node(Node { line, value: open.closed() }, anchor);
                }
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) if self.open.len() + node.depth() <= DEPTH_LIMIT => {
                    self.nodes += node.size();
                    return self.node(Node { line, ..node }, 0);
                }
                _ => return refused("this alias refers to a value that contains it, or that is nested too deep"),
            },
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, value: Value) -> Result<(), Refusal> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(Refusal { line, message: format!("values are nested more than {DEPTH_LIMIT} deep") });
        }
        if matches!(self.open.last(), Some(Open { value: Value::Map(_), key: None, .. })) {
            return Err(Refusal { line, message: "a list or a map is in place of a key".into() });
        }
        self.open.push(Open { line, anchor, value, key: None, keys: BTreeSet::new() });
        Ok(())
    }

    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Refusal> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(Refusal { line: node.line, message: format!("there are more than {NODE_LIMIT} values") });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { value: Value::List(items), .. }) => items.push(node),
            Some(Open { value: Value::Map(entries), key, keys, .. }) => {
                let Some((key, line)) = key.take() else {
                    return Err(Refusal { line: node.line, message: "an alias is in place of a key".into() });
                };
                if !keys.insert(key.clone()) {
                    self.twice.push((key.clone(), line));
                }
                entries.push(Entry { key, line, node });
            }
            Some(Open { value: Value::Scalar(_), .. }) => {}
        }
        Ok(())
    }
}

impl Node {
    /// The entries of a map; empty for any other value.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => &[],
        }
    }

    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.value {
            Value::Scalar(_) => Box::new(std::iter::empty()),
            Value::List(items) => Box::new(items.iter()),
            Value::Map(entries) => Box::new(entries.iter().map(|entry| &entry.node)),
        }
    }

    fn size(&self) -> usize {
        1 + self.children().map(Self::size).sum::<usize>()
    }

    fn depth(&self) -> usize {
        1 + self.children().map(Self::depth).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scalars_are_the_text_that_was_written() {
        let node = parse("a: 0640\nb: true\nc: '1'\nd:\n  - 1.20\n").unwrap().root.unwrap();
        let scalars: Vec<Option<&str>> = node.entries().iter().map(|entry| entry.node.scalar()).collect();
        assert_eq!(scalars, [Some("0640"), Some("true"), Some("1"), None]);
        assert_eq!(node.entries()[3].line, 4);
    }

    /// Many editors indent JSON with tabs.
    #[test]
    fn json_is_read_with_its_lines() {
        let node = parse("{\n\t\"a\": {\n\t\t\"b\": \"c\\n\"\n\t}\n}\n").unwrap().root.unwrap();
        let entry = &node.entries()[0];
        assert_eq!((entry.line, entry.node.entries()[0].line, entry.node.entries()[0].node.scalar()), (2, 3, Some("c\n")));
    }

    #[test]
    fn of_equal_keys_the_last_one_counts_and_is_named() {
        let parsed = parse("a: 1\nb: 2\na: 3\n").unwrap();
        assert_eq!(parsed.twice, [("a".to_owned(), 3)]);
        let root = parsed.root.unwrap();
        let entries: Vec<_> = root.entries().iter().map(|entry| (entry.key.as_str(), entry.node.scalar())).collect();
        assert_eq!(entries, [("b", Some("2")), ("a", Some("3"))]);
    }

    /// Regression: 256 KiB of keys took seven hundred million comparisons, on the runtime's only thread.
    #[test]
    fn the_time_grows_with_the_number_of_keys() {
        let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let different: String = (0..37_000).map(|n| format!("k{n}: \n")).collect();
        let equal: String = (0..37_000).map(|n| format!("k{}: \n", n / 2)).collect();
        for (text, entries) in [(different, 37_000), (equal, 18_500)] {
            let began = now();
            assert_eq!(parse(&text).unwrap().root.unwrap().entries().len(), entries);
            let took = std::time::Duration::from(now() - began);
            assert!(took.as_secs() < 4, "{took:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_has_a_line() {
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().line, 3);
        assert_eq!(parse("a: 1\n---\nb: 1\n").unwrap_err(), Refusal { line: 2, message: "a second document begins here".into() });
        assert!(parse(&"[".repeat(1000)).is_err());
        let bomb: String = (1..12).fold("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".into(), |text, n| {
            text + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","))
        });
        assert!(parse(&bomb).unwrap_err().message.contains("more than"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}|[a-c:{}\\[\\],&*!|>'\"#\\- \n\t]{0,80}") {
            let _ = parse(&text);
        }
    }
}
