//! What is done to a release before any of it runs: files that its platform needs, its dependencies, its build, its hooks.
//!
//! A release is built once. What was begun is remembered, with its commands: after a kill they run again, for half of what they
//! install looks like a release that brings it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::fields::Application;
use super::generation::{Generation, Placed};
use super::ground::{Ground, owner};
use super::hooks::{Moment, Occasion};
use super::judge::Examined;
use super::memory::{self, Builds};
use super::recipe::{Recipe, shown};
use super::trouble::ApplicationError;
use crate::host::{Attributes, End, Host, HostError, Invocation, SEARCH_PATH, User};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};
use crate::text::SecretText;

/// How many lines of a program's output go to the journal.
const OUTPUT_LINES: usize = 10_000;

/// Tells a program of a release that it is to do what one instance of a fleet does for all: this one is alone.
const LEADER: (&str, &str) = ("EB_IS_COMMAND_LEADER", "true");

/// A program of a release, and what it is run with.
pub(super) struct Run<'a> {
    pub(super) release: &'a Path,
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
        Err(ApplicationError::Program { what: what.to_owned(), how, kept: None, said: Box::new(said) })
    }

    fn invocation(&self, argv: &[String], timeout: Duration) -> Invocation {
        let (name, home) = self.user.as_ref().map_or(("root", Path::new("/root")), |user| (&user.name, &user.home));
        let home = home.display().to_string();
        let base = [("PATH", SEARCH_PATH), ("LANG", "C.UTF-8"), ("USER", name), ("LOGNAME", name), ("HOME", &home)];
        let mut environment: Vec<(String, SecretText)> = base.map(|(name, value)| (name.to_owned(), value.into())).into();
        for (name, value) in self.environment {
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

impl Application {
    /// How the release is built, unless that is done.
    pub(super) async fn recipe(
        &self,
        generation: &Generation,
        examined: &Examined,
        cx: &Context<'_>,
    ) -> Result<Option<Recipe>, ApplicationError> {
        let stat = cx.host().files.stat(&generation.release).await.map_err(ApplicationError::Host)?;
        let of = format!("{}:{}", generation.release.display(), stat.map_or(0, |stat| stat.inode));
        let recipe = Recipe::new(of, examined, &self.build);
        Ok(match builds(cx).of(&generation.release) {
            Some((built, true)) if built.of == recipe.of => {
                if built.build != recipe.build {
                    let said = format!("{} was built before `build:` changed; the change counts for the next release", generation.version);
                    cx.progress(Progress::Warning(said));
                }
                None
            }
            // Half of what dependencies install looks like a release that brings them; the document may have been corrected.
            Some((begun, false)) if begun.of == recipe.of => Some(Recipe { build: recipe.build, ..begun }),
            _ => Some(recipe).filter(|recipe| !recipe.is_empty()),
        })
    }

    pub(super) async fn build(&self, placed: &Placed, recipe: &Recipe, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let builds = builds(cx);
        let turn = cx.world.claims.building(release);
        let _turn = turn.lock().await;
        // Another application runs the same release, and was faster.
        if builds.of(release).is_some_and(|(built, is_done)| is_done && built == *recipe) {
            return Ok(());
        }
        forget_gone(&builds, cx.host()).await.map_err(ApplicationError::Host)?;
        builds.set(release, recipe, false).await.map_err(ApplicationError::Host)?;
        let owner = owner(release, cx.host()).await.map_err(ApplicationError::Host)?;
        write(recipe, release, owner, cx).await.map_err(ApplicationError::Host)?;
        let user = builder(release, owner, cx.host()).await.map_err(ApplicationError::Host)?;
        let environment = self.variables(&placed.generation, cx)?;
        let run = Run { release, environment: &environment, user: Some(user) };
        for argv in recipe.commands() {
            run.run(argv, &shown(argv), cx).await?;
        }
        builds.set(release, recipe, true).await.map_err(ApplicationError::Host)
    }

    /// The hooks of the release, by what they are for and when they run.
    pub(super) fn due_hooks(&self, examined: &Examined) -> BTreeMap<(Occasion, Moment), Vec<String>> {
        let mut due: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for hook in examined.hooks.hooks.iter().filter(|_| self.hooks) {
            due.entry((hook.occasion, hook.moment)).or_default().push(hook.path.clone());
        }
        due
    }

    pub(super) async fn run_hooks(
        &self,
        placed: &Placed,
        moment: Moment,
        hooks: &[String],
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let mut environment = self.variables(&placed.generation, cx)?;
        environment.extend([("PORT".to_owned(), placed.port.to_string().as_str().into()), (LEADER.0.to_owned(), LEADER.1.into())]);
        let run = Run { release, environment: &environment, user: None };
        for hook in hooks {
            let path = release.join(hook);
            if let Some(stat) = cx.host().files.stat(&path).await.map_err(ApplicationError::Host)?
                && stat.attributes.mode & 0o100 == 0
            {
                let attributes = Attributes { mode: stat.attributes.mode | 0o755, ..stat.attributes };
                cx.host().files.set_attributes(&path, attributes).await.map_err(ApplicationError::Host)?;
            }
            run.run(&[path.display().to_string()], hook, cx).await?;
        }
        match moment {
            Moment::Postdeploy => ground.memory.set_hooked(placed.number).await.map_err(ApplicationError::Host),
            Moment::Prebuild | Moment::Predeploy => Ok(()),
        }
    }

    /// The variables of a program of the release, secrets included.
    fn variables(&self, generation: &Generation, cx: &Context<'_>) -> Result<Vec<(String, SecretText)>, ApplicationError> {
        let plain = generation.environment.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let mut variables: Vec<(String, SecretText)> = plain.collect();
        variables.extend(self.secret_variables(generation, cx)?);
        Ok(variables)
    }
}

/// The user whose programs build a release: its owner, who may have no name here.
async fn builder(release: &Path, owner: (u32, u32), host: &Host) -> Result<User, HostError> {
    let (uid, gid) = owner;
    match host.users.user(&uid.to_string()).await {
        Err(HostError::NoUser { .. }) => Ok(User { name: uid.to_string(), uid, gid, home: release.to_owned(), groups: vec![gid] }),
        known => known,
    }
}

fn builds<'a>(cx: &'a Context<'_>) -> Builds<'a> {
    Builds { record: &cx.world.record, moment: memory::Moment { boot_id: &cx.world.boot_id, clock: &*cx.host().clock } }
}

/// Forgets how releases were built that are no longer there.
async fn forget_gone(builds: &Builds<'_>, host: &Host) -> Result<(), HostError> {
    for release in builds.all() {
        if host.files.stat(&release).await?.is_none() {
            builds.forget(&release).await?;
        }
    }
    Ok(())
}
