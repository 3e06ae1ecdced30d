//! Carries out the `.ebextensions` of a release: files and commands before the build, container commands after it.
//!
//! Their effects on the machine cannot be inspected, so each of the two stages is carried out once per release and
//! machine, and recorded like a build: after an interruption it starts again from the beginning. The entries are read
//! from the release again.

use std::path::Path;

use super::build::{Run, identity};
use super::ebextensions::{self, Before, Command, Content, File};
use super::extension::{Extension, Stage};
use super::fields::Application;
use super::generation::{Generation, Placed};
use super::ground::Ground;
use super::judge::Examined;
use super::lead::Led;
use super::trouble::ApplicationError;
use super::turn::{BUILDS, turn};
use crate::failure::Explanation;
use crate::host::{Attributes, HostError};
use crate::step::{Context, Progress};
use crate::steps::install::staged;
use crate::text::SecretText;

/// The mode that CloudFormation's helper scripts give a file if none is set.
const MODE: u32 = 0o644;

impl Application {
    /// The `.ebextensions` that have not been carried out yet, before and after the build. They are programs of the
    /// release that run as root, like hooks.
    pub(super) async fn due_extensions(
        &self,
        generation: &Generation,
        examined: &Examined,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<[Option<Extension>; 2], ApplicationError> {
        let found = &examined.extensions;
        if !self.hooks || (found.before.is_empty() && found.container_commands.is_empty()) {
            return Ok([None, None]);
        }
        let of = identity(&generation.release, cx.host()).await.map_err(ApplicationError::Host)?;
        let after = found.container_commands.iter().cloned().map(Before::Run).collect();
        Ok([(Stage::Before, found.before.clone()), (Stage::After, after)].map(|(stage, entries)| {
            let is_due = !entries.is_empty() && ground.memory.extended(stage, &generation.release).as_ref() != Some(&of);
            is_due.then(|| Extension { of: of.clone(), stage, entries })
        }))
    }

    pub(super) async fn extend(
        &self,
        placed: &Placed,
        extension: &Extension,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        // Two applications with the same release take turns.
        let lock = cx.world.claims.building(release);
        let _turn = turn(&lock, BUILDS, cx).await?;
        self.point_staging(release, cx.host()).await.map_err(ApplicationError::Host)?;
        if extension.stage == Stage::Before || cx.siblings.claims().is_none() {
            let led = if cx.siblings.claims().is_some() { Led::Follows } else { Led::Leads(None) };
            self.carry_out(placed, extension, &|_| true, led, cx).await?;
        } else {
            let of_leader = |entry: &Before| matches!(entry, Before::Run(command) if command.leader_only);
            let work = async |led| self.carry_out(placed, extension, &of_leader, led, cx).await;
            let leads = self.lead("container_commands", cx, work).await?;
            let led = if leads { Led::Leads(None) } else { Led::Follows };
            self.carry_out(placed, extension, &|entry| !of_leader(entry), led, cx).await?;
        }
        remember(release, extension, ground).await.map_err(ApplicationError::Host)
    }
}

impl Application {
    /// Carries out the entries that are `due`, in order.
    async fn carry_out(
        &self,
        placed: &Placed,
        extension: &Extension,
        due: &dyn Fn(&Before) -> bool,
        led: Led,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let mut variables = self.variables(&placed.generation, cx)?;
        variables.push(led.variable());
        for entry in extension.entries.iter().filter(|entry| due(entry)) {
            match entry {
                Before::Write(file) => write(file, cx).await.map_err(|error| failed(&told(&file.place, &file.path), error))?,
                Before::Run(command) => {
                    let before = self.handed_over(release, cx).await?;
                    extension.run(command, release, &variables, &led, cx).await?;
                    self.is_unchanged(&before, release, &told(&command.place, &command.name), cx).await?;
                }
            }
        }
        Ok(())
    }
}

/// Records what was done, and forgets what was done to releases that no longer exist.
async fn remember(release: &Path, extension: &Extension, ground: &Ground<'_>) -> Result<(), HostError> {
    for (stage, gone) in ground.memory.all_extended() {
        if ground.host.files.stat(&gone).await?.is_none() {
            ground.memory.set_extended(stage, &gone, None).await?;
        }
    }
    ground.memory.set_extended(extension.stage, release, Some(&extension.of)).await
}

impl Extension {
    /// Runs a command, if its test succeeds.
    async fn run(
        &self,
        command: &Command,
        release: &Path,
        variables: &[(String, SecretText)],
        led: &Led,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let what = told(&command.place, &command.name);
        let base: &Path = if self.stage == Stage::Before { Path::new("/") } else { release };
        let directory = command.cwd.as_ref().map_or_else(|| base.to_owned(), |cwd| base.join(cwd));
        // The command's own variables replace all others except PATH, so that programs are still found.
        let kept = variables.iter().filter(|(name, _)| command.env.is_empty() || name == "PATH").cloned();
        let own = command.env.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let environment: Vec<(String, SecretText)> = kept.chain(own).collect();
        let run = Run { release: &directory, environment: &environment, user: None, lease: led.lease() };
        if let Some(test) = &command.test {
            match run.run(&argv(test), &format!("the test of {what}"), cx).await {
                Ok(()) => {}
                Err(ApplicationError::Program { how, .. }) => {
                    cx.progress(Progress::Output(format!("{what} is not run: its test {how}")));
                    return Ok(());
                }
                Err(error) => return Err(of_host(&what, error)),
            }
        }
        match run.run(&argv(&command.run), &what, cx).await {
            Err(error) if command.ignore_errors => {
                let error = of_host(&what, error);
                cx.progress(Progress::Warning(format!("{}; `ignoreErrors` is set, so it is passed over", Explanation::of(&error).message)));
                Ok(())
            }
            done => done.map_err(|error| of_host(&what, error)),
        }
    }
}

/// The name of an entry in errors.
fn told((file, line): &(String, usize), name: &str) -> String {
    format!("{file}:{line}: `{name}`")
}

fn failed(what: &str, source: HostError) -> ApplicationError {
    ApplicationError::Entry { what: what.to_owned(), kept: None, source }
}

fn of_host(what: &str, error: ApplicationError) -> ApplicationError {
    match error {
        ApplicationError::Host(source) => failed(what, source),
        other => other,
    }
}

fn argv(run: &ebextensions::Run) -> Vec<String> {
    match run {
        ebextensions::Run::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).into(),
        ebextensions::Run::Argv(words) => words.clone(),
    }
}

/// Replaces a file atomically. No backup of the old file is kept next to it, because cron and others would read both.
async fn write(file: &File, cx: &Context<'_>) -> Result<(), HostError> {
    let (files, users) = (&cx.host().files, &cx.host().users);
    let (mut uid, mut gid) = users.own();
    if let Some(owner) = &file.owner {
        uid = users.user(owner).await?.uid;
    }
    if let Some(group) = &file.group {
        gid = users.group(group).await?;
    }
    let content = match &file.content {
        Content::Text(text) => text.as_bytes(),
        Content::Base64(bytes) => bytes,
    };
    let path = Path::new(&file.path);
    if let Some(parent) = path.parent() {
        files.create_directory(parent, 0o755).await?;
    }
    files.stage(&staged(path), content, Attributes { mode: file.mode.unwrap_or(MODE), uid, gid }).await?;
    files.install(&staged(path), path).await
}
