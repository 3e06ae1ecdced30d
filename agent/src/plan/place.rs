//! Finds the place of a template's path in a document.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::document::error::Sources;
use crate::text::Place;

/// The maximum number of characters of a line that are scanned to reach a column.
const STRIDE: usize = 256;

/// How many bytes of a line are searched, because a document may be a single line with thousands of strings.
const WINDOW: usize = 64 << 10;

/// The documents, each scanned once however many places in it are searched for.
#[derive(Debug, Default)]
pub(super) struct Index(RefCell<BTreeMap<Arc<str>, Rc<Indexed>>>);

/// One document.
#[derive(Debug)]
struct Indexed {
    text: Arc<str>,
    /// The start of each line, in bytes.
    lines: Vec<usize>,
    /// For lines longer than [`STRIDE`] bytes, the byte offset of every [`STRIDE`]th character.
    columns: BTreeMap<usize, Vec<usize>>,
}

impl Index {
    fn of(&self, sources: &Sources, file: &Arc<str>) -> Rc<Indexed> {
        let indexed = || Rc::new(Indexed::of(sources.get(file).cloned().unwrap_or_else(|| "".into())));
        self.0.borrow_mut().entry(file.clone()).or_insert_with(indexed).clone()
    }
}

impl Indexed {
    fn of(text: Arc<str>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut indexed = Self { text, lines, columns: BTreeMap::new() };
        for n in 0..indexed.lines.len() {
            let line = indexed.line(n);
            if line.len() > STRIDE {
                let columns = line.char_indices().step_by(STRIDE).map(|(at, _)| at).collect();
                indexed.columns.insert(n, columns);
            }
        }
        indexed
    }

    /// A line without its line break; empty if there is no such line.
    fn line(&self, n: usize) -> &str {
        let Some(begin) = self.lines.get(n) else { return "" };
        let end = self.lines.get(n + 1).map_or(self.text.len(), |next| next - 1);
        self.text[*begin..end].trim_end_matches('\r')
    }

    /// The searched part of a line, starting at a byte offset.
    fn window(&self, n: usize, from: usize) -> &str {
        let rest = self.line(n).get(from..).unwrap_or_default();
        &rest[..rest.floor_char_boundary(WINDOW)]
    }

    /// The byte offset of a column, which counts from 1.
    fn byte(&self, n: usize, column: usize) -> usize {
        let (line, before) = (self.line(n), column.saturating_sub(1));
        let stride = self.columns.get(&n).and_then(|columns| Some((columns.get(before / STRIDE)?, before % STRIDE)));
        let (from, before) = stride.map_or((0, before), |(from, before)| (*from, before));
        line[from..].char_indices().nth(before).map_or(line.len(), |(at, _)| from + at)
    }

    /// The column of a byte offset in a line.
    fn column(&self, n: usize, byte: usize) -> usize {
        let known = self.columns.get(&n).map_or(0, |columns| columns.partition_point(|at| *at <= byte).saturating_sub(1));
        let from = self.columns.get(&n).map_or(0, |columns| columns[known]);
        known * STRIDE + self.line(n)[from..byte].chars().count() + 1
    }
}

/// Finds parts of a string in the lines of the document. A part that was scanned for one search is not scanned again
/// for the next.
pub(super) struct Search<'a> {
    start: &'a Place,
    indexed: Rc<Indexed>,
    /// How many bytes of the first line precede the string.
    begin: usize,
    found: BTreeMap<(usize, String), Place>,
    /// Where the last match was found: its line, and the byte offset in that line.
    last: (usize, usize),
}

impl<'a> Search<'a> {
    pub(super) fn of(index: &Index, sources: &Sources, start: &'a Place) -> Self {
        let indexed = index.of(sources, &start.file);
        let begin = indexed.byte(start.line - 1, start.column);
        Self { start, indexed, begin, found: BTreeMap::new(), last: (0, 0) }
    }

    /// The place of `written` in this line of the string, counted from 1. If it is not found, the start of the string
    /// is returned as an approximation.
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
        let first = self.start.line - 1;
        let count = (self.indexed.lines.len() - first.min(self.indexed.lines.len())).min(line + 1);
        // The text of a block scalar begins in the line after its indicator. An escaped line break is not a line break
        // in the document.
        let block = self.indexed.line(first)[self.begin..].starts_with(['|', '>']);
        let likely = Some(if block { line } else { line - 1 }).filter(|likely| *likely < count);
        let (n, at) = likely.into_iter().chain(0..count).find_map(|n| Some((n, self.look_in_line(n, written)?)))?;
        self.last = (n, at);
        Some(Place { file: self.start.file.clone(), line: self.start.line + n, column: self.indexed.column(first + n, at) })
    }

    /// The byte offset of `written` in a line. Prefers a match after the last one to an earlier match.
    fn look_in_line(&self, n: usize, written: &str) -> Option<usize> {
        let begin = if n == 0 { self.begin } else { 0 };
        let behind = Some(self.last.1).filter(|bytes| n == self.last.0 && *bytes > begin);
        let line = self.start.line - 1 + n;
        behind.into_iter().chain([begin]).find_map(|from| Some(from + self.indexed.window(line, from).find(written)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_text(index: &Index, sources: &Sources, start: &Place, line: usize, written: &str) -> Place {
        Search::of(index, sources, start).find(line, written)
    }

    #[test]
    fn each_is_found_behind_the_one_before() {
        let file: Arc<str> = "a".into();
        let sources = Sources::from([(file.clone(), "x: \"ä {{a.b}} {{c}} {{a.bc}} {{c}}\"\n  ä: |\n    {{d}}\n".into())]);
        let start = Place { file: file.clone(), line: 1, column: 4 };
        let index = Index::default();
        let mut search = Search::of(&index, &sources, &start);
        let found = ["a.b", "c", "a.bc", "c", "x"].map(|written| search.find(1, written).column);
        assert_eq!(found, [9, 17, 23, 17, 4]);
        let block = Place { file, line: 2, column: 6 };
        assert_eq!(in_text(&index, &sources, &block, 1, "d"), Place { line: 3, column: 7, ..block.clone() });
    }

    #[test]
    fn columns_of_a_long_line_are_counted_in_characters() {
        let file: Arc<str> = "a".into();
        let line = "ä{{b}}".repeat(1000);
        let sources = Sources::from([(file.clone(), format!("x\r\n{line}\ny").into())]);
        let index = Index::default();
        for n in [0, 1, 41, 42, 43, 500, 999] {
            let start = Place { file: file.clone(), line: 2, column: n * 6 + 1 };
            assert_eq!(in_text(&index, &sources, &start, 1, "b").column, n * 6 + 4, "{n}");
        }
        let beyond = Place { file, line: 2, column: 90_000 };
        assert_eq!(in_text(&index, &sources, &beyond, 1, "b"), beyond);
    }

    /// Regression: 8,000 warnings in one line of 400 KB took 30 s.
    #[test]
    fn many_strings_of_one_line_are_each_found_at_once() {
        let file: Arc<str> = "a".into();
        let sources = Sources::from([(file.clone(), "{\"ä\": \"{{b}}\"}, ".repeat(16_000).into())]);
        let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let (began, index) = (now(), Index::default());
        for n in 0..16_000 {
            let start = Place { file: file.clone(), line: 1, column: n * 16 + 7 };
            assert_eq!(in_text(&index, &sources, &start, 1, "b").column, n * 16 + 10);
        }
        let took = std::time::Duration::from(now() - began);
        assert!(took.as_secs() < 4, "{took:?}");
    }
}
