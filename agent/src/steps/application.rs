//! `applications:` — a release that runs, is kept running, and is replaced by the next one without a lost request.
//!
//! ```yaml
//! applications:
//!   shop:
//!     bundle: bundles.app
//!     run: { web: "bin/shop --port $PORT", jobs: "bin/shop jobs" }   # default: the release's Procfile
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
//! the new one fails at any point, the one before goes on serving. [`decide`] says what is to be done, and is pure; [`ground`]
//! does it; [`memory`] is what outlasts a reboot.

mod change;
mod decide;
pub(crate) mod ebextensions;
mod environment;
mod fields;
mod front;
mod generation;
mod ground;
pub(crate) mod hooks;
pub(crate) mod judge;
mod memory;
pub(crate) mod platforms;
pub(crate) mod procfile;
mod prove;
mod proxy;
pub(crate) mod release;
pub(crate) mod remark;
mod restore;
mod slot;
mod trouble;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use self::change::Change;
use self::decide::{Found, Wanted};
use self::environment::is_secret;
pub(crate) use self::fields::Application;
pub(crate) use self::restore::{Missing, bring_back};
use self::generation::Generation;
use self::slot::Slot;
use self::ground::Ground;
use self::memory::Memory;
use self::trouble::ApplicationError;
use crate::failure::{Explanation, Objection};
use crate::host::HostError;
use crate::host::state::Record;
use crate::step::{Context, Order, Outputs, Phase, Progress, Shape, Step};
use crate::text::Text;

/// Starting and draining, beside the limits that the application itself sets.
const PATIENCE: Duration = Duration::from_secs(300);

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
        format!("{} on port {}{ready}", self.bundle, self.port)
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.run.values().chain(self.environment.values()).chain(&self.ready.http).collect(),
            watches: vec![&self.bundle],
            offers: Some(&["port", "release", "version"]),
            order: Order::BeforeServices,
            phase: Phase::Serve,
            patience: PATIENCE + self.ready.timeout() + self.stop.grace(),
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
        self.find_stale(&mut found, cx).await?;
        let wanted = Wanted { application: cx.key(), generation: self.generation(cx).await?, port: self.port, overlap: &self.overlap };
        Ok(wanted.changes(&found))
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let record = self.record(cx).await?;
        let ground = ground(&record, cx);
        let (slot, is_new) = match &change {
            Change::Prepare { slot, .. } | Change::Launch { slot, .. } | Change::Prove { slot, .. } => (*slot, true),
            Change::Settle { slot, .. } | Change::Switch { slot, .. } => (*slot, true),
            Change::Stop { slot, .. } | Change::Retire { slot, .. } => (*slot, false),
        };
        match self.make(&change, &ground, cx).await {
            Err(error) if is_new => Err(self.go_back(slot, error, &ground, cx).await),
            made => made,
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, ApplicationError> {
        let known = &cx.world.known;
        let (release, version) = (known.text(&self.bundle, "release"), known.text(&self.bundle, "version"));
        Ok(Outputs { value: json!({ "port": self.port, "release": release, "version": version }), stamp: None })
    }
}

impl Application {
    async fn record(&self, cx: &Context<'_>) -> Result<Record, ApplicationError> {
        cx.world.record.application(cx.key()).await.map_err(ApplicationError::Host)
    }

    async fn make(&self, change: &Change, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let done = match change {
            Change::Prepare { slot, placed } => ground.prepare(*slot, placed, &self.environment_file(placed, cx)?).await,
            Change::Stop { placed, processes, .. } => {
                cx.waiting(format!("for {} of {placed} to stop", processes.join(", ")));
                ground.stop(placed, &processes.iter().map(String::as_str).collect::<Vec<_>>()).await
            }
            Change::Launch { placed, process, .. } => ground.launch(placed, process, cx.time_left()).await,
            Change::Prove { placed, .. } => return prove::serves(&self.ready, placed, ground, cx).await,
            Change::Switch { slot, .. } => ground.switch(*slot).await,
            Change::Settle { placed, .. } => return prove::settles(placed, ground, cx).await,
            Change::Retire { slot, placed } => {
                cx.waiting(format!("for {placed} to stop"));
                ground.retire(*slot, placed).await
            }
        };
        done.map_err(ApplicationError::Host)
    }

    /// After a failure in a slot: the generation in the other one, if there is one that served, serves again.
    async fn go_back(&self, failed: Slot, error: ApplicationError, ground: &Ground<'_>, cx: &Context<'_>) -> ApplicationError {
        let before = ground.memory.slot(failed.other()).filter(|(_, proven)| *proven);
        let Some((placed, _)) = before else { return error };
        let back = async {
            let found = ground.found().await?;
            let down: Vec<&str> = placed.processes().into_iter().filter(|name| !found.running.contains(&placed.unit(cx.key(), name))).collect();
            let (new, other) = (ground.memory.slot(failed), failed.other());
            let stopped = new.as_ref().map(|(new, _)| (new.processes(), new));
            // First those that their predecessors cannot start beside.
            if let Some((names, new)) = &stopped {
                let alone: Vec<&str> = names.iter().copied().filter(|name| !self.overlap.covers(name)).collect();
                ground.stop(new, &alone).await?;
            }
            for process in down {
                ground.launch(&placed, process, time_to_go_back(cx)).await?;
            }
            ground.switch(other).await?;
            if let Some((_, new)) = &stopped {
                ground.retire(failed, new).await?;
            }
            Ok::<(), HostError>(())
        };
        match back.await {
            Ok(()) => error.keeping(Some(placed.generation.version.clone())),
            Err(trouble) => {
                cx.progress(Progress::Warning(format!("cannot go back to {placed}: {}", Explanation::of(&trouble))));
                error
            }
        }
    }

    /// What is wanted to run.
    async fn generation(&self, cx: &Context<'_>) -> Result<Generation, ApplicationError> {
        let known = &cx.world.known;
        let text = |field: &str| known.text(&self.bundle, field).unwrap_or_default();
        let (release, version) = (PathBuf::from(text("release")), text("version"));
        let processes = self.processes(&release, &version, cx)?;
        let (secret, plain): (Vec<_>, Vec<_>) = self.environment.iter().partition(|(_, text)| is_secret(text));
        let mut environment = BTreeMap::new();
        for (name, text) in plain {
            let value = cx.render(text).map_err(|source| ApplicationError::Render { what: format!("environment.{name}"), source })?;
            environment.insert(name.clone(), value.expose().to_owned());
        }
        let mut properties = self.resources.properties();
        if !self.aws {
            properties.push(WITHOUT_METADATA.to_owned());
        }
        Ok(Generation {
            user: match &self.user {
                Some(user) => user.clone(),
                None => {
                    let stat = cx.host().files.stat(&release).await.map_err(ApplicationError::Host)?;
                    stat.map_or(0, |stat| stat.attributes.uid).to_string()
                }
            },
            release,
            version,
            processes,
            environment,
            secrets: secret.into_iter().map(|(name, _)| name.clone()).collect(),
            stop_signal: self.stop.signal().to_owned(),
            stop_grace_ms: u64::try_from(self.stop.grace().as_millis()).unwrap_or(u64::MAX),
            properties,
        })
    }

    fn processes(&self, release: &Path, version: &str, cx: &Context<'_>) -> Result<BTreeMap<String, String>, ApplicationError> {
        if self.run.is_empty() {
            return Err(ApplicationError::NoProcesses { version: version.to_owned(), release: release.to_owned() });
        }
        let render = |(name, command): (&String, &Text)| {
            let line = cx.render(command).map_err(|source| ApplicationError::Render { what: format!("run.{name}"), source })?;
            Ok((name.clone(), line.expose().to_owned()))
        };
        self.run.iter().map(render).collect()
    }

    /// Finds out which slots run with other secrets than those of today. A file that is gone tells nothing: so are its
    /// processes then.
    async fn find_stale(&self, found: &mut Found, cx: &Context<'_>) -> Result<(), ApplicationError> {
        for slot in Slot::BOTH {
            let Some((placed, _)) = &found.slots[slot as usize] else { continue };
            let path = placed.environment_file(cx.key());
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

/// Going back has a time of its own: that of the step may be over.
fn time_to_go_back(cx: &Context<'_>) -> Duration {
    cx.time_left().max(Duration::from_secs(30))
}

fn ground<'a>(record: &'a Record, cx: &'a Context<'_>) -> Ground<'a> {
    let memory = Memory { record, boot_id: &cx.world.boot_id, clock: &*cx.host().clock };
    Ground { application: cx.key(), host: cx.host(), memory }
}
