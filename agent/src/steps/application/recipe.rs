//! How a release is made ready to run: what is written into it and run in it, once. Pure.

use serde::{Deserialize, Serialize};

use super::hooks::{Moment, Occasion};
use super::judge::Examined;

/// How a release is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Which directory this was: its path, and what tells it from a later one of the same path.
    pub(super) of: String,
    /// Files to write: path in the release, content, permission bits.
    pub(super) writes: Vec<(String, String, u32)>,
    /// Programs with their arguments, run one after the other in the release's directory.
    pub(super) commands: Vec<Vec<String>>,
    /// Directories of the release that go to the front of PATH.
    pub(super) path: Vec<String>,
    /// Whether images are made for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) images: bool,
}

impl Recipe {
    /// By what the release shows, and what the document adds.
    pub(super) fn new(of: String, examined: &Examined, build: &[Vec<String>]) -> Self {
        let shell = |command: &String| ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let buildfile = examined.build.iter().map(|process| shell(&process.command));
        Self {
            of,
            writes: examined.made.iter().map(|made| (made.path.clone(), made.content.clone(), made.mode)).collect(),
            commands: examined
                .dependencies
                .iter()
                .cloned()
                .chain(if build.is_empty() { buildfile.collect() } else { build.to_vec() })
                .collect(),
            path: examined.path.iter().map(|path| (*path).to_owned()).collect(),
            images: examined.contents.is_some(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.commands.is_empty() && !self.images
    }
}

/// A command as its author wrote it: a line of a Buildfile is one for a shell.
pub(super) fn shown(argv: &[String]) -> String {
    match argv {
        [shell, option, line] if shell == "/bin/sh" && option == "-c" => format!("`{line}` of the Buildfile"),
        _ => argv.join(" "),
    }
}

/// The hooks that are due: paths in the release, in their order.
pub(super) fn hooks(examined: &Examined, occasion: Occasion, moment: Moment) -> Vec<String> {
    let due = examined.hooks.hooks.iter().filter(|hook| hook.occasion == occasion && hook.moment == moment);
    due.map(|hook| hook.path.clone()).collect()
}
