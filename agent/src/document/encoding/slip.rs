//! What the author of user data got wrong about whose it is, and where.

use crate::failure::Objection;

/// Why a text that was meant as a boot document does not count as one.
///
/// The text is kept beside it: its signals can be read all the same, and are sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Slip {
    /// Where in the text of the part, both counted from 1, the column in characters.
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) objection: Objection,
    /// Whether nothing but the marker is missing, or not where it belongs. User data needs one, a document named on the
    /// command line does not.
    pub(crate) only_unmarked: bool,
}

impl Slip {
    pub(super) fn at((line, column): (usize, usize), message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line, column, objection: Objection::new(message, hint), only_unmarked: false }
    }
}
