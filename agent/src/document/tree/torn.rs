//! Continues after invalid YAML, so that one mistake does not hide the others.

use std::sync::Arc;

use super::trouble::{indentation, template};
use super::{Node, parse};
use crate::document::error::Mistake;
use crate::text::Place;

/// How many times a text is parsed again.
const ROUNDS: usize = 20;

/// Larger texts are parsed only once.
const LARGEST: usize = 1 << 20;

/// As [`parse`], but for a text that is not valid YAML returns the tree of the rest. The flag says that the tree is
/// incomplete.
pub(crate) fn parse_torn(file: &Arc<str>, text: &str) -> (Option<Node>, Vec<Mistake>, bool) {
    let (mut node, mut mistakes) = parse(file, text);
    let (mut rest, mut is_torn) = (text.to_owned(), false);
    for _ in 0..ROUNDS {
        if node.is_some() || text.len() > LARGEST {
            break;
        }
        let Some(shorter) = mistakes.last().and_then(|last| without(&rest, last.place.as_ref()?)) else { break };
        let (again, more) = parse(file, &shorter);
        mistakes.extend(more);
        (node, rest, is_torn) = (again, shorter, true);
    }
    let is_torn = is_torn && node.is_some();
    (node, mistakes, is_torn)
}

/// The text with the invalid part at `place` blanked, every other line unchanged: an unquoted template, a step, or a
/// section.
fn without(text: &str, place: &Place) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let borrowed: Vec<&str> = text.lines().collect();
    if let Some(value) = template(&borrowed, place) {
        let blank = format!("'{}'", " ".repeat(borrowed[place.line - 1][value.clone()].chars().count() - 2));
        lines[place.line - 1].replace_range(value, &blank);
        return Some(lines.join("\n"));
    }
    let at = (place.line - 1).min(borrowed.len().checked_sub(1)?);
    let section = (0..=at).rev().find(|n| is_section(borrowed[*n]))?;
    let end = (at + 1..borrowed.len()).find(|n| is_section(borrowed[*n])).unwrap_or(borrowed.len());
    let is_code = |n: &usize| !borrowed[*n].trim().is_empty() && !borrowed[*n].trim_start().starts_with('#');
    let depth = (section + 1..end).filter(is_code).map(|n| indentation(borrowed[n])).filter(|depth| *depth > 0).min();
    let is_step = |n: &usize| is_code(n) && Some(indentation(borrowed[*n])) == depth;
    let begin = (section + 1..=opened(&borrowed, section, at)).rev().find(is_step);
    let step_end = (at + 1..end).find(is_step).unwrap_or(end);
    let has_text = |range: std::ops::Range<usize>| range.into_iter().any(|n| !borrowed[n].is_empty());
    let gone = match begin {
        Some(begin) if has_text(begin..step_end) => begin..step_end,
        _ if has_text(section..end) => section..end,
        _ => return None,
    };
    lines[gone].iter_mut().for_each(String::clear);
    Some(lines.join("\n"))
}

/// The line with the first bracket that is still open at line `at`.
fn opened(lines: &[&str], section: usize, at: usize) -> usize {
    let (mut depth, mut begin) = (0_isize, at);
    for (n, line) in lines.iter().enumerate().take(at + 1).skip(section + 1) {
        if depth <= 0 {
            begin = n;
        }
        depth = depth.max(0) + line.matches(['{', '[']).count() as isize - line.matches(['}', ']']).count() as isize;
    }
    begin
}

/// Whether a line begins a section of the document: a plain key that is not indented.
fn is_section(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name && line.get(name.len() + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_not_yaml_does_not_hide_the_others() {
        for (document, rest) in [
            ("a:\n  b: \"x\nc:\n  d: 1\n", r#"{"a":null,"c":{"d":1}}"#),
            ("a:\n  b: {x\n  e: {y: 1}\n  f: 2\nc: {d: 1}\n", r#"{"a":null,"c":{"d":1}}"#),
            ("a:\n  b: {{x}}/y # why\n  e: 1\n", r#"{"a":{"b":"     ","e":1}}"#),
            ("a: {b: {{x}}, e: 1}\n", r#"{"a":{"b":"   ","e":1}}"#),
            ("a:\n  b:\n    x: |\ntext\nc: {d: 1}\n", r#"{"a":null,"c":{"d":1}}"#),
            ("a: {b: @x}\nc: {d: %y}\ne: 1\n", r#"{"e":1}"#),
        ] {
            let (node, mistakes, is_torn) = parse_torn(&"x".into(), document);
            assert_eq!(node.map(|node| node.to_json().to_string()).as_deref(), Some(rest), "{document}");
            assert!(is_torn && !mistakes.is_empty(), "{document}: {mistakes:?}");
        }
    }

    #[test]
    fn what_is_yaml_is_read_as_ever() {
        let (node, mistakes, is_torn) = parse_torn(&"x".into(), "a: 1\n");
        assert!(node.is_some() && mistakes.is_empty() && !is_torn);
        assert!(!parse_torn(&"x".into(), "\"").2);
    }
}
