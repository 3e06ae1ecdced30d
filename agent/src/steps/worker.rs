//! `workers:` — an SQS queue whose messages are posted to an application on this machine.
//!
//! ```yaml
//! workers:
//!   jobs:
//!     queue: shop-jobs                    # name, URL or ARN; FIFO too
//!     to: applications.shop               # or http://127.0.0.1:5000
//!     path: /jobs
//!     concurrency: 50
//!     visibility: 5m                      # extended while the POST lasts, up to max_duration
//!     max_duration: 1h
//!     retry: { delay: 2s, backoff: exponential, max_delay: 15m }
//! ```
//!
//! The step writes the settings of the worker to /run/ingot/workers/NAME.json, and makes `ingot-worker@NAME.service`
//! run with them. [`worker`](crate::worker) implements that service.

mod change;
pub(crate) mod cron;
mod fields;
mod periodic;
pub(crate) mod settings;
mod trouble;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use self::change::{Change, starts};
use self::cron::Cron;
use self::fields::Destination;
pub(crate) use self::fields::Worker;
use self::settings::{DIRECTORY, Settings, Slots, Target};
use self::trouble::WorkerError;
use crate::aws::sqs::QueueName;
use crate::digest::Sha256;
use crate::failure::Objection;
use crate::host::state::{Entry, EntryState};
use crate::host::{Host, HostError, Unit};
use crate::step::fields::Mode;
use crate::step::{Context, Judgment, Look, Order, Outputs, Phase, Shape, Step};
use crate::steps::application::door;
use crate::steps::health::{Health, health};
use crate::steps::install::{self, Directories, Wanted};
use crate::text::Text;

/// How many of the last output lines an error shows if a worker fails to start.
const LINES: usize = 10;

impl Step for Worker {
    type Change = Change;
    type Error = WorkerError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        format!("{} to {}{}", shown(&self.queue), self.to, self.path())
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: vec![&self.queue],
            watches: self.to.application().into_iter().chain(self.cron.as_ref().and_then(Cron::bundle)).collect(),
            claims: self.claiming(),
            order: Order::Apart,
            phase: Phase::Serve,
            has_units: true,
            offers: Some(&["path"]),
            // A worker that runs with outdated settings first finishes its messages in progress.
            patience: settings::START + self.drain(),
            ..Shape::default()
        }
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        let mut found = self.wrong(key);
        if secret {
            found.push(Objection::new(
                "`queue` holds a secret, and everybody on the machine can read the settings of a worker",
                "name the queue by its name, URL or ARN",
            ));
        }
        found
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, WorkerError> {
        let wanted = self.wanted(cx).await?;
        self.look_for_tasks(cx).await?;
        let started_with = cx.world.record.get(cx.address.as_str()).and_then(|entry| entry.detail);
        let digest = digest(&wanted.content);
        let mut changes: Vec<Change> =
            install::inspect(wanted, cx).await.map_err(WorkerError::Host)?.into_iter().map(Change::File).collect();
        let unit = shown(cx).await?;
        changes.extend(starts(&self::unit(cx.key()), &unit, started_with.as_deref() == Some(&*digest))?);
        Ok(changes)
    }

    async fn stage(&self, change: &Change, cx: &Context<'_>) -> Result<(), WorkerError> {
        match change {
            Change::File(change) => {
                // Checked before staging, so that after a failure the settings for the next start of the worker are
                // unchanged.
                self.prove_zones(cx).await?;
                install::stage(change, cx).await.map_err(WorkerError::Host)
            }
            _ => Ok(()),
        }
    }

    async fn abandon(&self, change: &Change, cx: &Context<'_>) {
        if let Change::File(change) = change {
            install::abandon(change, cx).await;
        }
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), WorkerError> {
        if matches!(change, Change::Start { .. } | Change::Restart { .. }) {
            self.prove_zones(cx).await?;
        }
        let (units, name, left) = (&cx.host().units, unit(cx.key()), cx.time_left());
        let started = match change {
            Change::File(change) => return install::apply(change, cx).await.map_err(WorkerError::Host),
            Change::ResetFailed { .. } => return units.reset_failed(&name).await.map_err(WorkerError::Host),
            Change::Start { .. } => {
                cx.waiting(format!("for {name} to find its queue"));
                units.start(&name, left).await
            }
            Change::Restart { .. } => {
                cx.waiting(format!("for {name} to finish what it has in hand, and start again"));
                units.restart(&name, left).await
            }
        };
        if let Err(source) = started {
            let said = units.output(&name, LINES).await.iter().map(|line| cx.redact(line)).collect();
            return Err(WorkerError::NotStarted { unit: name, source, said: Box::new(said) });
        }
        let entry = Entry {
            state: EntryState::Done,
            boot_id: cx.world.boot_id.clone(),
            at: cx.host().clock.now().to_string(),
            detail: Some(digest(&self.wanted(cx).await?.content)),
        };
        cx.world.record.put(cx.address.as_str(), entry).await.map_err(WorkerError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, WorkerError> {
        let unit = shown(cx).await?;
        cx.world.known.set_units(cx.address, [(self::unit(cx.key()), unit.restarts)].into());
        install::outputs(&path(cx.key()), cx).await.map_err(WorkerError::Host)
    }

    async fn judge(&self, found: &Unit, look: Look, _cx: &Context<'_>) -> Result<Judgment, WorkerError> {
        match health(found) {
            Health::Sound => Ok(Judgment::Sound),
            // systemd restarts it again and again while its queue does not exist.
            Health::Moving if !look.is_last => Ok(Judgment::Open),
            _ => Err(WorkerError::Ended { unit: found.id.clone(), state: found.active.clone() }),
        }
    }
}

impl Worker {
    /// The settings file of the worker.
    async fn wanted(&self, cx: &Context<'_>) -> Result<Wanted, WorkerError> {
        let settings = self.settings(cx).await?;
        let mut content = serde_json::to_vec_pretty(&settings).expect("settings are plain data");
        content.push(b'\n');
        Ok(Wanted {
            path: path(cx.key()),
            content: Zeroizing::new(content),
            owner: None,
            group: None,
            mode: Mode(0o644),
            directories: Directories::Own(0o755),
        })
    }

    async fn settings(&self, cx: &Context<'_>) -> Result<Settings, WorkerError> {
        let queue = cx.render(&self.queue).map_err(WorkerError::Render)?.expose().to_owned();
        if cx.placeholder().is_none() {
            QueueName::parse(&queue).map_err(WorkerError::Queue)?;
        }
        Ok(Settings {
            queue,
            to: self.target(cx)?,
            concurrency: self.concurrency(),
            visibility: self.visibility(),
            max_duration: self.max_duration(),
            timeout: self.timeout(),
            drain: self.drain(),
            retry: self.retry.effective(),
            retention: self.retention(),
            mime_type: self.mime_type().to_owned(),
            metrics: self.metrics,
            tasks: self.tasks(cx).await?,
            claims: self.claims(cx)?,
        })
    }

    fn target(&self, cx: &Context<'_>) -> Result<Target, WorkerError> {
        let path = self.path().to_owned();
        let application = match &self.to {
            Destination::Application(application) => application,
            Destination::Url { at, .. } => return Ok(Target { at: *at, slots: None, path, ready: None, published: false }),
        };
        let found = cx.world.known.output(application).and_then(|offers| door(application.key(), &offers));
        let door = found.ok_or_else(|| WorkerError::NoDoor { application: application.clone() })?;
        let slots = door.slots.map(|(link, [a, b])| Slots { link, a, b });
        Ok(Target { at: ([127, 0, 0, 1], door.port).into(), slots, path, ready: door.ready, published: door.published })
    }
}

async fn shown(cx: &Context<'_>) -> Result<Unit, WorkerError> {
    let name = unit(cx.key());
    let shown = cx.host().units.show(std::slice::from_ref(&name)).await.map_err(WorkerError::Host)?;
    shown.into_iter().next().ok_or(WorkerError::Host(HostError::Systemctl {
        verb: "show",
        unit: name,
        said: "it described no unit".into(),
    }))
}

/// Sentences about running workers that are not among the steps of the document, `kept`.
pub(crate) async fn left_behind(kept: &BTreeSet<&str>, host: &Host) -> Result<Vec<String>, HostError> {
    let names = host.files.list(Path::new(DIRECTORY)).await?;
    let names = names.iter().filter_map(|name| name.strip_suffix(".json"));
    let others: Vec<&str> = names.filter(|name| !kept.contains(format!("workers.{name}").as_str())).collect();
    let units: Vec<String> = others.iter().map(|name| unit(name)).collect();
    let shown = host.units.show(&units).await?;
    let running = units.iter().zip(&shown).filter(|(_, unit)| matches!(unit.active.as_str(), "active" | "activating"));
    Ok(running
        .map(|(unit, _)| format!("{unit} still runs, and the document no longer has that worker: run `systemctl stop {unit}`"))
        .collect())
}

/// The unit of a worker.
pub(crate) fn unit(name: &str) -> String {
    format!("ingot-worker@{name}.service")
}

/// The settings file of a worker.
pub(crate) fn path(name: &str) -> PathBuf {
    format!("{DIRECTORY}/{name}.json").into()
}

/// Identifies what a worker was started with: its settings, and the version of the program, which may be replaced while
/// the worker runs.
fn digest(content: &[u8]) -> String {
    Sha256::of(&[content, env!("CARGO_PKG_VERSION").as_bytes()].concat()).to_string()
}
