//! A mistake or warning about a file of a release: the file, its line if known, the message, and what to do.

use std::fmt;

use crate::failure::Objection;

/// A mistake or warning about a release. Files are named by their path in the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) file: Option<String>,
    /// Counted from 1.
    pub(crate) line: Option<usize>,
    pub(crate) objection: Objection,
}

impl Remark {
    /// About the release as a whole.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: None, line: None, objection: Objection::new(message, hint) }
    }

    pub(crate) fn of(file: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: Some(file.into()), ..Self::new(message, hint) }
    }

    pub(crate) fn at(file: impl Into<String>, line: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of(file, message, hint) }
    }

    /// `FILE:LINE`, or the file only; `None` if it is about the release as a whole.
    pub(crate) fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
    }
}

/// Prints the place and the message; the alternate form (`{:#}`) appends the hint. All on one line.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.objection.message)?;
        if f.alternate() { write!(f, "; {}", self.objection.hint) } else { Ok(()) }
    }
}
