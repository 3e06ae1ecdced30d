//! Edits `properties` in the text of fleet.yaml, preserving comments and layout.
//!
//! The parser knows where each value begins; its end is searched for in the text. The result is accepted only if the
//! new text parses to exactly what was intended.

use std::collections::BTreeMap;

use ingot::desk::{self, Node, Objection, Value};
use serde_json::{Value as Json, json};

/// Changes of properties: a new value, or `None` to remove the property.
pub(crate) type Changes = BTreeMap<String, Option<String>>;

const PROPERTIES: &str = "properties";

/// Applies changes to an environment of a fleet.yaml that has no mistakes.
///
/// A property set in `defaults:` is removed by writing `null`.
pub(crate) fn edited(text: &str, environment: &str, changes: &Changes) -> Result<String, Objection> {
    let by_hand = || {
        let message = format!("cannot edit `properties` of `{environment}`: ingot-fleet does not support the form they are written in");
        let hint = format!("change them in fleet.yaml by hand, then run `ingot-fleet deploy {environment} --release RELEASE`");
        Objection::new(message, hint)
    };
    let mut wanted = parsed(text).ok_or_else(by_hand)?.to_json();
    let mut new = text.to_owned();
    for (name, value) in changes {
        let is_default = wanted["defaults"][PROPERTIES].get(name).is_some_and(|value| !value.is_null());
        let has = wanted["environments"][environment][PROPERTIES].get(name);
        let change = match value {
            Some(value) => Change::Set(json!(value)),
            None if is_default => Change::Set(Json::Null),
            None if has.is_some() => Change::Remove,
            None => {
                let hint = format!("leave it out: `ingot-fleet config {environment}` lists the existing properties");
                return Err(Objection::new(format!("`{environment}` has no property `{name}`"), hint));
            }
        };
        let is_done = match (&change, has) {
            (Change::Set(value), Some(has)) => value == has,
            _ => false,
        };
        if !is_done {
            new = one(&new, environment, name, &change).ok_or_else(by_hand)?;
            apply(&mut wanted["environments"][environment], name, change);
        }
    }
    let is_meant = parsed(&new).is_some_and(|root| without_nothing(root.to_json()) == without_nothing(wanted));
    if is_meant { Ok(new) } else { Err(by_hand()) }
}

enum Change {
    Set(Json),
    Remove,
}

fn parsed(text: &str) -> Option<Node> {
    let (root, mistakes) = desk::parse(&"fleet.yaml".into(), text);
    root.filter(|_| mistakes.is_empty())
}

/// Applies the change to the parsed tree, for comparison.
fn apply(environment: &mut Json, name: &str, change: Change) {
    match change {
        Change::Set(value) => environment[PROPERTIES][name] = value,
        Change::Remove => {
            if let Some(properties) = environment[PROPERTIES].as_object_mut() {
                properties.remove(name);
            }
        }
    }
}

/// Drops empty properties of environments, which are equal to none.
fn without_nothing(mut root: Json) -> Json {
    for environment in root["environments"].as_object_mut().into_iter().flatten().map(|(_, environment)| environment) {
        if let Some(settings) = environment.as_object_mut()
            && settings.get(PROPERTIES).is_some_and(|properties| properties.is_null() || *properties == json!({}))
        {
            settings.remove(PROPERTIES);
        }
    }
    root
}

/// Applies one change to the text.
fn one(text: &str, environment: &str, name: &str, change: &Change) -> Option<String> {
    let root = parsed(text)?;
    let environment = root.get("environments")?.get(environment)?;
    let properties = entry(environment, PROPERTIES);
    let file = File { text };
    match (properties, change) {
        (Some((_, properties)), Change::Set(value)) => match entry(properties, name) {
            Some((_, node)) => {
                let start = file.offset(node)?;
                Some(file.with(start, file.scalar_end(start, file.is_flow(properties))?, &written(value)))
            }
            None => file.added(properties, &format!("{name}: {}", written(value))),
        },
        (None, Change::Set(value)) => match file.is_flow(environment) {
            true => file.added(environment, &format!("{PROPERTIES}: {{ {name}: {} }}", written(value))),
            false => {
                let indent = " ".repeat(environment.place.column - 1);
                file.added(environment, &format!("{PROPERTIES}:\n{indent}  {name}: {}", written(value)))
            }
        },
        (Some((key, properties)), Change::Remove) => {
            let is_only = matches!(&properties.value, Value::Map(entries) if entries.len() == 1);
            match file.is_flow(properties) {
                true => file.without_item(properties, name),
                false if is_only => file.without_lines(key.line, key.column),
                false => entry(properties, name).and_then(|(key, _)| file.without_lines(key.line, key.column)),
            }
        }
        (None, Change::Remove) => None,
    }
}

fn entry<'a>(map: &'a Node, name: &str) -> Option<(&'a desk::Place, &'a Node)> {
    match &map.value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(key, node)| (&key.place, node)),
        _ => None,
    }
}

/// Writes a value as YAML on one line.
fn written(value: &Json) -> String {
    let Json::String(text) = value else { return value.to_string() };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.@%+-".contains(&byte);
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/') && text.bytes().all(is_word);
    let has_meaning = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    // A JSON string is a valid YAML string.
    if is_plain && !has_meaning { text.clone() } else { value.to_string() }
}

/// The text, addressed by line and column.
#[derive(Clone, Copy)]
struct File<'a> {
    text: &'a str,
}

impl File<'_> {
    fn line_start(self, line: usize) -> Option<usize> {
        match line {
            1 => Some(0),
            line => self.text.match_indices('\n').nth(line - 2).map(|(at, _)| at + 1),
        }
    }

    fn offset(self, node: &Node) -> Option<usize> {
        let start = self.line_start(node.place.line)?;
        let line = self.text[start..].lines().next().unwrap_or_default();
        let (at, _) = line.char_indices().nth(node.place.column - 1)?;
        Some(start + at)
    }

    fn is_flow(self, map: &Node) -> bool {
        self.offset(map).is_some_and(|at| self.text[at..].starts_with('{'))
    }

    fn with(self, start: usize, end: usize, new: &str) -> String {
        format!("{}{new}{}", &self.text[..start], &self.text[end..])
    }

    /// Returns the end of a scalar on one line.
    fn scalar_end(self, start: usize, is_flow: bool) -> Option<usize> {
        let line = self.text[start..].lines().next()?;
        let length = match line.chars().next()? {
            '"' => {
                let mut is_escaped = false;
                let end = line.char_indices().skip(1).find(|(_, char)| {
                    let ends = *char == '"' && !is_escaped;
                    is_escaped = *char == '\\' && !is_escaped;
                    ends
                });
                end?.0 + 1
            }
            '\'' => {
                let mut from = 1;
                loop {
                    let at = from + line[from..].find('\'')?;
                    if !line[at + 1..].starts_with('\'') {
                        break at + 1;
                    }
                    from = at + 2;
                }
            }
            '|' | '>' | '&' | '*' | '!' | '{' | '[' => return None,
            _ => {
                let ends = |(at, _): &(usize, char)| {
                    let rest = &line[*at..];
                    rest.starts_with(" #") || is_flow && rest.starts_with([',', '}', ']'])
                };
                let end = line.char_indices().find(ends).map_or(line.len(), |(at, _)| at);
                line[..end].trim_end().len()
            }
        };
        Some(start + length)
    }

    /// Returns the position of a flow map's closing brace.
    fn closing(self, start: usize) -> Option<usize> {
        let (mut depth, mut at) = (0_usize, start);
        let mut before = ' ';
        while let Some(char) = self.text[at..].chars().next() {
            match char {
                // A quote starts a quoted scalar only where a scalar may start.
                '"' | '\'' if before.is_whitespace() || "{[,:".contains(before) => {
                    at = self.scalar_end(at, true)?;
                    before = char;
                    continue;
                }
                '#' if before.is_whitespace() => {
                    at += self.text[at..].find('\n')?;
                    continue;
                }
                '{' | '[' => depth += 1,
                '}' | ']' if depth == 1 => return Some(at),
                '}' | ']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            before = char;
            at += char.len_utf8();
        }
        None
    }

    /// Returns the text with an entry added at the end of a map.
    fn added(self, map: &Node, entry: &str) -> Option<String> {
        let start = self.offset(map)?;
        if self.is_flow(map) {
            let end = start + self.text[start..self.closing(start)?].trim_end().len();
            let is_empty = matches!(&map.value, Value::Map(entries) if entries.is_empty());
            let before = if is_empty || self.text[..end].ends_with(',') { "" } else { "," };
            let after = if self.text[end..].starts_with('}') { " " } else { "" };
            return Some(self.with(end, end, &format!("{before} {entry}{after}")));
        }
        // A map that begins in the middle of a line has no lines of its own to add to.
        let line = self.line_start(map.place.line)?;
        if !self.text[line..start].bytes().all(|byte| byte == b' ') || !matches!(map.value, Value::Map(_)) {
            return None;
        }
        let end = self.block_end(map.place.line, map.place.column)?;
        let new_line = if self.text[..end].ends_with('\n') { "" } else { "\n" };
        Some(self.with(end, end, &format!("{new_line}{}{entry}\n", &self.text[line..start])))
    }

    /// Returns the end of a block, after its last line with content. Its lines are indented at least as far as the
    /// first.
    fn block_end(self, first: usize, column: usize) -> Option<usize> {
        let mut at = self.line_start(first)?;
        let mut end = at;
        for (number, line) in self.text[at..].split_inclusive('\n').enumerate() {
            let content = line.trim_start_matches(' ');
            let is_nothing = content.trim().is_empty() || content.starts_with('#');
            if number > 0 && !is_nothing && line.len() - content.len() + 1 < column {
                break;
            }
            at += line.len();
            if !is_nothing {
                end = at;
            }
        }
        Some(end)
    }

    /// Returns the text without the entry of a block map that begins at a line.
    fn without_lines(self, line: usize, column: usize) -> Option<String> {
        let start = self.line_start(line)?;
        let first = start + self.text[start..].find('\n').map_or(self.text.len() - start, |at| at + 1);
        let end = if first < self.text.len() && self.indent(first) >= column { self.block_end(line + 1, column + 1)? } else { first };
        Some(self.with(start, end, ""))
    }

    /// Returns the indentation of the line that begins at `start`.
    fn indent(self, start: usize) -> usize {
        self.text[start..].bytes().take_while(|byte| *byte == b' ').count()
    }

    /// Returns the text without an entry of a flow map.
    fn without_item(self, map: &Node, name: &str) -> Option<String> {
        let Value::Map(entries) = &map.value else { return None };
        let at = entries.iter().position(|(key, _)| key.name == name)?;
        let key_of = |at: usize| {
            let (key, _) = entries.get(at)?;
            self.offset(&Node { place: key.place.clone(), value: Value::Null })
        };
        let start = key_of(at)?;
        if let Some(next) = key_of(at + 1) {
            return Some(self.with(start, next, ""));
        }
        let end = self.scalar_end(self.offset(&entries[at].1)?, true)?;
        // Remove the preceding comma too.
        let before = self.text[..start].trim_end();
        let start = if at > 0 { before.strip_suffix(',')?.len() } else { start };
        Some(self.with(start, end, ""))
    }
}

#[cfg(test)]
mod tests;
