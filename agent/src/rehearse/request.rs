//! The options of a dry run, and why it may not start.

use std::path::PathBuf;

use crate::failure::{Explanation, Failure};

/// The options of a dry run. Paths are as the user gave them.
#[derive(Debug)]
pub(crate) struct Request {
    /// Boot documents; several are layers, the last one on top.
    pub(crate) documents: Vec<PathBuf>,
    /// YAML of facts and outputs to use.
    pub(crate) facts: Option<PathBuf>,
    /// The directory to write the rendered files to, and to check them in.
    pub(crate) out: Option<PathBuf>,
    /// The directory to compare the rendered files with.
    pub(crate) diff: Option<PathBuf>,
    /// Whether to read secrets and included documents from AWS.
    pub(crate) live: bool,
    /// The directory of a release to read as that of the document's application.
    pub(crate) release: Option<PathBuf>,
}

/// Why a dry run did not start, or could not write its files. Each message is for people.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is invalid.
    Usage(String),
    /// The document has mistakes.
    Document(String),
    /// AWS did not answer.
    Unreachable(String),
    Failed(String),
}

impl<F: Failure> From<F> for Refusal {
    fn from(failure: F) -> Self {
        Explanation::of(&failure).into()
    }
}

impl From<Explanation> for Refusal {
    fn from(why: Explanation) -> Self {
        Self::Failed(why.to_string())
    }
}
