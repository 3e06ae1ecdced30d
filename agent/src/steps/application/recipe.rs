//! How a release is made ready to run: what is written into it and run in it, once. Pure.

use serde::{Deserialize, Serialize};

use super::judge::Examined;

/// How a release is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// Which directory this was: its path, and what tells it from a later one of the same path.
    pub(super) of: String,
    /// Files to write: path in the release, content, permission bits.
    pub(super) writes: Vec<(String, String, u32)>,
    /// Programs with their arguments that install dependencies, run one after the other in the release's directory.
    pub(super) dependencies: Vec<Vec<String>>,
    /// Those that build it, run after them: `build:` of the document, or the lines of the Buildfile.
    pub(super) build: Vec<Vec<String>>,
}

impl Recipe {
    /// By what the release shows, and what the document adds.
    pub(super) fn new(of: String, examined: &Examined, build: &[Vec<String>]) -> Self {
        let shell = |command: &String| ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let buildfile = examined.build.iter().map(|process| shell(&process.command));
        Self {
            of,
            writes: examined.made.iter().map(|made| (made.path.clone(), made.content.clone(), made.mode)).collect(),
            dependencies: examined.dependencies.clone(),
            build: if build.is_empty() { buildfile.collect() } else { build.to_vec() },
        }
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &Vec<String>> {
        self.dependencies.iter().chain(&self.build)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.commands().next().is_none()
    }
}

/// A command as its author wrote it: a line of a Buildfile is one for a shell.
pub(super) fn shown(argv: &[String]) -> String {
    match argv {
        [shell, option, line] if shell == "/bin/sh" && option == "-c" => format!("`{line}` of the Buildfile"),
        _ => argv.join(" "),
    }
}
