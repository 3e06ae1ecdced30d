//! Where a path of a template stands in a document.

use crate::document::error::Sources;
use crate::text::Place;

/// Finds `written` again in the lines of the document, from where its string begins at `start`. `line` is its line within
/// the string, from 1. Where it is not found, the beginning is near enough.
pub(super) fn in_text(sources: &Sources, start: &Place, line: usize, written: &str) -> Place {
    let source = sources.get(&start.file).map_or("", |text| text);
    let lines: Vec<(usize, &str, usize)> = source
        .lines()
        .enumerate()
        .skip(start.line - 1)
        .take(line + 1)
        .map(|(index, line)| {
            let from = if index + 1 == start.line { start.column - 1 } else { 0 };
            (index, line, line.char_indices().nth(from).map_or(line.len(), |(at, _)| at))
        })
        .collect();
    // The text of a block begins in the line after its mark. A line break that is escaped is none in the document.
    let block = lines.first().is_some_and(|(_, line, from)| line[*from..].starts_with(['|', '>']));
    let likely = lines.get(if block { line } else { line - 1 });
    for (index, line, from) in likely.into_iter().chain(&lines) {
        if let Some(at) = line[*from..].find(written) {
            let column = line[..from + at].chars().count() + 1;
            return Place { file: start.file.clone(), line: index + 1, column };
        }
    }
    start.clone()
}
