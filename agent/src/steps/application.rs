//! `applications:` — a release that runs, is kept running, and is replaced by the next one without a lost request.
//!
//! ```yaml
//! applications:
//!   shop:
//!     bundle: bundles.app
//!     run: { web: "bin/shop --port $PORT", jobs: "bin/shop jobs" }   # default: the release's Procfile, else its platform's command
//!     user: shop
//!     environment: { DATABASE_URL: "{{secrets.db.url}}" }
//!     port: 5000                                   # where this machine reaches it, whichever release serves
//!     ready: { http: /health, timeout: 60s }
//!     stop: { signal: SIGTERM, grace: 30s }
//!     overlap: true                                # web alone; [web, clock] widens; false: stop, then start
//! ```
//!
//! Each process is a transient unit of systemd: [`launch`](crate::host::Launch). What is run with the same release, commands,
//! environment and limits is one [`generation`]; an application has two slots for them. A new generation is started in the
//! free slot, proves that it serves, gets the requests by one rename, and only then is the one before drained and stopped. Where
//! the new one fails at any point, the one before keeps serving. [`decide`] says what is to be done, and is pure; [`mod@ground`]
//! does it; [`memory`] is what outlasts a reboot.

mod beanstalk;
mod build;
mod change;
pub(crate) mod container;
mod decide;
pub(crate) mod ebextensions;
mod environment;
mod extend;
mod extension;
mod facing;
mod fields;
mod front;
mod generation;
mod ground;
pub(crate) mod hooks;
pub(crate) mod judge;
mod memory;
mod part;
pub(crate) mod platforms;
pub(crate) mod procfile;
mod programs;
mod prove;
mod proxy;
mod recipe;
pub(crate) mod release;
pub(crate) mod remark;
mod restore;
mod rollback;
mod slot;
pub(crate) mod status;
mod trouble;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use self::change::Change;
use self::decide::{Found, Wanted};
use self::environment::is_secret;
use self::facing::Facing;
pub(crate) use self::fields::Application;
pub(crate) use self::front::former::{KIND, left_behind};
use self::generation::Generation;
pub(crate) use self::ground::in_use;
use self::ground::{Ground, owner};
use self::judge::{Asked, Examined, examine};
use self::memory::{Memory, Moment};
use self::platforms::Speaks;
use self::procfile::WEB;
use self::release::Release;
pub(crate) use self::restore::bring_back;
use self::slot::Slot;
use self::trouble::ApplicationError;
use crate::failure::Objection;
use crate::host::state::Record;
use crate::host::{SEARCH_PATH, Unit};
use crate::step::{AsksAws, Context, Judgment, Look, Order, Outputs, Phase, Progress, Shape, Step};
use crate::text::Text;

/// Builds, starting and draining, beside the limits that the application itself sets.
const PATIENCE: Duration = Duration::from_secs(900);

/// An environment file is as large as the variables of one program may be.
const ENVIRONMENT_LIMIT: u64 = 4 << 20;

/// What keeps processes from the instance metadata service.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
const WITHOUT_METADATA: &str = "IPAddressDeny=169.254.169.254/32 fd00:ec2::254/128";

impl Step for Application {
    type Change = Change;
    type Error = ApplicationError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let ready = self.ready.http.as_ref().map_or_else(String::new, |path| format!(", ready by {}", shown(path)));
        let port = self.port.map_or_else(String::new, |port| format!(" on port {port}"));
        let what = self.image.as_ref().map(shown).or_else(|| Some(self.bundle.as_ref()?.to_string()));
        format!("{}{port}{ready}", what.unwrap_or_default())
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        let texts = self.run.values().chain(&self.image).chain(self.environment.values()).chain(&self.ready.http).chain(self.proxy.texts());
        Shape {
            texts: texts.collect(),
            watches: self.bundle.iter().collect(),
            // What an image runs is known once it is here.
            unfolds: self.image.is_some(),
            asks_aws: if self.image.is_some() { AsksAws::UnlessDone } else { AsksAws::Never },
            offers: Some(&["port", "release", "version"]),
            order: Order::BeforeServices,
            phase: Phase::Serve,
            ports: self.ports(),
            has_units: true,
            only_one: self.is_for_beanstalk().then_some("says `compatible_with: beanstalk`"),
            patience: PATIENCE + self.ready.timeout() + self.stop.grace() + self.time_to_go_back(),
            ..Shape::default()
        }
    }

    fn objections(&self, key: &str, _secret: bool) -> Vec<Objection> {
        let mut found = self.wrong(key);
        found.extend(self.run.iter().filter(|(_, command)| is_secret(command)).map(|(name, _)| {
            Objection::new(
                format!("the command of `{name}` holds a secret, and anybody on the machine can read commands"),
                "pass it in `environment:`, and write its variable in the command",
            )
        }));
        found
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        let mut found = ground.found().await.map_err(ApplicationError::Host)?;
        if found.is_lost {
            return Err(ApplicationError::Lost);
        }
        if let Some(image) = self.missing_image(&found, &ground, cx).await? {
            return Ok(vec![Change::Pull { image }]);
        }
        self.find_stale(&mut found, cx).await?;
        let (generation, examined) = match self.generation(cx).await {
            Err(ApplicationError::Release { version, remarks, .. }) => return Ok(vec![Change::Refuse { version, remarks }]),
            known => known?,
        };
        let (port, overlap, php) = (self.port.unwrap_or(examined.port), self.overlap(), generation.php.clone());
        self.has_no_clash(port, cx)?;
        let build = self.recipe(&generation, &examined, cx).await?;
        let extensions = self.due_extensions(&generation, &examined, &ground, cx).await?;
        let hooks = self.due_hooks(&examined);
        let followed = self.followed(cx).await?;
        let is_free = |slot: &Slot| followed.iter().all(|former| !former.has(slot.port(port, overlap.covers(WEB))));
        let first = Slot::BOTH.into_iter().find(is_free).unwrap_or(Slot::A);
        let mut wanted = Wanted { application: cx.key(), generation, port, overlap, build, extensions, hooks, front: Vec::new(), first };
        let slot = wanted.slot(&found);
        wanted.front = self.front_changes(Facing { slot, port, php, snippets: examined.snippets.clone() }, &followed, &ground, cx).await?;
        let mut changes = self.compatible(&wanted.generation, port, &ground, cx).await?;
        changes.extend(wanted.changes(&found));
        // Only those that it cannot start beside go first.
        let (in_the_way, others): (Vec<_>, Vec<_>) = followed.iter().partition(|former| former.has(port) || !is_free(&slot));
        changes.splice(0..0, in_the_way.into_iter().map(front::former::Former::change));
        changes.extend(others.into_iter().map(front::former::Former::change));
        if !changes.is_empty() {
            let generation = &wanted.generation;
            let remarks = programs::lacking(&examined, &generation.environment, cx.host()).await.map_err(ApplicationError::Host)?;
            if !remarks.is_empty() {
                return Ok(vec![Change::Refuse { version: generation.version.clone(), remarks }]);
            }
            examined.warnings.iter().for_each(|warning| cx.progress(Progress::Warning(format!("{warning:#}"))));
        }
        Ok(changes)
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        // Going back takes time, too.
        let reserve = self.time_to_go_back().min(cx.patience / 2);
        let hurried = Context { deadline: cx.deadline.saturating_sub(reserve), ..*cx };
        match self.make(&change, &ground, &hurried).await {
            Err(error) => Err(match rollback::fails_in(&change, &ground) {
                Some(slot) => self.go_back(slot, error, &ground, cx).await,
                None => self.not_in_a_slot(error, &ground, cx).await,
            }),
            Ok(()) => Ok(()),
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        let Some((slot, placed)) = ground.serving() else { return Err(ApplicationError::Lost) };
        let states = ground.states(&placed).await.map_err(ApplicationError::Host)?;
        let units = states.into_iter().map(|(process, unit)| (placed.unit(&process), unit.restarts));
        cx.world.known.set_units(cx.address, units.collect());
        let port = slot.reached_at(placed.port, self.overlap().covers(WEB));
        let pinned = placed.container().and_then(|container| ground.memory.pinned(container.image())).map(PathBuf::from);
        let Generation { release, version, .. } = placed.generation;
        let release = pinned.unwrap_or(release);
        Ok(Outputs { value: json!({ "port": port, "release": release, "version": version }), stamp: None })
    }

    async fn judge(&self, found: &Unit, look: Look, cx: &Context<'_>) -> Result<Judgment, ApplicationError> {
        let record = self.record(cx).await?;
        prove::judge(found, look, &ground(&record, cx), cx).await
    }
}

impl Application {
    async fn record(&self, cx: &Context<'_>) -> Result<Record, ApplicationError> {
        cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)
    }

    async fn make(&self, change: &Change, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let done = match change {
            Change::Refuse { version, remarks } => {
                return Err(ApplicationError::Release { version: version.clone(), remarks: remarks.clone(), kept: None });
            }
            Change::Pull { .. } => return self.pull(ground, cx).await,
            Change::Build { placed, recipe } => return self.build(placed, recipe, cx).await,
            Change::Provide { part, generation, port } => return self.provide(part, generation, *port, ground, cx).await,
            Change::Extend { placed, extension } => return self.extend(placed, extension, ground, cx).await,
            Change::Hooks { placed, moment, hooks, .. } => return self.run_hooks(placed, *moment, hooks, ground, cx).await,
            Change::Check { site } => return self.check(site, ground, cx).await,
            Change::Configure { site, leaving, .. } => return self.configure(site, leaving, ground, cx).await,
            Change::Serve { slot, .. } => return self.serve(*slot, ground, cx).await,
            Change::Withdraw { slot, .. } => return self.withdraw(*slot, ground, cx).await,
            Change::Depart { application, .. } => return front::former::depart(application, cx).await,
            Change::Prepare { slot, placed } => ground.prepare(*slot, placed, &self.environment_file(placed, cx)?).await,
            Change::Stop { placed, processes, .. } => {
                cx.waiting(format!("for {} of {placed} to stop", processes.join(", ")));
                ground.stop(placed, &processes.iter().map(String::as_str).collect::<Vec<_>>()).await
            }
            Change::Launch { placed, process, .. } => return prove::launched(placed, process, ground, cx).await,
            Change::Prove { placed, .. } => return prove::serves(&self.ready, placed, ground, cx).await,
            Change::Switch { slot, .. } => ground.switch(*slot).await,
            Change::Settle { placed, .. } => return prove::settles(&self.ready, placed, ground, cx).await,
            Change::Retire { slot, placed } => match self.retire(*slot, placed, ground, cx).await {
                Ok(()) => ground.sweep().await,
                failed => failed,
            },
        };
        done.map_err(ApplicationError::Host)
    }

    /// What is wanted to run, and what the release says of it.
    async fn generation(&self, cx: &Context<'_>) -> Result<(Generation, Examined), ApplicationError> {
        let record = self.record(cx).await?;
        let image = self.contained(&ground(&record, cx), cx)?;
        let text = |field: &str| self.bundle.as_ref().and_then(|bundle| cx.world.known.text(bundle, field)).unwrap_or_default();
        let (release, version, examined) = match &image {
            Some(image) => ("/".into(), image.version.clone(), examine(&Release::default(), self.asked(&image.processes))),
            None => {
                let (release, version) = (PathBuf::from(text("release")), text("version"));
                let examined = self.examined(&release, &version, cx).await?;
                (release, version, examined)
            }
        };
        let mut environment: BTreeMap<String, String> = examined.environment.iter().cloned().collect();
        if !examined.path.is_empty() {
            environment.insert("PATH".to_owned(), search_path(&release, examined.path));
        }
        let (secret, plain): (Vec<_>, Vec<_>) = self.environment.iter().partition(|(_, text)| is_secret(text));
        secret.iter().for_each(|(name, _)| drop(environment.remove(*name)));
        // Which port that is, only the slot says.
        environment.remove("PORT");
        for (name, text) in plain {
            let value = cx.render(text).map_err(|source| ApplicationError::Render { what: format!("environment.{name}"), source })?;
            environment.insert(name.clone(), value.expose().to_owned());
        }
        let mut properties = self.resources.properties();
        if !self.aws {
            properties.push(WITHOUT_METADATA.to_owned());
        }
        let inside = self.inside(examined.contents.as_ref(), &release, cx).await?;
        let container = image.map(|image| image.container).or(inside.container);
        let user = match &self.user {
            // As its engine: `user` is that of the container.
            _ if container.is_some() || inside.composition.is_some() => "root".to_owned(),
            Some(user) => user.clone(),
            None if self.is_for_beanstalk() => cx.host().users.user(beanstalk::USER).await.map_err(ApplicationError::Host)?.name,
            None => owner(&release, cx.host()).await.map_err(ApplicationError::Host)?.0.to_string(),
        };
        let generation = Generation {
            user,
            release,
            version,
            processes: examined.processes.iter().map(|process| (process.name.clone(), process.command.clone())).collect(),
            environment,
            secrets: secret.into_iter().map(|(name, _)| name.clone()).collect(),
            stop_signal: self.stop.signal().to_owned(),
            stop_grace_ms: u64::try_from(self.stop.grace().as_millis()).unwrap_or(u64::MAX),
            properties,
            has_runtime_directory: examined.needs_runtime_directory,
            container,
            composition: inside.composition,
            php: match examined.speaks {
                Speaks::Http => None,
                Speaks::FastCgi { root } => Some(root.to_owned()),
            },
        };
        Ok((generation, examined))
    }

    /// What a release would run, with the commands of the document as they are written there.
    pub(crate) fn judged(&self, release: &Release) -> Examined {
        let run: BTreeMap<String, String> = self.run.iter().map(|(name, text)| (name.clone(), text.raw().to_owned())).collect();
        let mut examined = examine(release, self.asked(&run));
        examined.port = self.port.unwrap_or(examined.port);
        examined
    }

    fn asked<'r>(&self, run: &'r BTreeMap<String, String>) -> Asked<'r> {
        Asked {
            run: (!run.is_empty()).then_some(run),
            builds: !self.build.is_empty(),
            ignores_hooks: !self.hooks,
            reads_nginx: self.is_for_beanstalk(),
        }
    }

    /// What the release shows, once that can run.
    async fn examined(&self, release: &Path, version: &str, cx: &Context<'_>) -> Result<Examined, ApplicationError> {
        let render = |(name, command): (&String, &Text)| {
            let line = cx.render(command).map_err(|source| ApplicationError::Render { what: format!("run.{name}"), source })?;
            Ok((name.clone(), line.expose().to_owned()))
        };
        let run = self.run.iter().map(render).collect::<Result<BTreeMap<_, _>, ApplicationError>>()?;
        let shown = Release::read(release, &*cx.host().files).await.map_err(ApplicationError::Host)?;
        let mut examined = examine(&shown, self.asked(&run));
        match examined.mistakes.is_empty() {
            true => Ok(examined),
            false => {
                Err(ApplicationError::Release { version: version.to_owned(), remarks: std::mem::take(&mut examined.mistakes), kept: None })
            }
        }
    }

    /// Finds out which slots run with other secrets than those of today. A file that is gone tells nothing: so are its
    /// processes then.
    async fn find_stale(&self, found: &mut Found, cx: &Context<'_>) -> Result<(), ApplicationError> {
        for slot in Slot::BOTH {
            let Some((placed, _)) = &found.slots[slot as usize] else { continue };
            let path = placed.environment_file();
            let written = cx.host().files.read(&path, ENVIRONMENT_LIMIT).await.map_err(ApplicationError::Host)?;
            if let Some(written) = written
                && *written != *self.environment_file(placed, cx)?
            {
                found.stale.insert(slot);
            }
        }
        Ok(())
    }
}

fn ground<'a>(record: &'a Record, cx: &'a Context<'_>) -> Ground<'a> {
    let memory = Memory { record, moment: Moment { boot_id: &cx.world.boot_id, clock: &*cx.host().clock } };
    Ground { application: cx.key(), host: cx.host(), memory }
}

fn search_path(release: &Path, own: &[&str]) -> String {
    let own = own.iter().map(|path| format!("{}/{path}:", release.display()));
    own.chain([SEARCH_PATH.to_owned()]).collect()
}
