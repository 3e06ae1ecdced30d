//! How a release is prepared to run: what is written into it and run in it, once. Pure.

use serde::{Deserialize, Serialize};

use super::judge::Examined;
use super::platforms::Contents;

/// How a release is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// Identifies its directory: the path, and what distinguishes it from a later directory at the same path.
    pub(super) of: String,
    /// Files to write: path in the release, content, permission bits.
    pub(super) writes: Vec<(String, String, u32)>,
    /// Programs with their arguments that install dependencies, run one after the other in the release's directory.
    pub(super) dependencies: Vec<Vec<String>>,
    /// Programs that build it, run after the dependencies: `build:` of the document, or the lines of the Buildfile.
    pub(super) build: Vec<Vec<String>>,
    /// What it runs in, if images have to be made for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contents: Option<Contents>,
    /// Set if something is added to a release that was already built: how many dependencies were installed, and how
    /// many files written, before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) had: Option<(usize, usize)>,
}

impl Recipe {
    /// Made from what the release contains, and what the document adds.
    pub(super) fn new(of: String, examined: &Examined, build: &[Vec<String>]) -> Self {
        let shell = |command: &String| ["/bin/sh", "-c", command].map(str::to_owned).to_vec();
        let buildfile = examined.build.iter().map(|process| shell(&process.command));
        Self {
            of,
            writes: examined.made.iter().map(|made| (made.path.clone(), made.content.clone(), made.mode)).collect(),
            dependencies: examined.dependencies.clone(),
            build: if build.is_empty() { buildfile.collect() } else { build.to_vec() },
            contents: examined.contents.clone(),
            had: None,
        }
    }

    /// The commands to run; for an addition, only the added ones.
    pub(super) fn commands(&self) -> impl Iterator<Item = &Vec<String>> {
        let build = self.build.iter().filter(|_| self.had.is_none());
        self.dependencies.iter().skip(self.had.unwrap_or_default().0).chain(build)
    }

    /// The files to write; for an addition, only the added ones.
    pub(super) fn files(&self) -> impl Iterator<Item = &(String, String, u32)> {
        self.writes.iter().skip(self.had.unwrap_or_default().1)
    }

    /// The part of this recipe that is certainly done, given whether all of it is done or it was only started.
    pub(super) fn done(&self, is_whole: bool) -> Option<Self> {
        let mut done = self.clone();
        if !is_whole {
            let (dependencies, writes) = done.had.take()?;
            done.dependencies.truncate(dependencies);
            done.writes.truncate(writes);
        }
        Some(done)
    }

    /// Whether this recipe includes everything that `other` writes and installs: two applications may need different
    /// things in one release. The build itself is the same for both.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let writes = |path: &str| self.writes.iter().any(|(own, ..)| own == path);
        other.writes.iter().all(|(path, ..)| writes(path)) && other.dependencies.iter().all(|argv| self.dependencies.contains(argv))
    }

    /// This recipe, which is done, plus what `other` writes and installs in addition. Another application may serve
    /// from the release by now, so nothing is done twice.
    pub(super) fn added(self, other: Self) -> Self {
        let (had, build) = ((self.dependencies.len(), self.writes.len()), self.build.clone());
        Self { had: Some(had), build, ..self.and(other) }
    }

    /// What this recipe writes and installs, plus what `other` adds; `other` determines how the release is built and
    /// what it runs in.
    pub(super) fn and(self, mut other: Self) -> Self {
        other.writes.retain(|(path, ..)| self.writes.iter().all(|(own, ..)| own != path));
        other.dependencies.retain(|argv| !self.dependencies.contains(argv));
        Self {
            writes: self.writes.into_iter().chain(other.writes).collect(),
            dependencies: self.dependencies.into_iter().chain(other.dependencies).collect(),
            contents: other.contents.or(self.contents),
            build: if self.had.is_some() { self.build } else { other.build },
            had: self.had,
            of: other.of,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.commands().next().is_none() && self.contents.is_none()
    }
}

/// A command in its author's notation: a line of a Buildfile is shell code.
pub(super) fn shown(argv: &[String]) -> String {
    match argv {
        [shell, option, line] if shell == "/bin/sh" && option == "-c" => format!("`{line}` of the Buildfile"),
        _ => argv.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(dependencies: &[&str]) -> Recipe {
        let dependencies = dependencies.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
        Recipe { of: "/opt/shop/releases/1:7".into(), dependencies, ..Recipe::default() }
    }

    /// The other application has its own command, and does not need the platform's server.
    #[test]
    fn what_another_application_of_a_release_needs_is_installed_too() {
        let (bare, whole) =
            (recipe(&["pip install -r requirements.txt"]), recipe(&["pip install -r requirements.txt", "pip install gunicorn"]));
        assert!(!bare.covers(&whole) && whole.covers(&bare));
        let both = bare.clone().and(whole.clone());
        assert_eq!(both, whole);
        assert_eq!(whole.clone().and(bare), whole, "neither takes away what the other has");
    }

    #[test]
    fn what_is_added_to_a_release_that_is_built_is_all_that_is_done_to_it() {
        let of = |dependencies: &[&str], build: &str| Recipe { build: vec![vec![build.to_owned()]], ..recipe(dependencies) };
        let lines = |recipe: &Recipe| recipe.commands().map(|argv| argv.join(" ")).collect::<Vec<_>>();
        let added = of(&["npm ci"], "make").added(of(&["npm ci", "pip install gunicorn"], "make"));
        assert_eq!(lines(&added), ["pip install gunicorn"]);
        assert!(added.done(false).unwrap().covers(&of(&["npm ci"], "make")) && !added.done(false).unwrap().covers(&added));
        assert_eq!(of(&["npm ci"], "make").done(false), None, "it was not built before");
        // The addition was interrupted.
        assert_eq!(lines(&added.clone().and(of(&["npm ci"], "make"))), ["pip install gunicorn"]);
        let done = Recipe { had: None, ..added };
        assert_eq!(done, of(&["npm ci", "pip install gunicorn"], "make"));
    }

    /// Regression: the files of the first application were overwritten under its running processes.
    #[test]
    fn files_that_are_there_are_not_written_again() {
        let of = |paths: &[&str]| Recipe {
            writes: paths.iter().map(|path| ((*path).to_owned(), String::new(), 0o644)).collect(),
            ..recipe(&[])
        };
        let added = of(&["php.ini"]).added(of(&["php.ini", "pool.conf"]));
        assert_eq!(added.files().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["pool.conf"]);
        assert_eq!(of(&["php.ini"]).files().count(), 1);
    }
}
