//! Why a service does not serve: what systemd says of the unit, with its last journal lines.

use std::time::Duration;

use crate::failure::Failure;
use crate::host::{HostError, Unit};
use crate::step::Context;
use crate::step::fields::{Excerpt, rounded};
use crate::steps::ordering::Deadlock;
use crate::steps::ready::NotReady;

/// How many journal lines are read for an error; the last of them are shown.
const JOURNAL_LINES: usize = 10;

/// The step's unit as it is now.
pub(super) async fn show(cx: &Context<'_>) -> Result<Unit, ServiceError> {
    let mut units = cx.host().units.show(&[cx.key().to_owned()]).await.map_err(ServiceError::Host)?;
    units.pop().ok_or_else(|| ServiceError::NotFound { unit: cx.key().to_owned() })
}

/// Turns «systemctl failed» into what the unit did.
pub(super) async fn why(error: HostError, cx: &Context<'_>) -> ServiceError {
    match (error, show(cx).await) {
        (HostError::Systemctl { .. }, Ok(unit)) => failed(unit, cx).await,
        (HostError::SystemctlTimeout { waited, .. }, Ok(unit)) => ServiceError::Slow {
            unit: cx.key().to_owned(),
            state: format!("{} ({})", unit.active, unit.sub),
            waited,
            said: journal(cx).await,
        },
        (error, _) => ServiceError::Host(error),
    }
}

/// Turns «not ready» into what the unit did.
pub(super) async fn unproven(not_ready: NotReady, cx: &Context<'_>) -> ServiceError {
    match not_ready {
        NotReady::Failed(unit) => failed(*unit, cx).await,
        NotReady::Late { probe, waited, last } => {
            ServiceError::NotReady { unit: cx.key().to_owned(), probe, waited, last, said: journal(cx).await }
        }
        NotReady::Host(error) => ServiceError::Host(error),
    }
}

async fn failed(unit: Unit, cx: &Context<'_>) -> ServiceError {
    let restarts = match unit.restarts {
        0 => String::new(),
        n => format!(", after {n} restarts"),
    };
    let how = match unit.result.as_str() {
        "exit-code" if unit.exit_status == 0 => format!("failed in a program beside its main one, such as ExecStartPre={restarts}"),
        "exit-code" => format!("exited with {}{restarts}", unit.exit_status),
        "success" => format!("is {} ({}){restarts}", unit.active, unit.sub),
        result => format!("failed with {result}{restarts}"),
    };
    ServiceError::Failed { unit: cx.key().to_owned(), how, said: journal(cx).await }
}

async fn journal(cx: &Context<'_>) -> Excerpt {
    let lines = cx.host().units.journal(cx.key(), JOURNAL_LINES).await;
    lines.iter().map(|line| cx.redact(line)).collect()
}

/// Why a service does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("systemd knows no unit {unit}")]
    NotFound { unit: String },
    #[error("{unit} is masked")]
    Masked { unit: String },
    #[error("systemd cannot load {unit}: {load}")]
    NotLoaded { unit: String, load: String },
    #[error("{unit} cannot be reloaded: it has no ExecReload=")]
    CannotReload { unit: String },
    #[error("{unit} is ordered after ingot, so it can never start while ingot waits for it: {deadlock}")]
    Deadlock { unit: String, deadlock: Deadlock },
    #[error("{unit} {how}")]
    Failed {
        unit: String,
        how: String,
        #[source]
        said: Excerpt,
    },
    #[error("{unit} was still {state} after {:?}", rounded(*waited))]
    Slow {
        unit: String,
        state: String,
        waited: Duration,
        #[source]
        said: Excerpt,
    },
    #[error("{unit} runs, but {probe} did not succeed within {:?}: {last}", rounded(*waited))]
    NotReady {
        unit: String,
        probe: String,
        waited: Duration,
        last: String,
        #[source]
        said: Excerpt,
    },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for ServiceError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { unit } => format!("install {unit} in the image, or write /etc/systemd/system/{unit} with `files:`"),
            Self::Masked { unit } => format!("run `systemctl unmask {unit}` when the image is built"),
            Self::NotLoaded { unit, .. } => format!("run `systemd-analyze verify {unit}`"),
            Self::CannotReload { unit } => format!("give {unit} an ExecReload=, or use `restart_on:` instead of `reload_on:`"),
            Self::Deadlock { deadlock, .. } => deadlock.hint(),
            Self::Failed { unit, .. } => format!("run `journalctl -b -u {unit}` for all it said"),
            Self::Slow { unit, .. } => format!("give services.{unit} a longer `timeout:`, or see `systemctl status {unit}`"),
            Self::NotReady { unit, .. } => {
                format!("check the address in `ready:`, give it a longer `timeout:`, or run `journalctl -b -u {unit}`")
            }
            Self::Host(source) => return source.hint(),
        })
    }
}
