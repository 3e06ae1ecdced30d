//! What is done to a release before any of it runs: files that its platform needs, its dependencies, its build, its hooks.
//!
//! A release is built once. What was begun is remembered, with its commands: after a kill they run again, for half of what they
//! install looks like a release that brings it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::decide::Found;
use super::environment::is_secret;
use super::fields::Application;
use super::generation::{Generation, Placed};
use super::ground::{Ground, owner};
use super::hooks::{Moment, Occasion};
use super::judge::Examined;
use super::recipe::{Recipe, hooks, shown};
use super::trouble::ApplicationError;
use crate::host::{Attributes, End, HostError, Invocation, SEARCH_PATH, User};
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
        Err(ApplicationError::Program { what: what.to_owned(), how, kept: None, said: Box::new(said) })
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

impl Application {
    /// How the release is built, unless that is done.
    pub(super) async fn recipe(
        &self,
        generation: &Generation,
        examined: &Examined,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Option<Recipe>, ApplicationError> {
        let stat = cx.host().files.stat(&generation.release).await.map_err(ApplicationError::Host)?;
        let of = format!("{}:{}", generation.release.display(), stat.map_or(0, |stat| stat.inode));
        let is_whole = !self.has_lost_image(generation.container.as_ref(), ground, cx).await?;
        Ok(match ground.memory.built(&generation.release) {
            Some((recipe, true)) if recipe.of == of && is_whole => None,
            Some((recipe, false)) if recipe.of == of => Some(recipe),
            _ => Some(Recipe::new(of, examined, &self.build)).filter(|recipe| !recipe.is_empty()),
        })
    }

    pub(super) async fn build(
        &self,
        release: &Path,
        recipe: &Recipe,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        self.forget_gone(ground, cx).await.map_err(ApplicationError::Host)?;
        ground.memory.set_built(release, recipe, false).await.map_err(ApplicationError::Host)?;
        let owner = owner(release, cx.host()).await.map_err(ApplicationError::Host)?;
        write(recipe, release, owner, cx).await.map_err(ApplicationError::Host)?;
        let user = cx.host().users.user(&owner.0.to_string()).await.ok();
        let environment = self.variables(None, cx).await?;
        let run = Run { release, path: &recipe.path, environment: &environment, user };
        for argv in &recipe.commands {
            run.run(argv, &shown(argv), cx).await?;
        }
        if recipe.images
            && let (_, Examined { contents: Some(contents), .. }) = self.generation(cx).await?
        {
            self.make_inside(&contents, release, ground, cx).await?;
        }
        ground.memory.set_built(release, recipe, true).await.map_err(ApplicationError::Host)
    }

    /// Forgets how releases were built that are no longer there.
    async fn forget_gone(&self, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), HostError> {
        for release in ground.memory.releases() {
            if cx.host().files.stat(&release).await?.is_none() {
                ground.memory.forget_built(&release).await?;
            }
        }
        Ok(())
    }

    /// The hooks that this change of the application runs, by their moment.
    pub(super) fn due_hooks(&self, found: &Found, generation: &Generation, examined: &Examined) -> BTreeMap<Moment, Vec<String>> {
        if !self.hooks {
            return BTreeMap::new();
        }
        let occasion = if found.serves(&generation.release) { Occasion::Configuration } else { Occasion::Release };
        Moment::ALL.into_iter().map(|moment| (moment, hooks(examined, occasion, moment))).collect()
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
        let mut environment = self.variables(Some(placed.port), cx).await?;
        environment.push((LEADER.0.to_owned(), LEADER.1.into()));
        let run = Run { release, path: &[], environment: &environment, user: None };
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
    pub(super) async fn variables(&self, port: Option<u16>, cx: &Context<'_>) -> Result<Vec<(String, SecretText)>, ApplicationError> {
        let (generation, _) = self.generation(cx).await?;
        let mut variables: Vec<(String, SecretText)> =
            port.map(|port| ("PORT".to_owned(), port.to_string().as_str().into())).into_iter().collect();
        variables.extend(generation.environment.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
        for (name, text) in self.environment.iter().filter(|(_, text)| is_secret(text)) {
            let value = cx.render(text).map_err(|source| ApplicationError::Render { what: format!("environment.{name}"), source })?;
            variables.push((name.clone(), value));
        }
        Ok(variables)
    }
}
