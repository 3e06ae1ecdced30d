//! `services:` — a systemd unit that runs, with the present configuration, and serves.
//!
//! ```yaml
//! services:
//!   shop.service:
//!     ready: { http: "http://127.0.0.1:8080/health", timeout: 60s }   # or tcp: "127.0.0.1:5432", or exec: [argv]
//!   nginx.service:
//!     restart_on: [files./etc/nginx/conf.d/shop.conf]   # restarted when one of these has changed since its last start
//!     reload_on: [files./etc/nginx/allow.conf]          # the same, by reload
//! ```
//!
//! A service without `after:` starts after every step that is not a service. Whether a unit is enabled is the image's
//! business: a unit that ingot starts should not be enabled by itself. What makes a unit impossible to start from here
//! is the business of [`ordering`]; whether it serves, of [`ready`].

mod trouble;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::trouble::{ServiceError, show, unproven, why};
use crate::address::Address;
use crate::failure::Objection;
use crate::host::Unit;
use crate::host::state::{Entry, EntryState as Recorded};
use crate::step::{Context, Order, Outputs, Phase, Shape, Step};
use crate::steps::ordering;
use crate::steps::ready::{self, Ready};
use crate::steps::stamps::{Stamps, stamps};
use crate::text::Text;

/// The start of the unit, and then its readiness, which has a limit of its own.
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
    Start,
    Restart { because: Vec<Address> },
    Reload { because: Vec<Address> },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, because) = match self {
            Self::ReadDefinitions => return f.write_str("make systemd read its unit files again"),
            Self::Start => return f.write_str("start"),
            Self::Restart { because } => ("restart", because),
            Self::Reload { because } => ("reload", because),
        };
        let because: Vec<&str> = because.iter().map(Address::as_str).collect();
        write!(f, "{verb}, for {}", because.join(", "))
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
            patience: PATIENCE + self.ready.as_ref().map_or(Duration::ZERO, Ready::timeout),
            ..Shape::default()
        }
    }

    fn objections(&self, key: &str, _secret: bool) -> Vec<Objection> {
        let mut objections = Vec::new();
        if !UNIT_SUFFIXES.iter().any(|suffix| key.len() > suffix.len() && key.ends_with(suffix)) || key.contains('/') {
            objections.push(Objection {
                message: format!("`{key}` is not the name of a unit"),
                hint: format!("write the name with its type, as in `{}.service`", key.trim_end_matches('.')),
            });
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

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, ServiceError> {
        let unit = show(cx).await?;
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
                units.reload_definitions().await.map_err(ServiceError::Host)?;
                // What was inspected was the old definition.
                return startable(&show(cx).await?, cx).await;
            }
            Change::Start => {
                cx.waiting(format!("for {unit} to start"));
                units.start(unit, left).await
            }
            Change::Restart { .. } => {
                cx.waiting(format!("for {unit} to restart"));
                units.restart(unit, left).await
            }
            Change::Reload { .. } => {
                cx.waiting(format!("for {unit} to reload"));
                units.reload(unit, left).await
            }
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
}

/// Source: systemd.unit(5).
const UNIT_SUFFIXES: [&str; 6] = [".service", ".socket", ".target", ".timer", ".path", ".mount"];

impl Service {
    /// The steps whose change means a restart or a reload.
    fn watches(&self) -> Vec<&Address> {
        self.restart_on.iter().chain(&self.reload_on).collect()
    }

    /// Decides what to do about a unit as it was found.
    ///
    /// `recorded` is what was on record at its last start by ingot, `present` what its files are now.
    fn changes(&self, key: &str, unit: &Unit, recorded: Option<&str>, present: &Stamps) -> Result<Vec<Change>, ServiceError> {
        match unit.load.as_str() {
            "loaded" => {}
            "not-found" => return Err(ServiceError::NotFound { unit: key.to_owned() }),
            "masked" => return Err(ServiceError::Masked { unit: key.to_owned() }),
            load => return Err(ServiceError::NotLoaded { unit: key.to_owned(), load: load.to_owned() }),
        }
        let mut changes = Vec::new();
        if unit.stale {
            changes.push(Change::ReadDefinitions);
        }
        // One that is still starting may have read its old files: to start it once more would only join that.
        let up = matches!(unit.active.as_str(), "active" | "reloading");
        if !up && unit.active != "activating" {
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
            if !unit.can_reload && !unit.stale {
                return Err(ServiceError::CannotReload { unit: key.to_owned() });
            }
            changes.push(Change::Reload { because: reload });
        }
        Ok(changes)
    }

    /// Remembers what the unit now runs with. Written after the start: a boot that is cut off in between starts it
    /// once more, which is harmless; the other order would leave it with its old configuration.
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

/// Refuses a unit that waits for us.
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
        for state in ["inactive", "failed", "activating", "deactivating"] {
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
        assert_eq!(lines(&unit("active"), Some(&then), &now), ["restart, for files./a"]);
    }

    /// It was recorded as running with files that it had never read.
    #[test]
    fn restarts_a_unit_that_is_still_starting_with_its_old_files() {
        let then = stamps(&[("files./a", "1"), ("files./b", "1")]);
        let now = stamps(&[("files./a", "2"), ("files./b", "1")]);
        assert_eq!(lines(&unit("activating"), Some(&then), &now), ["restart, for files./a"]);
    }

    #[test]
    fn restarts_a_unit_that_somebody_else_started() {
        let now = stamps(&[("files./a", "1"), ("files./b", "1")]);
        assert_eq!(lines(&unit("active"), None, &now), ["restart, for files./a"]);
    }

    #[test]
    fn reloads_where_a_reload_will_do() {
        let then = stamps(&[("files./a", "1"), ("files./b", "1")]);
        let now = stamps(&[("files./a", "1"), ("files./b", "2")]);
        assert_eq!(lines(&unit("active"), Some(&then), &now), ["reload, for files./b"]);
    }

    #[test]
    fn reads_unit_files_again_before_it_starts_a_changed_unit() {
        let found = Unit { stale: true, ..unit("inactive") };
        assert_eq!(lines(&found, None, &stamps(&[])), ["make systemd read its unit files again", "start"]);
    }

    #[test]
    fn refuses_units_that_cannot_be_started() {
        for (load, message) in [("not-found", "systemd knows no unit x.service"), ("masked", "x.service is masked")] {
            let found = Unit { load: load.into(), ..unit("inactive") };
            assert_eq!(service().changes("x.service", &found, None, &stamps(&[])).unwrap_err().to_string(), message);
        }
    }
}
