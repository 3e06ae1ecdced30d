//! `services:` — a systemd unit that runs with the current configuration, and serves.
//!
//! ```yaml
//! services:
//!   shop.service:
//!     ready: { http: "http://127.0.0.1:8080/health", timeout: 60s }   # or tcp: "127.0.0.1:5432", or exec: [argv]
//!   nginx.service:
//!     restart_on: [files./etc/nginx/conf.d/shop.conf]   # restarted if one of these has changed since its last start
//!     reload_on: [files./etc/nginx/allow.conf]          # the same, by reload
//! ```
//!
//! A unit that is up when its step ends is checked again at the end of the boot, together with all others. A unit that
//! was skipped, has died or has been stopped by then is a failure, and so is one that is restarted again and again. A
//! single restart is not: [`last`].
//!
//! A service without `after:` starts after every step that is not a service. Whether a unit is enabled is defined by
//! the image; units that ingot starts should not be enabled. [`ordering`] detects units that cannot be started during
//! the boot, and [`ready`] checks whether a unit serves.

mod definitions;
mod last;
mod name;
mod queue;
mod trouble;
mod words;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::definitions::{inputs, loaded, read_again};
use self::trouble::{ServiceError, show, unproven, why};
use crate::address::Address;
use crate::failure::Objection;
use crate::host::Unit;
use crate::host::state::{Entry, EntryState as Recorded};
use crate::step::{Context, Judgment, Look, Order, Outputs, Phase, Shape, Step, Written};
use crate::steps::ordering;
use crate::steps::ready::{self, Ready};
use crate::steps::stamps::{Stamps, stamps};
use crate::text::Text;

/// For the start of the unit; its readiness check, which follows, has its own limit.
const PATIENCE: Duration = Duration::from_secs(300);

/// A systemd unit that runs with the current configuration, and serves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Probe that must succeed. Default: the unit is up.
    ready: Option<Ready>,
    /// Files, credentials, commands and bundles whose change restarts the unit.
    #[serde(default)]
    restart_on: Vec<Address>,
    /// Files, credentials, commands and bundles whose change reloads the unit.
    #[serde(default)]
    reload_on: Vec<Address>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    ReadDefinitions,
    /// systemd does not start a unit that hit its start limit, not even with a new configuration.
    ResetFailed,
    Start,
    Restart {
        because: Vec<Address>,
    },
    Reload {
        because: Vec<Address>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, because) = match self {
            Self::ReadDefinitions => return f.write_str("make systemd reload its unit files"),
            Self::ResetFailed => return f.write_str("reset its failed state"),
            Self::Start => return f.write_str("start"),
            Self::Restart { because } => ("restart", because),
            Self::Reload { because } => ("reload", because),
        };
        let because: Vec<&str> = because.iter().map(Address::as_str).collect();
        write!(f, "{verb} because of {}", because.join(", "))
    }
}

impl Step for Service {
    type Change = Change;
    type Error = ServiceError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        self.ready.as_ref().map_or_else(String::new, |ready| format!("ready by {}", ready.summary(shown)))
    }

    fn programs(&self) -> Vec<&Text> {
        self.ready.iter().filter_map(Ready::program).collect()
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.ready.iter().flat_map(Ready::texts).collect(),
            watches: self.watches(),
            order: Order::AfterTheRest,
            phase: Phase::Serve,
            has_units: true,
            patience: PATIENCE + self.ready.as_ref().map_or(Duration::ZERO, Ready::timeout),
            ..Shape::default()
        }
    }

    fn objections(&self, key: &str, _secret: bool) -> Vec<Objection> {
        let mut objections: Vec<Objection> = name::objection(key).into_iter().collect();
        if !self.reload_on.is_empty() {
            objections.extend(name::reload_objection(key));
        }
        for address in self.watches() {
            if !matches!(address.kind(), "files" | "credentials" | "commands" | "bundles") {
                objections.push(Objection {
                    message: format!("a service cannot be restarted or reloaded on {address}"),
                    hint: "name files, credentials, commands or bundles here; use `after:` to wait for other steps".into(),
                });
            }
        }
        objections
    }

    fn advice_beside(&self, key: &str, written: &Written<'_>) -> Vec<Objection> {
        if self.reload_on.is_empty() { Vec::new() } else { definitions::reload_advice(key, written).into_iter().collect() }
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, ServiceError> {
        let unit = show(cx).await?;
        if unit.load == "not-found" && !inputs(cx.world.known.done()).is_empty() {
            return Ok(vec![Change::ReadDefinitions, Change::Start]);
        }
        let recorded = cx.world.record.get(cx.address.as_str()).and_then(|entry| entry.detail);
        let changes = self.changes(cx.key(), &unit, recorded.as_deref(), &stamps(&self.watches(), cx))?;
        if !changes.is_empty() {
            startable(&unit, cx).await?;
        }
        Ok(changes)
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), ServiceError> {
        let (units, unit, left) = (&cx.host().units, cx.key(), cx.time_left());
        let done = match change {
            Change::ReadDefinitions => {
                read_again(cx).await?;
                // The old definition was inspected, so the checks are repeated with the new one.
                let unit = show(cx).await?;
                loaded(cx.key(), &unit, true)?;
                self.reloadable(cx.key(), &unit)?;
                return startable(&unit, cx).await;
            }
            Change::ResetFailed => return units.reset_failed(unit).await.map_err(ServiceError::Host),
            Change::Start => queue::told(&format!("for {unit} to start"), units.start(unit, left), cx).await,
            Change::Restart { .. } => queue::told(&format!("for {unit} to restart"), units.restart(unit, left), cx).await,
            Change::Reload { .. } => queue::told(&format!("for {unit} to reload"), units.reload(unit, left), cx).await,
        };
        if let Err(error) = done {
            return Err(why(error, cx).await);
        }
        self.record(cx).await?;
        match self.ready {
            Some(_) => Ok(()),
            None => match ready::settle(cx).await {
                Ok(()) => Ok(()),
                Err(not_ready) => Err(unproven(not_ready, cx).await),
            },
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, ServiceError> {
        if let Some(ready) = &self.ready
            && let Err(not_ready) = ready::wait(ready, cx).await
        {
            return Err(unproven(not_ready, cx).await);
        }
        Ok(Outputs::default())
    }

    async fn judge(&self, found: &Unit, look: Look, cx: &Context<'_>) -> Result<Judgment, ServiceError> {
        last::judge(found, look, self.ready.as_ref(), cx).await
    }
}

impl Service {
    /// The steps whose change causes a restart or a reload.
    fn watches(&self) -> Vec<&Address> {
        self.restart_on.iter().chain(&self.reload_on).collect()
    }

    /// Decides what to do about a unit as it was found.
    ///
    /// `recorded` are the stamps recorded when ingot last started it, `present` the current ones.
    fn changes(&self, key: &str, unit: &Unit, recorded: Option<&str>, present: &Stamps) -> Result<Vec<Change>, ServiceError> {
        loaded(key, unit, false)?;
        self.reloadable(key, unit)?;
        let mut changes = Vec::new();
        if unit.stale {
            changes.push(Change::ReadDefinitions);
        }
        // A unit that is still starting may have read its old files, and another start request would only join the
        // running one.
        let up = matches!(unit.active.as_str(), "active" | "reloading");
        if !up && unit.active != "activating" {
            // Its result does not say whether it also hit its start limit.
            if unit.active == "failed" {
                changes.push(Change::ResetFailed);
            }
            changes.push(Change::Start);
            return Ok(changes);
        }
        let started_with = recorded.map(Stamps::parse).unwrap_or_default();
        let differing = |watched: &[Address]| -> Vec<Address> {
            watched.iter().filter(|address| started_with.0.get(*address) != present.0.get(*address)).cloned().collect()
        };
        let (restart, reload) = (differing(&self.restart_on), differing(&self.reload_on));
        if !restart.is_empty() {
            changes.push(Change::Restart { because: restart });
        } else if !up {
            changes.push(Change::Start);
        } else if !reload.is_empty() {
            changes.push(Change::Reload { because: reload });
        }
        Ok(changes)
    }

    /// Rejects a unit that may have to be reloaded later but does not support it. If its file has changed, the check is
    /// made after systemd has read the new one.
    fn reloadable(&self, key: &str, unit: &Unit) -> Result<(), ServiceError> {
        if self.reload_on.is_empty() || unit.can_reload || unit.stale {
            return Ok(());
        }
        Err(ServiceError::CannotReload { unit: key.to_owned() })
    }

    /// Records the stamps with which the unit now runs. They are written after the start: if the boot is interrupted in
    /// between, the unit is started again, which is harmless. In the other order it would keep its old configuration.
    async fn record(&self, cx: &Context<'_>) -> Result<(), ServiceError> {
        let watches = self.watches();
        if watches.is_empty() {
            return Ok(());
        }
        let entry = Entry {
            state: Recorded::Done,
            boot_id: cx.world.boot_id.clone(),
            at: cx.host().clock.now().to_string(),
            detail: Some(stamps(&watches, cx).to_string()),
        };
        cx.world.record.put(cx.address.as_str(), entry).await.map_err(ServiceError::Host)
    }
}

/// Rejects a unit that waits for the unit that ingot runs in.
async fn startable(unit: &Unit, cx: &Context<'_>) -> Result<(), ServiceError> {
    match ordering::deadlock(unit, cx).await.map_err(ServiceError::Host)? {
        Some(deadlock) => Err(ServiceError::Deadlock { unit: unit.id.clone(), deadlock }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        serde_json::from_value(serde_json::json!({"restart_on": ["files./a"], "reload_on": ["files./b"]})).unwrap()
    }

    fn unit(active: &str) -> Unit {
        Unit { load: "loaded".into(), active: active.into(), can_reload: true, ..Unit::default() }
    }

    fn stamps(pairs: &[(&str, &str)]) -> Stamps {
        Stamps(pairs.iter().map(|(address, stamp)| (address.parse().unwrap(), (*stamp).to_owned())).collect())
    }

    fn lines(unit: &Unit, recorded: Option<&Stamps>, present: &Stamps) -> Vec<String> {
        let recorded = recorded.map(ToString::to_string);
        service().changes("x.service", unit, recorded.as_deref(), present).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn starts_what_does_not_run() {
        let now = stamps(&[("files./a", "1"), ("files./b", "1")]);
        for state in ["inactive", "activating", "deactivating"] {
            assert_eq!(lines(&unit(state), Some(&now), &now), ["start"], "{state}");
        }
    }

    #[test]
    fn leaves_alone_what_runs_with_its_present_files() {
        let now = stamps(&[("files./a", "1"), ("files./b", "1")]);
        assert!(lines(&unit("active"), Some(&now), &now).is_empty());
    }

    #[test]
    fn restarts_on_a_change_since_its_last_start_even_of_an_earlier_boot() {
        let then = stamps(&[("files./a", "1"), ("files./b", "1")]);
        let now = stamps(&[("files./a", "2"), ("files./b", "2")]);
        assert_eq!(lines(&unit("active"), Some(&then), &now), ["restart because of files./a"]);
    }

    /// Regression: it was recorded as running with files that it had never read.
    #[test]
    fn restarts_a_unit_that_is_still_starting_with_its_old_files() {
        let then = stamps(&[("files./a", "1"), ("files./b", "1")]);
        let now = stamps(&[("files./a", "2"), ("files./b", "1")]);
        assert_eq!(lines(&unit("activating"), Some(&then), &now), ["restart because of files./a"]);
    }

    #[test]
    fn restarts_a_unit_that_somebody_else_started() {
        let now = stamps(&[("files./a", "1"), ("files./b", "1")]);
        assert_eq!(lines(&unit("active"), None, &now), ["restart because of files./a"]);
    }

    #[test]
    fn reloads_where_a_reload_will_do() {
        let then = stamps(&[("files./a", "1"), ("files./b", "1")]);
        let now = stamps(&[("files./a", "1"), ("files./b", "2")]);
        assert_eq!(lines(&unit("active"), Some(&then), &now), ["reload because of files./b"]);
    }

    #[test]
    fn reads_unit_files_again_before_it_starts_a_changed_unit() {
        let found = Unit { stale: true, ..unit("inactive") };
        assert_eq!(lines(&found, None, &stamps(&[])), ["make systemd reload its unit files", "start"]);
    }

    /// Regression: systemd refused to start it, even with its new configuration.
    #[test]
    fn a_unit_that_hit_its_start_limit_is_started_all_the_same() {
        assert_eq!(lines(&unit("failed"), None, &stamps(&[])), ["reset its failed state", "start"]);
    }

    #[test]
    fn refuses_before_its_first_start_what_could_never_be_reloaded() {
        let found = Unit { can_reload: false, ..unit("inactive") };
        let error = service().changes("x.service", &found, None, &stamps(&[])).unwrap_err();
        assert_eq!(error.to_string(), "x.service cannot be reloaded: it has no ExecReload=");
    }

    #[test]
    fn refuses_units_that_cannot_be_started() {
        for (load, message) in [("not-found", "systemd has no unit x.service"), ("masked", "x.service is masked")] {
            let found = Unit { load: load.into(), ..unit("inactive") };
            assert_eq!(service().changes("x.service", &found, None, &stamps(&[])).unwrap_err().to_string(), message);
        }
    }
}
