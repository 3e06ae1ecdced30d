//! What a dry run is asked for, and why it may not begin.

use std::path::PathBuf;

use crate::failure::{Explanation, Failure};

/// One dry run, as somebody asks for it. Paths are as the user named them.
#[derive(Debug)]
pub(crate) struct Request {
    /// Boot documents; several are layers, the last one on top.
    pub(crate) documents: Vec<PathBuf>,
    /// YAML with what is to be taken for granted.
    pub(crate) facts: Option<PathBuf>,
    /// Where the rendered files go, and where they are checked.
    pub(crate) out: Option<PathBuf>,
    /// What the rendered files are compared with.
    pub(crate) diff: Option<PathBuf>,
    /// Whether secrets and documents are read from AWS.
    pub(crate) live: bool,
}

/// Why a dry run did not begin or could not be written down, in words for people.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// What was asked for makes no sense.
    Usage(String),
    /// The document has mistakes.
    Document(String),
    /// AWS gave no answer.
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
