//! Prepares a release before any of it runs: platform files, dependencies, build and hooks.
//!
//! A release is built once. A build that was started is remembered with its commands, which run again after an
//! interruption: otherwise half-installed dependencies would look like dependencies that the release ships.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::fields::Application;
use super::generation::{Generation, Placed};
use super::ground::owner;
use super::hooks::{Moment, Occasion};
use super::judge::Examined;
use super::lead::Led;
use super::loan::{self, Loan};
use super::memory::{self, Builds};
use super::recipe::{Recipe, shown};
use super::trouble::ApplicationError;
use super::turn::{BUILDS, turn};
use crate::host::{Attributes, End, Host, HostError, Invocation, Lease, SEARCH_PATH, User};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};
use crate::steps::claiming;
use crate::text::SecretText;

/// Maximum number of lines of a program's output that go to the journal.
const OUTPUT_LINES: usize = 10_000;

/// How a program of a release is run.
pub(super) struct Run<'a> {
    pub(super) release: &'a Path,
    pub(super) environment: &'a [(String, SecretText)],
    /// `None` runs it as ingot's own user.
    pub(super) user: Option<User>,
    /// The lease under which it runs, if it acts for other instances as well.
    pub(super) lease: Option<Lease>,
}

impl Run<'_> {
    /// Runs a program until it exits, in the release's directory or in a substitute for it. `what` names the program in
    /// an error.
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
        let end = cx.host().commands.run(&self.invocation(argv, self.time_left(cx)), &mut on_line).await;
        let how = match end.map_err(ApplicationError::Host)? {
            End::Exited(0) => return Ok(()),
            End::Exited(status) => format!("exited with {status}"),
            End::Signalled(signal) => format!("was ended by signal {signal}"),
            End::TimedOut => "did not end in time".to_owned(),
        };
        Err(ApplicationError::Program { what: what.to_owned(), how, kept: None, said: Box::new(said) })
    }

    fn time_left(&self, cx: &Context<'_>) -> Duration {
        if self.lease.is_some() { claiming::time_left(cx) } else { cx.time_left() }
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
            lease: self.lease.clone(),
        }
    }
}

/// Writes the files of a recipe, with the same owner as the other files of the release.
pub(super) async fn write(recipe: &Recipe, release: &Path, owner: (u32, u32), cx: &Context<'_>) -> Result<(), HostError> {
    for (path, content, mode) in recipe.files() {
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

/// Identifies a directory: its path, and the inode that distinguishes it from a later directory at the same path.
pub(super) async fn identity(release: &Path, host: &Host) -> Result<String, HostError> {
    let stat = host.files.stat(release).await?;
    Ok(format!("{}:{}", release.display(), stat.map_or(0, |stat| stat.inode)))
}

impl Application {
    /// How the release is built, unless it has been built already.
    pub(super) async fn recipe(
        &self,
        generation: &Generation,
        examined: &Examined,
        cx: &Context<'_>,
    ) -> Result<Option<Recipe>, ApplicationError> {
        let of = identity(&generation.release, cx.host()).await.map_err(ApplicationError::Host)?;
        let recipe = Recipe::new(of, examined, &self.build);
        let is_whole = !self.has_lost_image(generation.container.as_ref(), cx).await?;
        let before = builds(cx).of(&generation.release).filter(|(before, _)| before.of == recipe.of);
        // The release counts as built even if what another application needs in addition has failed.
        let done = before.as_ref().filter(|_| is_whole).and_then(|(before, is_done)| before.done(*is_done));
        if let Some(done) = done.filter(|done| done.covers(&recipe)) {
            if done.build != recipe.build {
                let said = format!("{} was built before `build:` changed; the change counts for the next release", generation.version);
                cx.progress(Progress::Warning(said));
            }
            return Ok(None);
        }
        Ok(match before {
            // What another application of the same release needs may still be missing. An unfinished build is repeated,
            // since half-installed dependencies look like dependencies that the release ships, and the document may
            // have been corrected.
            Some((built, true)) if is_whole => Some(built.added(recipe)),
            Some((begun, false)) => Some(begun.and(recipe)),
            _ => Some(recipe).filter(|recipe| !recipe.is_empty()),
        })
    }

    pub(super) async fn build(&self, placed: &Placed, recipe: &Recipe, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let builds = builds(cx);
        let lock = cx.world.claims.building(release);
        let _turn = turn(&lock, BUILDS, cx).await?;
        // Another application that runs the same release may have built it in the meantime.
        let before = builds.of(release).filter(|(before, _)| before.of == recipe.of);
        let done = before.as_ref().and_then(|(before, is_done)| before.done(*is_done));
        if done.is_some_and(|done| done.covers(recipe)) {
            return self.make_inside(recipe.contents.as_ref(), placed, cx).await;
        }
        let recipe = &match before {
            Some((built, true)) => built.added(recipe.clone()),
            Some((begun, false)) => begun.and(recipe.clone()),
            None => Recipe { had: None, ..recipe.clone() },
        };
        forget_gone(&builds, cx.host()).await.map_err(ApplicationError::Host)?;
        builds.set(release, recipe, false).await.map_err(ApplicationError::Host)?;
        let owner = owner(release, cx.host()).await.map_err(ApplicationError::Host)?;
        write(recipe, release, owner, cx).await.map_err(ApplicationError::Host)?;
        self.run_all(recipe, owner, &placed.generation, cx).await?;
        self.make_inside(recipe.contents.as_ref(), placed, cx).await?;
        builds.set(release, &Recipe { had: None, ..recipe.clone() }, true).await.map_err(ApplicationError::Host)
    }

    /// Runs the commands of a recipe as the owner of the release, or as the user of its processes if the owner is root.
    async fn run_all(&self, recipe: &Recipe, owner: (u32, u32), generation: &Generation, cx: &Context<'_>) -> Result<(), ApplicationError> {
        if recipe.commands().next().is_none() {
            return Ok(());
        }
        let loan = Loan::to(&generation.user, &generation.release, cx.host()).await.map_err(ApplicationError::Host)?;
        let built = self.run_as(loan.as_ref(), recipe, owner, generation, cx).await;
        let ended = match &loan {
            Some(loan) => loan.end(cx.host()).await,
            None => Ok(()),
        };
        built.and(ended.map_err(ApplicationError::Host))
    }

    async fn run_as(
        &self,
        loan: Option<&Loan>,
        recipe: &Recipe,
        owner: (u32, u32),
        generation: &Generation,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let (release, host) = (&generation.release, cx.host());
        let begun = async {
            let mut user = match loan {
                Some(loan) => loan.user().clone(),
                None => builder(release, owner, host).await?,
            };
            let scratch = loan::scratch(release, &mut user, host).await?;
            match loan {
                Some(loan) => loan.begin(host).await?,
                None => scratch.give(owner, host).await?,
            }
            Ok((user, scratch))
        };
        let (user, scratch) = begun.await.map_err(ApplicationError::Host)?;
        let mut environment = scratch.variables();
        environment.extend(self.variables(generation, cx)?);
        let run = Run { release, environment: &environment, user: Some(user), lease: None };
        let mut built = Ok(());
        for argv in recipe.commands() {
            built = run.run(argv, &shown(argv), cx).await;
            if built.is_err() {
                break;
            }
        }
        built.and(scratch.clear(host).await.map_err(ApplicationError::Host))
    }

    /// The hooks of the release, by occasion and moment.
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
        led: Led,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let release = &placed.generation.release;
        let mut environment = self.variables(&placed.generation, cx)?;
        environment.extend([("PORT".to_owned(), placed.port.to_string().as_str().into()), led.variable()]);
        let run = Run { release, environment: &environment, user: None, lease: led.lease() };
        if moment.is_before_the_switch() {
            self.point_staging(release, cx.host()).await.map_err(ApplicationError::Host)?;
        }
        for hook in hooks {
            let path = release.join(hook);
            if let Some(stat) = cx.host().files.stat(&path).await.map_err(ApplicationError::Host)?
                && stat.attributes.mode & 0o100 == 0
            {
                let attributes = Attributes { mode: stat.attributes.mode | 0o755, ..stat.attributes };
                cx.host().files.set_attributes(&path, attributes).await.map_err(ApplicationError::Host)?;
            }
            let before = self.handed_over(release, cx).await?;
            run.run(&[path.display().to_string()], hook, cx).await?;
            self.is_unchanged(&before, release, hook, cx).await?;
        }
        Ok(())
    }

    /// The environment variables for a program of the release, secrets included.
    pub(super) fn variables(&self, generation: &Generation, cx: &Context<'_>) -> Result<Vec<(String, SecretText)>, ApplicationError> {
        let plain = generation.environment.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let mut variables: Vec<(String, SecretText)> = plain.collect();
        variables.extend(self.secret_variables(generation, cx)?);
        Ok(variables)
    }
}

/// The user whose programs build a release: its owner, which may have no name on this machine.
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

/// Forgets the builds of releases that no longer exist.
async fn forget_gone(builds: &Builds<'_>, host: &Host) -> Result<(), HostError> {
    for release in builds.all() {
        if host.files.stat(&release).await?.is_none() {
            builds.forget(&release).await?;
        }
    }
    Ok(())
}
