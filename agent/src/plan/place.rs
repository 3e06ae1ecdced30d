//! Where a path of a template stands in a document.

use crate::document::error::Sources;
use crate::text::Place;

/// Finds `written` again in the lines of the document, from where its string begins at `start`. `line` is its line within
/// the string, from 1. Where it is not found, the beginning is near enough.
pub(super) fn in_text(sources: &Sources, start: &Place, line: usize, written: &str) -> Place {
    let source = sources.get(&start.file).map_or("", |text| text);
    let lines = source.lines().enumerate().skip(start.line - 1).take(line + 1);
    for (index, line) in lines {
        let from = if index + 1 == start.line { start.column - 1 } else { 0 };
        let head: String = line.chars().take(from).collect();
        if let Some(at) = line[head.len()..].find(written) {
            let column = line[..head.len() + at].chars().count() + 1;
            return Place { file: start.file.clone(), line: index + 1, column };
        }
    }
    start.clone()
}
