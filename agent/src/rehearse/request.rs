//! The options of a dry run, and why it may not start.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::document::error::DocumentError;
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::report::Trouble;
use crate::report::console::told;

/// The options of a dry run. Paths are as the user gave them.
#[derive(Debug)]
pub(crate) struct Request {
    /// Boot documents; several are layers, the last one on top.
    pub(crate) documents: Vec<PathBuf>,
    pub(crate) facts: Facts,
    /// The directory to which the rendered files are written, and in which they are checked.
    pub(crate) out: Option<PathBuf>,
    /// The directory with which the rendered files are compared.
    pub(crate) diff: Option<PathBuf>,
    /// Whether to read secrets and included documents from AWS.
    pub(crate) live: bool,
    /// The directory of a release, to be read as that of the document's application.
    pub(crate) release: Option<PathBuf>,
}

/// Where the facts of the instance come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Facts {
    /// Not given: placeholders are used, or the instance's own facts if `live` compares it with its document.
    Unset,
    /// YAML of facts and outputs.
    File(PathBuf),
    /// The metadata service of the instance that this process runs on.
    Metadata,
}

/// Why a dry run did not start, or could not write its files.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is invalid.
    Usage(Explanation),
    /// The file of `--facts` has mistakes.
    Facts(DocumentError),
    /// The document has mistakes. The notes say what was not read.
    Document {
        mistakes: DocumentError,
        notes: Vec<String>,
    },
    /// AWS or IMDS did not answer.
    Unreachable(Explanation),
    Failed(Explanation),
}

impl Refusal {
    pub(crate) fn usage(message: impl Into<String>, hint: &str) -> Self {
        Self::Usage(Explanation::new(message, Some(hint.to_owned())))
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Facts(_) => Exit::Usage,
            Self::Document { .. } => Exit::Document,
            Self::Unreachable(_) => Exit::Unreachable,
            Self::Failed(_) => Exit::Failed,
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let outcome = match self {
            Self::Usage(_) | Self::Facts(_) => "refused",
            Self::Document { .. } => "invalid",
            Self::Unreachable(_) => "unreachable",
            Self::Failed(_) => "failed",
        };
        let mut value = json!({ "version": 1, "outcome": outcome });
        match self {
            Self::Usage(why) | Self::Unreachable(why) | Self::Failed(why) => value["error"] = json!(Trouble::from(why)),
            Self::Facts(mistakes) => value["mistakes"] = json!(mistakes.entries()),
            Self::Document { mistakes, notes } => {
                value["mistakes"] = json!(mistakes.entries());
                value["notes"] = json!(notes);
            }
        }
        value
    }
}

/// The text for people.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Unreachable(why) | Self::Failed(why) => f.write_str(&told(&Trouble::from(why))),
            Self::Facts(mistakes) => mistakes.fmt(f),
            Self::Document { mistakes, notes } => {
                mistakes.fmt(f)?;
                notes.iter().try_for_each(|note| write!(f, "\n\nnote: {note}"))
            }
        }
    }
}

impl<F: Failure> From<F> for Refusal {
    fn from(failure: F) -> Self {
        Explanation::of(&failure).into()
    }
}

impl From<Explanation> for Refusal {
    fn from(why: Explanation) -> Self {
        if why.unreachable { Self::Unreachable(why) } else { Self::Failed(why) }
    }
}
