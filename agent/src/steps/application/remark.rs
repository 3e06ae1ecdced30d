//! What is wrong with a file of a release, or worth knowing about it: the file, its line where there is one, what it is, and
//! what to do.

use std::fmt;

use crate::failure::Objection;

/// A mistake or a warning about a release. Files go by their path in the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) file: Option<String>,
    /// Counts from 1.
    pub(crate) line: Option<usize>,
    pub(crate) objection: Objection,
}

impl Remark {
    /// Of the release as a whole.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: None, line: None, objection: Objection::new(message, hint) }
    }

    pub(crate) fn of(file: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: Some(file.into()), ..Self::new(message, hint) }
    }

    pub(crate) fn at(file: impl Into<String>, line: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of(file, message, hint) }
    }

    /// The file, and the line behind a colon; `None` of the release as a whole.
    pub(crate) fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
    }
}

/// Prints the place and the message, and in the alternate form (`{:#}`) the hint after them, all on one line.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.objection.message)?;
        if f.alternate() { write!(f, "; {}", self.objection.hint) } else { Ok(()) }
    }
}
