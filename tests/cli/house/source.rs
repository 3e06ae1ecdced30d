//! Rust source as text, as far as imports need it: without comments, literals and unit tests;
//! with `use` trees expanded.

use std::collections::BTreeSet;

/// A `use` of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    /// The path as written: `crate::host::Files`, `super::x`, `child::*`.
    pub(crate) path: Vec<String>,
    /// The name it has here; `*` for all names of a module.
    pub(crate) name: String,
    /// Whether it is a re-export.
    pub(crate) public: bool,
}

/// `text` with blanks instead of comments and the content of literals, and without code that is only for tests.
pub(crate) fn bare(text: &str) -> String {
    without_visibility(&without_tests(&without_literals(text)))
}

/// `pub(in crate::x)` is not an import.
fn without_visibility(text: &str) -> String {
    let mut parts = text.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + "pub " + part.split_once(')').map_or(part, |(_, rest)| rest))
}

fn without_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let end = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => (2..rest.len()).find(|end| rest[..*end].ends_with(&['*', '/']) && *end > 3).unwrap_or(rest.len()),
            ['r', '#' | '"', ..] if !out.ends_with(is_name) => raw_string(rest),
            ['b', 'r', '#' | '"', ..] if !out.ends_with(is_name) => match raw_string(&rest[1..]) {
                0 => 0,
                end => end + 1,
            },
            ['"', ..] => quoted(rest),
            ['\'', '\\', ..] => rest.iter().skip(3).position(|c| *c == '\'').map_or(rest.len(), |end| end + 4),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        if end == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(rest[..end].iter().filter(|c| **c == '\n'));
            out.push(' ');
            at += end;
        }
    }
    out
}

/// The length of a raw string at the beginning of `rest`; 0 if there is none (but a raw identifier, for example).
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = 2 + hashes;
    (body..rest.len()).find(|at| rest[*at..].starts_with(&close)).map_or(rest.len(), |at| at + close.len())
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Removes each item under `#[cfg(test)]`.
fn without_tests(text: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        out.push_str(before);
        rest = &after[item_end(after)..];
    }
    out + rest
}

/// The beginnings of items that do not end at a comma.
const ITEMS: [&str; 10] = ["pub", "mod ", "use ", "fn ", "async ", "impl", "struct ", "enum ", "const ", "static "];

/// The end of the item at the beginning of `text`: its semicolon, or the brace that closes it.
fn item_end(text: &str) -> usize {
    let is_item = ITEMS.iter().any(|word| text.trim_start().starts_with(word));
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            // A variant or a field, possibly the last one.
            ',' if depth == 0 && !is_item => return at + 1,
            '}' if depth == 0 => return at,
            '{' | '(' => depth += 1,
            ')' => depth -= 1,
            '}' if depth == 1 => {
                // A `use` tree continues to its semicolon.
                return if text.trim_start().starts_with("use ") { at + 2 } else { at + 1 };
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Every `use` of a file, and the file without them. `text` has to be [`bare`].
pub(crate) fn uses(text: &str) -> (Vec<Use>, String) {
    let mut uses = Vec::new();
    let mut body = String::new();
    let mut rest = text;
    while let Some(at) = next_use(rest) {
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        let head = before.rsplit(['\n', ';', '}']).next().unwrap_or_default();
        let end = after.find(';').unwrap_or(after.len());
        expand(&after[..end], &[], head.trim_start().starts_with("pub"), &mut uses);
        body.push_str(before);
        rest = after.get(end + 1..).unwrap_or_default();
    }
    body.push_str(rest);
    (uses, body)
}

fn next_use(text: &str) -> Option<usize> {
    text.match_indices("use ").map(|(at, _)| at).find(|at| !text[..*at].ends_with(is_name))
}

/// Expands a `use` tree.
fn expand(tree: &str, before: &[String], public: bool, uses: &mut Vec<Use>) {
    let tree = tree.trim();
    if let Some((head, inner)) = tree.split_once('{') {
        let mut path = before.to_vec();
        path.extend(segments(head));
        for part in parts(inner.trim_end().strip_suffix('}').unwrap_or(inner)) {
            expand(part, &path, public, uses);
        }
        return;
    }
    let (written, alias) = match tree.split_once(" as ") {
        Some((written, alias)) => (written, Some(alias.trim())),
        None => (tree, None),
    };
    let mut path = before.to_vec();
    path.extend(segments(written));
    // `use a::{self}` means `use a`.
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    if let Some(last) = path.last().cloned() {
        uses.push(Use { name: alias.map_or(last, str::to_owned), path, public });
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned)
}

/// The parts of a group, split at its own commas.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[begin..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Every name in a body.
pub(crate) fn names(body: &str) -> BTreeSet<String> {
    body.split(|c| !is_name(c)).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Every path of at least two segments in a body: `a::b::c`.
pub(crate) fn paths(body: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.find(is_name) {
        let before = &rest[..at];
        // A field or a method is not a path; what follows `..` may be one.
        let leading = before.ends_with("::") || (before.ends_with('.') && !before.ends_with(".."));
        rest = &rest[at..];
        let mut path = Vec::new();
        loop {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            path.push(rest[..end].to_owned());
            rest = &rest[end..];
            match rest.strip_prefix("::") {
                Some(after) if after.starts_with(is_name) => rest = after,
                _ => break,
            }
        }
        if path.len() > 1 && !leading {
            found.push(path);
        }
    }
    found
}
