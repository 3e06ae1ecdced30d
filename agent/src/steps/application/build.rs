//! What is done to a release before any of it runs: files that its platform needs, its dependencies, its build, its hooks.
//!
//! A release is built once. What was begun is remembered, with its commands: after a kill they run again, for half of what they
//! install looks like a release that brings it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hooks::{Moment, Occasion};
use super::judge::Examined;
use super::trouble::ApplicationError;
use crate::host::{Attributes, End, HostError, Invocation, SEARCH_PATH, User};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};
use crate::text::SecretText;

/// How many lines of a program's output go to the journal.
const OUTPUT_LINES: usize = 10_000;

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
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.commands.is_empty()
    }
}

/// A program of a release, and what it is run with.
pub(super) struct Run<'a> {
    pub(super) release: &'a Path,
    pub(super) path: &'a [String],
    pub(super) environment: &'a [(String, SecretText)],
    /// `None` runs as ingot does.
    pub(super) user: Option<User>,
}

impl Run<'_> {
    /// Runs a program to its end, in the release's directory. `what` names it in an error.
    pub(super) async fn run(&self, argv: &[String], what: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
        cx.waiting(format!("for {what} to end"));
        let (mut said, mut lines) = (Excerpt::default(), 0);
        let mut on_line = |line: &str| {
            let line = cx.redact(line);
            lines += 1;
            if lines <= OUTPUT_LINES {
                cx.progress(Progress::Output(line.clone()));
            }
            said.push(line);
        };
        let end = cx.host().commands.run(&self.invocation(argv, cx.time_left()), &mut on_line).await;
        let how = match end.map_err(ApplicationError::Host)? {
            End::Exited(0) => return Ok(()),
            End::Exited(status) => format!("exited with {status}"),
            End::Signalled(signal) => format!("was ended by signal {signal}"),
            End::TimedOut => "did not end in time".to_owned(),
        };
        Err(ApplicationError::Program { what: what.to_owned(), how, kept: None, said })
    }

    fn invocation(&self, argv: &[String], timeout: Duration) -> Invocation {
        let own = self.path.iter().map(|path| format!("{}/{path}:", self.release.display()));
        let path: String = own.chain([SEARCH_PATH.to_owned()]).collect();
        let (name, home) = self.user.as_ref().map_or(("root", Path::new("/root")), |user| (&user.name, &user.home));
        let home = home.display().to_string();
        let base = [("PATH", path.as_str()), ("LANG", "C.UTF-8"), ("USER", name), ("LOGNAME", name), ("HOME", &home)];
        let mut environment: Vec<(String, SecretText)> = base.map(|(name, value)| (name.to_owned(), value.into())).into();
        for (name, value) in self.environment.iter().filter(|(name, _)| name != "PATH") {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone()));
        }
        Invocation {
            argv: argv.iter().map(|word| word.as_str().into()).collect(),
            environment,
            directory: self.release.to_owned(),
            user: self.user.clone(),
            timeout,
        }
    }
}

/// Writes the files of a recipe, as the release's owner has the others.
pub(super) async fn write(recipe: &Recipe, release: &Path, owner: (u32, u32), cx: &Context<'_>) -> Result<(), HostError> {
    for (path, content, mode) in &recipe.writes {
        let path = release.join(path);
        if let Some(parent) = path.parent() {
            cx.host().files.create_directory(parent, 0o755).await?;
        }
        let staged = crate::steps::install::staged(&path);
        let attributes = Attributes { mode: *mode, uid: owner.0, gid: owner.1 };
        cx.host().files.stage(&staged, content.as_bytes(), attributes).await?;
        cx.host().files.install(&staged, &path).await?;
    }
    Ok(())
}

/// The hooks that are due: paths in the release, in their order.
pub(super) fn hooks(examined: &Examined, occasion: Occasion, moment: Moment) -> Vec<String> {
    let due = examined.hooks.hooks.iter().filter(|hook| hook.occasion == occasion && hook.moment == moment);
    due.map(|hook| hook.path.clone()).collect()
}
