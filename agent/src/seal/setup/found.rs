//! The findings about the setup of an image.

use std::path::PathBuf;

use crate::seal::finding::Finding;

/// What was found, and the parts of the image that were examined.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) findings: Vec<Finding>,
    pub(crate) notes: Vec<String>,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) templates: Vec<PathBuf>,
    /// The files of the units that the layers start.
    pub(crate) units: Vec<PathBuf>,
    /// The architecture of the image's programs: x86_64, arm64 …
    pub(crate) architecture: Option<String>,
}

pub(super) fn finding(
    path: impl Into<PathBuf>,
    line: Option<u64>,
    rule: &str,
    says: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding { path: path.into(), line, rule: rule.into(), says: says.into(), hint: hint.into() }
}
