//! `drains:` — a clean end of the machine: at scale-in, Spot interruption or shutdown.
//!
//! ```yaml
//! drains:
//!   leave:
//!     lifecycle_hook: { name: leaving }      # termination hook; group from the tag; name optional if there is one
//!     grace: 2m                              # time limit for work in progress and requests
//!     deregistration: 30s                    # how long requests are served at least, if `targets` cannot tell
//!     targets: ["{{values.target_group}}"]   # requests are served until these no longer list this instance
//!     spot: true
//!     rebalance: false
//! ```
//!
//! The step writes what is needed at the end to /run/ingot/drain.json, and makes `ingot-drain.service` run with it.
//! [`drain`](crate::drain) implements that service.

mod change;
mod drained;
mod fields;
mod names;
pub(crate) mod settings;
mod trouble;

use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use self::change::{Change, starts};
pub(crate) use self::drained::{forget_drain, is_drained};
pub(crate) use self::fields::Drain;
pub(crate) use self::names::{BEGAN, LEAVING, NOTICED, SETTINGS};
pub(crate) use self::settings::UNIT;
use self::settings::{Hook, Settings, ms};
use self::trouble::DrainError;
use crate::aws::arn::check_target_group;
use crate::digest::Sha256;
use crate::failure::Objection;
use crate::host::state::{Entry, EntryState, Record};
use crate::host::{Host, HostError, Unit};
use crate::step::fields::Mode;
use crate::step::{Context, Judgment, Look, Order, Outputs, Shape, Step};
use crate::steps::application::leave::stop_unit;
use crate::steps::health::{Health, health};
use crate::steps::install::{self, Directories, Wanted};
use crate::text::Text;

pub(crate) const KIND: &str = "drains";

/// How many of the last output lines an error shows if a unit fails to start.
const LINES: usize = 10;

/// The unit is up once it has read its settings.
const START: Duration = Duration::from_secs(30);

impl Step for Drain {
    type Change = Change;
    type Error = DrainError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let hook = self.lifecycle_hook.as_ref().map(|hook| match &hook.name {
            Some(name) => format!("then completes the lifecycle hook {}", shown(name)),
            None => "then completes the lifecycle hook".to_owned(),
        });
        let grace = format!("at its end, work in hand gets {:?}", self.grace());
        hook.map_or(grace.clone(), |hook| format!("{grace}; {hook}"))
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.texts(),
            order: Order::Apart,
            only_one: Some("watches for the end of the machine"),
            has_units: true,
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, secret: bool) -> Vec<Objection> {
        self.wrong(secret)
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, DrainError> {
        let mut changes = Vec::new();
        let was_drained = record(cx).await?.get(BEGAN).is_some_and(|began| began.boot_id == cx.world.boot_id);
        if was_drained || cx.host().files.stat(Path::new(LEAVING)).await.map_err(DrainError::Host)?.is_some() {
            changes.push(Change::Forget);
        }
        let wanted = self.wanted(cx)?;
        let started_with = cx.world.record.get(cx.address.as_str()).and_then(|entry| entry.detail);
        let is_current = started_with == Some(digest(&wanted.content));
        changes.extend(install::inspect(wanted, cx).await.map_err(DrainError::Host)?.into_iter().map(Change::File));
        changes.extend(starts(&shown(cx).await?, is_current && !was_drained)?);
        Ok(changes)
    }

    async fn stage(&self, change: &Change, cx: &Context<'_>) -> Result<(), DrainError> {
        match change {
            Change::File(change) => install::stage(change, cx).await.map_err(DrainError::Host),
            _ => Ok(()),
        }
    }

    async fn abandon(&self, change: &Change, cx: &Context<'_>) {
        if let Change::File(change) = change {
            install::abandon(change, cx).await;
        }
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), DrainError> {
        let units = &cx.host().units;
        let started = match change {
            Change::Forget => return forget(cx).await,
            Change::File(change) => return install::apply(change, cx).await.map_err(DrainError::Host),
            Change::ResetFailed => return units.reset_failed(UNIT).await.map_err(DrainError::Host),
            Change::Start => units.start(UNIT, START.min(cx.time_left())).await,
            Change::Restart => units.restart(UNIT, START.min(cx.time_left())).await,
        };
        if let Err(source) = started {
            let said = units.output(UNIT, LINES).await.iter().map(|line| cx.redact(line)).collect();
            return Err(DrainError::NotStarted { source, said: Box::new(said) });
        }
        let entry = Entry {
            state: EntryState::Done,
            boot_id: cx.world.boot_id.clone(),
            at: cx.host().clock.now().to_string(),
            detail: Some(digest(&self.wanted(cx)?.content)),
        };
        cx.world.record.put(cx.address.as_str(), entry).await.map_err(DrainError::Host)
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, DrainError> {
        cx.world.known.set_units(cx.address, [(UNIT.to_owned(), shown(cx).await?.restarts)].into());
        Ok(Outputs::default())
    }

    async fn judge(&self, found: &Unit, look: Look, _cx: &Context<'_>) -> Result<Judgment, DrainError> {
        match health(found) {
            Health::Sound => Ok(Judgment::Sound),
            Health::Moving if !look.is_last => Ok(Judgment::Open),
            _ => Err(DrainError::Ended { state: found.active.clone() }),
        }
    }
}

impl Drain {
    /// The settings file of the service.
    fn wanted(&self, cx: &Context<'_>) -> Result<Wanted, DrainError> {
        let mut content = serde_json::to_vec_pretty(&self.settings(cx)?).expect("settings are plain data");
        content.push(b'\n');
        Ok(Wanted {
            path: SETTINGS.into(),
            content: Zeroizing::new(content),
            owner: None,
            group: None,
            mode: Mode(0o644),
            directories: Directories::Own(0o755),
        })
    }

    fn settings(&self, cx: &Context<'_>) -> Result<Settings, DrainError> {
        let render = |text: &Text| cx.render(text).map(|text| text.expose().to_owned()).map_err(DrainError::Render);
        let mut targets = Vec::new();
        for target in &self.targets {
            let target = render(target)?;
            if cx.placeholder().is_none() {
                check_target_group(&target).map_err(DrainError::Target)?;
            }
            targets.push(target);
        }
        let hook = match &self.lifecycle_hook {
            Some(hook) => {
                Some(Hook { name: hook.name.as_ref().map(render).transpose()?, group: hook.group.as_ref().map(render).transpose()? })
            }
            None => None,
        };
        Ok(Settings {
            address: cx.address.to_string(),
            record: cx.world.record.instance().to_owned(),
            hook,
            grace_ms: ms(self.grace()),
            deregistration_ms: ms(self.deregistration()),
            targets,
            spot: self.spot.unwrap_or(true),
            rebalance: self.rebalance.unwrap_or(false),
            serving: cx.siblings.serving().iter().map(ToString::to_string).collect(),
            evidence: cx.siblings.evidence(cx),
            ports: cx.siblings.listening("applications").into_iter().flat_map(|(_, ports)| ports).copied().collect(),
        })
    }
}

/// The record about the end of this machine. It is separate, because it is written when no boot is running.
async fn record(cx: &Context<'_>) -> Result<Record, DrainError> {
    cx.world.record.apart(cx.address.as_str()).await.map_err(DrainError::Host)
}

async fn forget(cx: &Context<'_>) -> Result<(), DrainError> {
    forget_drain(&record(cx).await?, cx.host()).await.map_err(DrainError::Host)?;
    // If the restart that follows fails, the next boot repeats it: the running process still has its old state.
    cx.world.record.remove(cx.address.as_str()).await.map_err(DrainError::Host)
}

/// Stops the service that watches for the end of a machine whose document no longer has a drain, and removes what it
/// left. Returns whether there was anything.
///
/// # Errors
///
/// If any of it could not be removed.
pub(crate) async fn end(host: &Host) -> Result<bool, HostError> {
    let (settings, leaving) = (Path::new(SETTINGS), Path::new(LEAVING));
    if host.files.stat(settings).await?.is_none() && host.files.stat(leaving).await?.is_none() {
        return Ok(false);
    }
    stop_unit(UNIT, START, host).await?;
    host.files.remove(settings).await?;
    host.files.remove(leaving).await?;
    Ok(true)
}

async fn shown(cx: &Context<'_>) -> Result<Unit, DrainError> {
    let shown = cx.host().units.show(&[UNIT.to_owned()]).await.map_err(DrainError::Host)?;
    let none = || HostError::Systemctl { verb: "show", unit: UNIT.to_owned(), said: "it described no unit".into() };
    shown.into_iter().next().ok_or_else(|| DrainError::Host(none()))
}

fn digest(content: &[u8]) -> String {
    Sha256::of(content).to_string()
}
