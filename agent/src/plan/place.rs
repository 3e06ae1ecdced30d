//! Where a path of a template stands in a document.

use std::collections::BTreeMap;

use crate::document::error::Sources;
use crate::text::Place;

/// Finds `written` again in the lines of the document, from where its string begins at `start`. `line` is its line within
/// the string, from 1. Where it is not found, the beginning is near enough.
pub(super) fn in_text(sources: &Sources, start: &Place, line: usize, written: &str) -> Place {
    Search::within(sources, start, line + 1).find(line, written)
}

/// The same, for those who look for many in one string: what was gone through for one is not gone through for the next, since a
/// document may be one line.
pub(super) struct Search<'a> {
    start: &'a Place,
    /// The lines of the document from the one in which the string begins.
    lines: Vec<&'a str>,
    /// How many bytes of the first line come before the string.
    begin: usize,
    found: BTreeMap<(usize, String), Place>,
    last: Last,
}

/// Where something was found.
#[derive(Default)]
struct Last {
    line: usize,
    /// How many bytes of the line come before it, and how many characters.
    bytes: usize,
    characters: usize,
}

impl<'a> Search<'a> {
    pub(super) fn of(sources: &'a Sources, start: &'a Place) -> Self {
        Self::within(sources, start, usize::MAX)
    }

    fn within(sources: &'a Sources, start: &'a Place, lines: usize) -> Self {
        let lines: Vec<&str> = sources.get(&start.file).map_or("", |text| text).lines().skip(start.line - 1).take(lines).collect();
        let begin = lines.first().map_or(0, |first| {
            let mut rest = first.chars();
            // Faster than to look at each.
            let _ = start.column.checked_sub(2).and_then(|before| rest.nth(before));
            first.len() - rest.as_str().len()
        });
        Self { start, lines, begin, found: BTreeMap::new(), last: Last::default() }
    }

    /// Where `written` stands that is in this line of the string.
    pub(super) fn find(&mut self, line: usize, written: &str) -> Place {
        let key = (line, written.to_owned());
        if let Some(known) = self.found.get(&key) {
            return known.clone();
        }
        let place = self.look(line, written).unwrap_or_else(|| self.start.clone());
        self.found.insert(key, place.clone());
        place
    }

    fn look(&mut self, line: usize, written: &str) -> Option<Place> {
        let count = self.lines.len().min(line + 1);
        // The text of a block begins in the line after its mark. A line break that is escaped is none in the document.
        let block = self.lines.first().is_some_and(|first| first[self.begin..].starts_with(['|', '>']));
        let likely = Some(if block { line } else { line - 1 }).filter(|likely| *likely < count);
        let (n, at) = likely.into_iter().chain(0..count).find_map(|n| Some((n, self.look_in_line(n, written)?)))?;
        let mut last = if n == self.last.line && at >= self.last.bytes { std::mem::take(&mut self.last) } else { Last::default() };
        last = Last { line: n, bytes: at, characters: last.characters + self.lines[n][last.bytes..at].chars().count() };
        let column = last.characters + 1;
        self.last = last;
        Some(Place { file: self.start.file.clone(), line: self.start.line + n, column })
    }

    /// How many bytes come before it: rather behind the last one than before it.
    fn look_in_line(&self, n: usize, written: &str) -> Option<usize> {
        let begin = if n == 0 { self.begin } else { 0 };
        let behind = Some(self.last.bytes).filter(|bytes| n == self.last.line && *bytes > begin);
        behind.into_iter().chain([begin]).find_map(|from| Some(from + self.lines[n][from..].find(written)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_is_found_behind_the_one_before() {
        let file: Arc<str> = "a".into();
        let sources = Sources::from([(file.clone(), "x: \"ä {{a.b}} {{c}} {{a.bc}} {{c}}\"\n  ä: |\n    {{d}}\n".into())]);
        let start = Place { file: file.clone(), line: 1, column: 4 };
        let mut search = Search::of(&sources, &start);
        let found = ["a.b", "c", "a.bc", "c", "x"].map(|written| search.find(1, written).column);
        assert_eq!(found, [9, 17, 23, 17, 4]);
        let block = Place { file, line: 2, column: 6 };
        assert_eq!(in_text(&sources, &block, 1, "d"), Place { line: 3, column: 7, ..block.clone() });
    }
}
