//! Where a path of a template stands in a document.

use crate::document::error::Sources;
use crate::text::Place;

/// Finds `written` again in the lines of the document, from where its string begins at `start`. `line` is its line within
/// the string, from 1. Where it is not found, the beginning is near enough.
pub(super) fn in_text(sources: &Sources, start: &Place, line: usize, written: &str) -> Place {
    in_lines(&lines_from(sources, start), start, line, written)
}

/// The lines of the document from the one in which a string begins, for [`in_lines`].
pub(super) fn lines_from<'a>(sources: &'a Sources, start: &Place) -> Vec<&'a str> {
    sources.get(&start.file).map_or("", |text| text).lines().skip(start.line - 1).collect()
}

/// The same as [`in_text`], for those who look for many.
pub(super) fn in_lines(lines: &[&str], start: &Place, line: usize, written: &str) -> Place {
    let lines = &lines[..lines.len().min(line + 1)];
    let from = |n: usize| match n {
        0 => lines[0].char_indices().nth(start.column - 1).map_or(lines[0].len(), |(at, _)| at),
        _ => 0,
    };
    // The text of a block begins in the line after its mark. A line break that is escaped is none in the document.
    let block = lines.first().is_some_and(|first| first[from(0)..].starts_with(['|', '>']));
    let likely = Some(if block { line } else { line - 1 }).filter(|likely| *likely < lines.len());
    for n in likely.into_iter().chain(0..lines.len()) {
        if let Some(at) = lines[n][from(n)..].find(written) {
            let column = lines[n][..from(n) + at].chars().count() + 1;
            return Place { file: start.file.clone(), line: start.line + n, column };
        }
    }
    start.clone()
}
