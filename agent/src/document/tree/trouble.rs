//! Explains invalid YAML in terms that its authors understand.

use std::ops::Range;
use std::sync::Arc;

use crate::document::error::Mistake;
use crate::text::Place;

/// The mistake that the parser found at a line and a column, described in its own words by `info`.
pub(super) fn found(file: &Arc<str>, lines: &[&str], (line, column): (usize, usize), info: &str) -> Mistake {
    let at = |line, column| Place { file: file.clone(), line, column };
    let said = |place: &Place, what: &str, hint: &str| Mistake::at(place, format!("this is not YAML: {what}"), hint);
    let (place, text) = (at(line, column), lines.get(line - 1).copied().unwrap_or_default());
    let character = text.chars().nth(column - 1).unwrap_or(' ');
    if info.contains("tabs") {
        let column = text.chars().position(|character| character == '\t').map_or(column, |before| before + 1);
        return said(&at(line, column), "a tab is in the indentation", "indent with spaces");
    }
    if let Some((mark, first)) = unindented(lines, line) {
        let what = format!("this line is not indented, and line {mark} begins a block of text");
        return said(&at(first, 1), &what, "indent every line of the text deeper than the key of its block");
    }
    if info.contains("character escape code") {
        let hint = "write the character itself: unlike JSON, YAML has no pairs of escapes such as `\\ud83d\\ude00`";
        return said(&place, info, hint);
    }
    if info.contains("unexpected character") || info.contains("unknown anchor") {
        let what = format!("text that begins with `{character}` must be in quotes");
        return said(&place, &what, "put it in quotes");
    }
    let has_key = text.chars().take(column - 1).collect::<String>().contains(": ");
    let (what, hint) = match info {
        _ if info.contains("mapping values") && has_key => ("text that contains `: ` must be in quotes", "put the whole text in quotes"),
        _ if info.contains("quoted scalar") => ("a quote is opened here and never closed", "close the quote"),
        _ if info.contains("flow") => {
            ("a bracket before this is not closed, or a comma is missing", "close the `{` or `[`, or put a comma between its entries")
        }
        _ if ["mapping values", "expected key", "simple key"].iter().any(|part| info.contains(part)) => {
            ("this line does not fit the lines above it", "indent it like the lines around it, as `key: value`")
        }
        _ => (info, "check the indentation, the quotes and the brackets of this line and the one before"),
    };
    said(&place, what, hint)
}

/// The hint for an unquoted template; the value itself follows.
pub(crate) const QUOTE: &str = "put the whole value in quotes";

/// The mistake for an unquoted template whose first brace is at `place`.
pub(super) fn unquoted(place: &Place, lines: &[&str]) -> Option<Mistake> {
    let value = &lines.get(place.line - 1)?[template(lines, place)?];
    let quoted = if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") };
    let hint = format!("{QUOTE}: {quoted}");
    Some(Mistake::at(place, "`{{` begins a map in YAML, and a template must be in quotes", hint))
}

/// The part of the line that is the value starting at `place` with `{{`: up to the next item of a list or map in
/// brackets, or the rest.
pub(super) fn template(lines: &[&str], place: &Place) -> Option<Range<usize>> {
    let line = *lines.get(place.line - 1)?;
    let from = line.char_indices().nth(place.column - 1)?.0;
    let (before, rest) = line.split_at(from);
    rest.strip_prefix("{{")?;
    let depth = before.matches(['{', '[']).count().saturating_sub(before.matches(['}', ']']).count());
    let length = if depth > 0 {
        let closed = rest.find("}}")? + 2;
        closed + rest[closed..].find([' ', ',', ']', '}']).unwrap_or(rest.len() - closed)
    } else {
        rest.find(" #").map_or(rest, |comment| &rest[..comment]).trim_end().len()
    };
    Some(from..from + length)
}

/// The line of a block scalar's indicator above `line`, and the line of its first text, if that is not indented. Both
/// count from 1.
fn unindented(lines: &[&str], line: usize) -> Option<(usize, usize)> {
    let is_blank = |line: &&str| line.trim().is_empty();
    let mark = (line.saturating_sub(4)..line).rev().find(|n| lines.get(*n).is_some_and(|line| begins_block(line)))?;
    let first = (mark + 1..lines.len()).find(|n| !is_blank(&lines[*n]))?;
    (first < line && indentation(lines[first]) <= indentation(lines[mark])).then_some((mark + 1, first + 1))
}

/// Whether the indicator of a block scalar ends a line, as in `content: |`.
pub(super) fn begins_block(line: &str) -> bool {
    mark_of_block(line).is_some()
}

/// The number of bytes before the indicator of a block scalar in a line.
pub(super) fn mark_of_block(line: &str) -> Option<usize> {
    let code = line.find(" #").map_or(line, |comment| &line[..comment]).trim_end();
    let without = code.trim_end_matches(|character: char| character.is_ascii_digit() || matches!(character, '+' | '-'));
    let before = without.strip_suffix(['|', '>'])?;
    (before.is_empty() || before.ends_with([' ', '\t'])).then_some(before.len())
}

pub(super) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}
