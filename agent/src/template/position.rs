//! Positions in the source of a template.

use std::fmt;

/// A position in the source of a template. Both fields count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn of_offset(source: &str, offset: usize) -> Self {
        Self::START.past(&source[..offset])
    }

    /// The position after `text`, which begins at this one.
    pub(super) fn past(self, text: &str) -> Self {
        // A single pass, because most texts are too short for the set-up of a search to pay off.
        text.bytes().fold(self, |at, byte| match byte {
            b'\n' => Self { line: at.line + 1, column: 1 },
            // Further bytes of the same character.
            0x80..0xc0 => at,
            _ => Self { column: at.column + 1, ..at },
        })
    }

    pub(crate) fn offset_in(self, source: &str) -> Option<usize> {
        let line_start = match self.line.checked_sub(2) {
            None => 0,
            Some(newlines) => source.match_indices('\n').nth(newlines)?.0 + 1,
        };
        let line = &source[line_start..];
        // Faster than examining each character.
        let mut rest = line.chars();
        if let Some(last_before) = self.column.checked_sub(2) {
            rest.nth(last_before)?;
        }
        Some(line_start + line.len() - rest.as_str().len())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
