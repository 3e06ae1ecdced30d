//! The revision that a release is made from, according to git.

use std::path::Path;
use std::process::{Command, Stdio};

use super::manifest::Revision;

/// What git reports about a working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) revision: Revision,
    /// The output of `git describe --always`, without a mark for changes.
    pub(crate) described: String,
    /// When the revision was committed, in seconds since 1970.
    pub(crate) committed: u64,
}

/// Asks git about the tree that a directory is in.
///
/// # Errors
///
/// Why there is no answer, in git's words.
pub(crate) fn of(directory: &Path) -> Result<Found, String> {
    let described = git(directory, &["describe", "--always", "--dirty=-dirty!"])?;
    let (described, dirty) = match described.strip_suffix("-dirty!") {
        Some(bare) => (bare.to_owned(), true),
        None => (described, false),
    };
    let commit = git(directory, &["rev-parse", "HEAD"])?;
    let committed = git(directory, &["log", "-1", "--format=%ct"])?;
    let committed = committed.parse().map_err(|_| format!("git prints {committed:?} as the time of HEAD, expected a number of seconds"))?;
    Ok(Found { revision: Revision { commit, dirty }, described, committed })
}

fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let ran = Command::new("git").arg("-C").arg(directory).args(arguments).stdin(Stdio::null()).output();
    let output = ran.map_err(|error| format!("cannot run git: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => {
            Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("git failed").trim_start_matches("fatal: ").to_owned())
        }
    }
}
