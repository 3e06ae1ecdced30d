//! A mistake in marking user data as ingot's, and its position.

use crate::failure::Objection;

/// Why a text that was meant as a boot document does not count as one.
///
/// The text is kept with it, because its signals can still be read, and are sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Slip {
    /// The position in the text of the part, both counted from 1, the column in characters.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) objection: Objection,
    /// Whether the only mistake is that the marker is missing or misplaced. User data needs a marker; a document named
    /// on the command line does not.
    pub(crate) only_unmarked: bool,
}

impl Slip {
    pub(super) fn at((line, column): (usize, usize), message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line, column, objection: Objection::new(message, hint), only_unmarked: false }
    }
}
