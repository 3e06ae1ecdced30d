//! Explains why a text is not a template; the parser only says where it stopped.

use handlebars::TemplateErrorReason;

use super::error::TemplateError;
use super::helpers::Helper;
use super::path;
use super::position::Position;

/// Operators of other languages.
const OPERATORS: [&str; 8] = ["==", "!=", "&&", "||", "<", ">", " = ", " + "];

pub(super) fn unreadable(source: &str, error: &handlebars::TemplateError) -> TemplateError {
    let position = error.pos().map(|(line, column)| Position { line, column });
    let (reason, hint, found) = match error.reason() {
        TemplateErrorReason::MismatchingClosedHelper(opened, closed) | TemplateErrorReason::MismatchingClosedDecorator(opened, closed) => {
            let hint = format!("write {{{{/{opened}}}}} before it");
            (format!("`{{{{#{opened}}}}}` is closed by `{{{{/{closed}}}}}`"), Some(hint), None)
        }
        TemplateErrorReason::InvalidParam(text) => (format!("`{text}` is not a literal"), None, source.find(text)),
        _ => {
            let stopped = position.and_then(|position| position.offset_in(source)).unwrap_or(source.len());
            match in_tag(source, stopped) {
                Some((reason, hint, offset)) => (reason, Some(hint), Some(offset)),
                None => match unclosed_block(source) {
                    Some((name, offset)) => {
                        let hint = format!("write {{{{/{name}}}}} where it ends");
                        (format!("`{{{{#{name}}}}}` is never closed"), Some(hint), Some(offset))
                    }
                    None => ("this is not a template that Handlebars can read".to_owned(), None, None),
                },
            }
        }
    };
    let position = found.map(|offset| Position::of_offset(source, offset)).or(position).unwrap_or(Position::START);
    TemplateError::Syntax { reason, hint, position }
}

/// The mistake in the tag in which the parser stopped, the hint, and the position of the tag.
fn in_tag(source: &str, stopped: usize) -> Option<(String, String, usize)> {
    let offset = source[..source.floor_char_boundary(stopped.saturating_add(2).min(source.len()))].rfind("{{")?;
    let rest = &source[offset + 2..];
    let Some(end) = rest.find("}}").filter(|end| !rest[..*end].contains("{{")) else {
        let hint = "write `}}` where it ends; to print `{{` itself, write `\\{{`";
        return Some(("`{{` is never closed".into(), hint.into(), offset));
    };
    let tag = rest[..end].trim_matches(['~', '{', ' ']);
    let says = |reason: String, hint: String| Some((reason, hint, offset));
    if let Some(name) = tag.strip_prefix('/') {
        // The parser stops after the last block that is closed, but another block may be open.
        if unclosed_block(source).is_some() {
            return None;
        }
        return says(
            format!("`{{{{/{name}}}}}` closes a block that is not open"),
            format!("remove it, or write {{{{#{name} …}}}} before it"),
        );
    }
    if let Some((value, filter)) =
        tag.split_once('|').filter(|_| !tag.contains("||") && !tag.starts_with('#') && !tag.contains(['"', '\'']))
    {
        let (value, filter) = (value.trim(), filter.trim());
        let hint = match Helper::named(filter) {
            Some(_) => format!("write {{{{{filter} {value}}}}}"),
            None => format!("write {{{{{value}}}}}: no helper is called `{filter}`"),
        };
        return says("templates have helpers, not filters".into(), hint);
    }
    if OPERATORS.iter().any(|operator| tag.contains(operator)) && !tag.contains(['"', '\''])
        || OPERATORS[..4].iter().any(|operator| tag.contains(operator))
    {
        let hint = "compare by a helper in parentheses, as in {{#if (eq values.env 'prod')}}: eq, ne, not, and, or";
        return says("templates have no operators".into(), hint.into());
    }
    let inner = tag.split('(').nth(1).and_then(|inner| inner.split([' ', ')']).next());
    let inner = inner.filter(|name| Helper::named(name).is_none())?;
    says(format!("a call in parentheses begins with a helper, and `{inner}` is not one"), "write a helper first, as in (concat a b)".into())
}

/// The innermost block that is not closed. The parser reports it at the end of the file, which does not help the
/// author.
fn unclosed_block(source: &str) -> Option<(&str, usize)> {
    let mut open = Vec::new();
    for (offset, _) in source.match_indices("{{") {
        let tag = source[offset + 2..].trim_start_matches('~');
        let name = |rest: &'static str| -> Option<&str> {
            let after = tag.strip_prefix(rest)?.trim_start();
            Some(&after[..after.find(|character| !path::is_symbol(character)).unwrap_or(after.len())])
        };
        if let Some(name) = name("#").filter(|name| !name.is_empty()) {
            open.push((name, offset));
        } else if name("/").is_some() {
            open.pop()?;
        }
    }
    open.pop()
}
