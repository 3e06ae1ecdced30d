//! Which `.ebextensions` are due, and how a plan displays them. Pure; [`extend`](super::extend) carries them out.

use std::fmt;

use super::ebextensions::Before;

/// When entries are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `files` and `commands`, in `/`.
    Before,
    /// `container_commands`, in the release.
    After,
}

impl Stage {
    pub(super) const BOTH: [Self; 2] = [Self::Before, Self::After];

    /// The key under which it is recorded, followed by the directory of a release.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Before => "ebextensions ",
            Self::After => "container commands ",
        }
    }
}

/// Entries that are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Identifies the release, as in a [`Recipe`](super::recipe::Recipe).
    pub(super) of: String,
    pub(super) stage: Stage,
    pub(super) entries: Vec<Before>,
}

/// Prints the entries; the alternate form (`{:#}`) prints their kind.
impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(if self.stage == Stage::Before { ".ebextensions" } else { "the container commands" });
        }
        let told = |entry: &Before| match entry {
            Before::Write(file) => format!("write {}", file.path),
            Before::Run(command) => format!("run {}", command.name),
        };
        f.write_str(&self.entries.iter().map(told).collect::<Vec<_>>().join(", "))
    }
}
