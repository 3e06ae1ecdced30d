//! `applications:` — runs a release, keeps it running, and replaces it with the next one without losing a request.
//!
//! ```yaml
//! applications:
//!   shop:
//!     bundle: bundles.app
//!     # default: the Procfile of the release, else the command of its platform
//!     run: { web: "bin/shop --port $PORT", jobs: "bin/shop jobs" }
//!     user: shop
//!     environment: { DATABASE_URL: "{{secrets.db.url}}" }
//!     port: 5000                                   # port on this machine, whichever release serves
//!     ready: { http: /health, timeout: 60s }
//!     stop: { signal: SIGTERM, grace: 30s }
//!     overlap: true                                # `web` only; [web, clock] adds more; false: stop, then start
//! ```
//!
//! Each process is a transient systemd unit: [`launch`](crate::host::Launch). A [`generation`] is what runs with the
//! same release, commands, environment and limits; an application has two slots for generations. A new generation
//! starts in the free slot, proves that it serves, receives the requests by one rename, and only then is the previous
//! one drained and stopped. If the new one fails at any point, the previous one keeps serving. [`decide`] determines
//! what to do, and is pure; [`mod@ground`] does it; [`memory`] is the state that survives a reboot.

mod beanstalk;
mod build;
mod change;
pub(crate) mod container;
mod decide;
mod door;
pub(crate) mod ebextensions;
mod environment;
mod examined;
mod extend;
mod extension;
mod facing;
mod fed;
mod fields;
mod front;
mod generation;
mod ground;
pub(crate) mod hooks;
pub(crate) mod judge;
mod lead;
pub(crate) mod leave;
mod loan;
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
mod turn;
pub(crate) mod watch;
mod watched;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use self::change::Change;
use self::decide::Wanted;
pub(crate) use self::door::door;
use self::environment::is_secret;
use self::facing::Facing;
pub(crate) use self::fields::Application;
pub(crate) use self::front::former::{KIND, left_behind};
use self::generation::Generation;
pub(crate) use self::ground::in_use;
use self::ground::{Ground, owner};
use self::judge::Examined;
use self::memory::{Memory, Moment};
use self::platforms::Speaks;
use self::procfile::WEB;
pub(crate) use self::restore::bring_back;
use self::slot::Slot;
use self::trouble::ApplicationError;
use crate::failure::Objection;
use crate::gather::Gather as _;
use crate::host::Unit;
use crate::host::state::Record;
use crate::step::{AsksAws, Context, Fallback, Judgment, Look, Order, Outputs, Phase, Progress, Shape, Step};
use crate::text::Text;

/// Time for builds, start-up and draining, in addition to the limits that the application itself sets.
const PATIENCE: Duration = Duration::from_secs(900);

/// Keeps processes away from the instance metadata service.
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
            needs_watched: true,
            // What an image runs is only known once it is on this machine.
            unfolds: self.image.is_some(),
            claims: self.claiming(),
            asks_aws: if self.image.is_some() { AsksAws::UnlessDone } else { AsksAws::Never },
            offers: Some(&["port", "release", "version"]),
            order: Order::BeforeServices,
            phase: Phase::Serve,
            ports: self.ports(),
            has_units: true,
            falls_back: true,
            trusts: self.bundle.as_ref().filter(|_| self.hooks).map(|bundle| (bundle, self.runs_as())),
            only_one: self.is_for_beanstalk().then_some("says `compatible_with: beanstalk`"),
            patience: PATIENCE + self.ready.timeout() + 2 * self.ready.stays() + self.stop.grace() + self.time_to_go_back(),
            reserve: self.time_to_go_back(),
            makes: self.bundle.as_ref().map(|bundle| (bundle, format!("{:?}", self.build))),
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
        found.extend(self.wrong_watch());
        found
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        let mut found = ground.found().await.map_err(ApplicationError::Host)?;
        if found.is_lost {
            return Err(ApplicationError::Lost);
        }
        // The generation that receives requests counts as proven, unless it was resumed after a reboot without a check.
        found.is_led &= !cx.world.known.is_unproven(cx.address);
        if let Some(slot) = found.current {
            found.lacks_certificate = self.lacks_certificate(slot, &ground, cx).await.map_err(ApplicationError::Host)?;
        }
        if let Some(pull) = self.missing_image(&found, &ground, cx).await? {
            return Ok(found.resumed().into_iter().chain([pull]).collect());
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
        let current = match self.leads_current(cx) {
            true => ground.current_elsewhere(&generation.release).await.map_err(ApplicationError::Host)?,
            false => None,
        };
        let (front, listens) = (Vec::new(), self.proxy.ports());
        let mut wanted =
            Wanted { application: cx.key(), generation, port, listens, overlap, build, extensions, hooks, front, first, current };
        let slot = wanted.slot(&found);
        // The generation may have been restarted, by a reboot or by systemd, and not been checked since.
        found.is_led &= self.answers(slot, &found, cx).await?;
        let site = Facing { slot, port, php, snippets: examined.snippets.clone() };
        wanted.front = self.front_changes(site, &followed, wanted.resumed(&found).is_some(), &ground, cx).await?;
        let parts = self.compatible(&wanted.generation, port, &ground, cx).await?;
        // The log of a process that goes away is followed until the process is gone, so these changes come last.
        let (mut changes, farewells): (Vec<_>, Vec<_>) = parts.into_iter().partition(|change| !change.is_farewell());
        changes.extend(wanted.changes(&found));
        front::former::go(&followed, &mut changes, |former| former.has(port) || !is_free(&slot));
        changes.extend(farewells);
        changes.extend(self.watch_changes(&ground, cx).await?);
        if !changes.is_empty() {
            let generation = &wanted.generation;
            let mut remarks = programs::lacking(&examined, &generation.environment, cx.host()).await.map_err(ApplicationError::Host)?;
            remarks.extend(self.current_of_before(cx).and_then(|current| programs::of_before(&examined.processes, &current)));
            if !remarks.is_empty() {
                return Ok(vec![Change::Refuse { version: generation.version.clone(), remarks }]);
            }
            let untrusted = loan::untrusted(&examined, generation, self.hooks, cx.host()).await.map_err(ApplicationError::Host)?;
            let warnings = examined.warnings.iter().map(|warning| format!("{warning:#}")).chain(untrusted);
            warnings.for_each(|warning| cx.progress(Progress::Warning(warning)));
        }
        Ok(changes)
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        // Rolling back takes time too, so some is reserved for it.
        let reserve = self.time_to_go_back().min(cx.patience / 2);
        let hurried = Context { deadline: cx.deadline.saturating_sub(reserve), ..*cx };
        match self.make(&change, &ground, &hurried).await {
            Err(error) => {
                let error = match rollback::fails_in(&change, &ground) {
                    Some(slot) => self.go_back(slot, error, &ground, cx).await,
                    None => self.not_in_a_slot(error, &ground, cx).await,
                };
                self.hand_back(&ground, cx).await;
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        let Some((slot, placed)) = ground.serving() else { return Err(ApplicationError::Lost) };
        let states = ground.states(&placed).await.map_err(ApplicationError::Host)?;
        let units = states.into_iter().map(|(process, unit)| (placed.unit(&process), unit.restarts));
        cx.world.known.set_units(cx.address, units.gather());
        let port = slot.reached_at(placed.port, self.overlap().covers(WEB));
        let pinned = placed.container().and_then(|container| ground.memory.pinned(container.image())).map(PathBuf::from);
        let door =
            self.door(&placed.generation, port, cx).map_err(|source| ApplicationError::Render { what: "ready.http".into(), source })?;
        let Generation { release, version, .. } = placed.generation;
        let release = pinned.unwrap_or(release);
        Ok(Outputs { value: json!({ "port": port, "release": release, "version": version, door::FIELD: door }), stamp: None })
    }

    async fn judge(&self, found: &Unit, look: Look, cx: &Context<'_>) -> Result<Judgment, ApplicationError> {
        let record = self.record(cx).await?;
        prove::judge(found, look, &self.ready, &ground(&record, cx), cx).await
    }

    async fn fall_back(&self, when: Fallback, cx: &Context<'_>) {
        let Ok(record) = self.record(cx).await else { return };
        let ground = ground(&record, cx);
        match when {
            Fallback::Meanwhile => self.serve_meanwhile(&ground, cx).await,
            Fallback::Instead => {
                self.serve_as_before(&ground, cx).await;
                self.hand_back(&ground, cx).await;
            }
        }
    }
}

impl Application {
    /// The container image that the application runs.
    pub(crate) fn image(&self) -> Option<&Text> {
        self.image.as_ref()
    }

    async fn record(&self, cx: &Context<'_>) -> Result<Record, ApplicationError> {
        cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)
    }

    async fn make(&self, change: &Change, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let done = match change {
            Change::Refuse { version, remarks } => {
                return Err(ApplicationError::Release { version: version.clone(), remarks: remarks.clone(), kept: None });
            }
            Change::Resume { slot, placed } => {
                self.resume(*slot, placed, ground, cx).await;
                return Ok(());
            }
            Change::Pull { .. } => return self.pull(ground, cx).await,
            Change::Build { placed, recipe } => return self.build(placed, recipe, cx).await,
            Change::Provide { part, generation, port } => return self.provide(part, generation, *port, ground, cx).await,
            Change::Extend { placed, extension } => return self.extend(placed, extension, ground, cx).await,
            Change::Hooks { placed, moment, hooks, .. } => return self.lead_hooks(placed, *moment, hooks, ground, cx).await,
            Change::Check { site } => return self.check(site, ground, cx).await,
            Change::Configure { site, leaving, .. } => return self.configure(site, leaving, ground, cx).await,
            Change::Serve { slot, .. } => return self.serve(*slot, ground, cx).await,
            Change::Withdraw { slot, .. } => return self.withdraw(*slot, ground, cx).await,
            Change::Depart { application, .. } => return front::former::depart(application, cx).await,
            Change::Prepare { slot, placed } => ground.prepare(*slot, placed, &self.environment_file(placed, cx)?).await,
            Change::Stop { slot, placed, processes } => {
                // The steps that follow need time too.
                let left = cx.time_left().saturating_sub(self.time_to_go_back()) / 2;
                let _held = self.held(*slot, placed, processes, left, cx).await;
                cx.waiting(format!("for {} of {placed} to stop", processes.join(", ")));
                ground.stop(placed, &processes.iter().map(String::as_str).collect::<Vec<_>>()).await
            }
            Change::Launch { placed, process, .. } => return prove::launched(placed, process, ground, cx).await,
            Change::Prove { placed, .. } => return prove::serves(&self.ready, placed, ground, cx).await,
            Change::Switch { slot, .. } => {
                cx.world.known.set_unproven(cx.address, false);
                ground.switch(*slot).await
            }
            Change::Watch { watched, .. } => ground.watch(watched).await,
            Change::Unwatch { .. } => ground.unwatch().await,
            Change::Point { placed, .. } => ground.point_current(placed).await,
            Change::Settle { placed, .. } => return prove::settles(&self.ready, placed, ground, cx).await,
            Change::Retire { slot, placed } => match self.retire(*slot, placed, ground, cx).await {
                Ok(()) => ground.sweep(&cx.world.record).await,
                failed => failed,
            },
        };
        done.map_err(ApplicationError::Host)
    }

    /// The `current` link of its bundle, if that leads to the previous release until the next one serves.
    fn current_of_before(&self, cx: &Context<'_>) -> Option<String> {
        let bundle = self.bundle.as_ref()?;
        cx.siblings.leader(bundle).filter(|leader| leader.switches).and_then(|_| cx.world.known.text(bundle, "path"))
    }

    /// Whether this application switches the `current` link of its bundle to the release that serves.
    fn leads_current(&self, cx: &Context<'_>) -> bool {
        self.bundle.as_ref().and_then(|bundle| cx.siblings.leader(bundle)).is_some_and(|leader| leader.application == cx.key())
    }

    /// The generation that should run, and what was found out about its release.
    async fn generation(&self, cx: &Context<'_>) -> Result<(Generation, Examined), ApplicationError> {
        let record = self.record(cx).await?;
        let image = self.contained(&ground(&record, cx), cx)?;
        let text = |field: &str| self.bundle.as_ref().and_then(|bundle| cx.world.known.text(bundle, field)).unwrap_or_default();
        let (release, version, examined) = match &image {
            Some(image) => ("/".into(), image.version.clone(), self.of_an_image(&image.processes)),
            None => {
                let (release, version) = (PathBuf::from(text("release")), text("version"));
                let examined = self.examined(&release, &version, cx).await?;
                (release, version, examined)
            }
        };
        let environment = self.plain_variables(&examined, &release, cx)?;
        let mut properties = self.resources.properties();
        if !self.aws {
            properties.push(WITHOUT_METADATA.to_owned());
        }
        let inside = self.inside(examined.contents.as_ref(), &release, cx).await?;
        let container = image.map(|image| image.container).or(inside.container);
        let user = match &self.user {
            // The user of the container engine; `user` applies inside the container.
            _ if container.is_some() || inside.composition.is_some() => "root".to_owned(),
            Some(user) => user.clone(),
            None if self.is_for_beanstalk() => cx.host().users.user(fields::USER).await.map_err(ApplicationError::Host)?.name,
            None => owner(&release, cx.host()).await.map_err(ApplicationError::Host)?.0.to_string(),
        };
        let generation = Generation {
            user,
            release,
            version,
            processes: examined.processes.iter().map(|process| (process.name.clone(), process.command.clone())).gather(),
            environment,
            secrets: self.environment.iter().filter(|(_, text)| is_secret(text)).map(|(name, _)| name.clone()).collect(),
            stop_signal: self.stop.signal().to_owned(),
            stop_grace_ms: u64::try_from(self.stop.grace().as_millis()).unwrap_or(u64::MAX),
            properties,
            has_directories: examined.needs_directories,
            container,
            composition: inside.composition,
            php: match examined.speaks {
                Speaks::Http => None,
                Speaks::FastCgi { root } => Some(root.to_owned()),
            },
        };
        Ok((generation, examined))
    }
}

fn ground<'a>(record: &'a Record, cx: &'a Context<'_>) -> Ground<'a> {
    let memory = Memory { record, moment: Moment { boot_id: &cx.world.boot_id, clock: &*cx.host().clock } };
    Ground { application: cx.key(), host: cx.host(), memory }
}
