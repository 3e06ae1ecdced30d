//! Why a service does not serve: the state of its unit in systemd, and its last journal lines.

use std::time::Duration;

use super::queue::blocker;
use super::words::{state, words};
use crate::failure::Failure;
use crate::host::{HostError, Unit};
use crate::step::Context;
use crate::step::fields::{Excerpt, rounded};
use crate::steps::health::{Health, Illness, health};
use crate::steps::ordering::Deadlock;
use crate::steps::ready::{self, NotReady};

/// How many journal lines are read for an error; the last of them are shown.
const JOURNAL_LINES: usize = 10;

/// The current state of the step's unit.
pub(super) async fn show(cx: &Context<'_>) -> Result<Unit, ServiceError> {
    ready::look(cx).await.map_err(ServiceError::Host)
}

/// Turns a failure of systemctl into a description of what the unit did.
pub(super) async fn why(error: HostError, cx: &Context<'_>) -> ServiceError {
    match (error, show(cx).await) {
        (HostError::Systemctl { said, .. }, Ok(unit)) => not_started(said, unit, cx).await,
        (HostError::SystemctlTimeout { waited, .. }, Ok(unit)) => slow(&unit, waited, cx).await,
        (error, _) => ServiceError::Host(error),
    }
}

/// What holds up a unit that is still in transition after its time limit.
pub(super) async fn slow(unit: &Unit, waited: Duration, cx: &Context<'_>) -> ServiceError {
    ServiceError::Slow {
        unit: cx.key().to_owned(),
        state: state(unit),
        waited,
        behind: blocker(cx).await.ok().flatten().map(|blocker| Box::new((state(&blocker), blocker.id))),
        said: journal(cx).await,
    }
}

/// Turns a failed readiness check into a description of what the unit did.
pub(super) async fn unproven(not_ready: NotReady, cx: &Context<'_>) -> ServiceError {
    match not_ready {
        NotReady::Failed(unit) => failed(*unit, cx).await,
        NotReady::Late { probe, waited, last } => {
            ServiceError::NotReady { unit: cx.key().to_owned(), probe, waited, last, said: journal(cx).await }
        }
        NotReady::Host(error) => ServiceError::Host(error),
    }
}

/// Describes what happened to a unit that is not up.
pub(super) async fn failed(unit: Unit, cx: &Context<'_>) -> ServiceError {
    let others = match health(&unit) {
        Health::Ill(Illness::Stopped) => cx.host().units.show(&unit.conflicts).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let (how, hint) = words(&unit, &others);
    ServiceError::Failed { unit: cx.key().to_owned(), how, hint, said: journal(cx).await }
}

/// The error for a unit that died and was restarted `times` times after its step had finished.
pub(super) async fn died(times: u32, cx: &Context<'_>) -> ServiceError {
    ServiceError::Failed { unit: cx.key().to_owned(), how: died_so_often(times), hint: None, said: journal(cx).await }
}

fn died_so_often(times: u32) -> String {
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    format!("failed after it had started, and systemd restarted it {times}")
}

/// The result of [`failed`], or of [`died`] if the unit is up after `restarts` restarts; without the journal if reading
/// that exceeds the remaining time.
pub(super) async fn in_time(unit: &Unit, restarts: u32, cx: &Context<'_>) -> ServiceError {
    let is_up = health(unit) == Health::Sound;
    let whole = async {
        match is_up {
            true => died(restarts, cx).await,
            false => failed(unit.clone(), cx).await,
        }
    };
    let (how, hint) = if is_up { (died_so_often(restarts), None) } else { words(unit, &[]) };
    tokio::select! {
        biased;
        whole = whole => whole,
        () = cx.host().clock.sleep(cx.time_left()) => {
            ServiceError::Failed { unit: cx.key().to_owned(), how, hint, said: Excerpt::default() }
        }
    }
}

/// Describes what happened to a unit whose job failed.
async fn not_started(said: String, unit: Unit, cx: &Context<'_>) -> ServiceError {
    let others = if said.contains("canceled") { unit.conflicts.clone() } else { Vec::new() };
    match health(&unit) {
        Health::Ill(Illness::Failed | Illness::Skipped | Illness::Refused | Illness::Restarting) => failed(unit, cx).await,
        Health::Ill(Illness::Stopped) if is_any_up(&others, cx).await => failed(unit, cx).await,
        _ if said.contains("dependency") => {
            let pulled = cx.host().units.show(&unit.pulls).await.unwrap_or_default();
            let culprit = pulled.iter().find(|pulled| matches!(health(pulled), Health::Ill(illness) if illness != Illness::Stopped));
            let needs = culprit.map(|culprit| (culprit.id.clone(), words(culprit, &[]).0));
            let said = match &needs {
                Some((culprit, _)) => journal_of(culprit, cx).await,
                None => journal(cx).await,
            };
            ServiceError::Dependency { unit: cx.key().to_owned(), needs, said }
        }
        _ => ServiceError::NotStarted { unit: cx.key().to_owned(), why: said, said: journal(cx).await },
    }
}

async fn is_any_up(units: &[String], cx: &Context<'_>) -> bool {
    let shown = cx.host().units.show(units).await.unwrap_or_default();
    shown.iter().any(|unit| matches!(unit.active.as_str(), "active" | "activating"))
}

async fn journal(cx: &Context<'_>) -> Excerpt {
    journal_of(cx.key(), cx).await
}

async fn journal_of(unit: &str, cx: &Context<'_>) -> Excerpt {
    let lines = cx.host().units.journal(unit, JOURNAL_LINES).await;
    lines.iter().map(|line| cx.redact(line)).collect()
}

/// Why a service does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// `generated` says whether systemd's generators have already run again without creating the unit.
    #[error("systemd has no unit {unit}{}", if *generated { ", and no generator created it" } else { "" })]
    NotFound { unit: String, generated: bool },
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
        hint: Option<String>,
        #[source]
        said: Excerpt,
    },
    /// systemd refused to start it, or gave up on it; the unit itself did nothing.
    #[error("{unit} was not started: {why}")]
    NotStarted {
        unit: String,
        why: String,
        #[source]
        said: Excerpt,
    },
    #[error("{unit} was not started: {}", match needs {
        Some((unit, how)) => format!("{unit}, which it requires, {how}"),
        None => "a unit that it requires did not start".into(),
    })]
    Dependency {
        unit: String,
        needs: Option<(String, String)>,
        #[source]
        said: Excerpt,
    },
    #[error("{unit} was still {state} after {:?}{}", rounded(*waited), match behind.as_deref() {
        Some((state, other)) => format!(", queued behind {other}, which is {state}"),
        None => String::new(),
    })]
    Slow {
        unit: String,
        state: String,
        waited: Duration,
        /// The state and name of the unit that holds it up.
        behind: Option<Box<(String, String)>>,
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
            Self::NotFound { unit, generated: false } => {
                format!("install {unit} in the image, or write /etc/systemd/system/{unit} with `files:`")
            }
            Self::NotFound { unit, .. } => {
                format!("run `journalctl -b -t systemd -t quadlet-generator`, or write /etc/systemd/system/{unit} with `files:`")
            }
            Self::Masked { unit } => format!("run `systemctl unmask {unit}` when the image is built"),
            Self::NotLoaded { unit, .. } => format!("run `systemd-analyze verify {unit}`"),
            Self::CannotReload { unit } => format!("give {unit} an ExecReload=, or use `restart_on:` instead of `reload_on:`"),
            Self::Deadlock { deadlock, .. } => deadlock.hint(),
            Self::Failed { hint: Some(hint), .. } => hint.clone(),
            Self::Failed { unit, .. } | Self::Dependency { needs: Some((unit, _)), .. } => {
                format!("run `journalctl -b -u {unit}` for its full output")
            }
            Self::NotStarted { unit, .. } | Self::Dependency { unit, .. } => format!("run `systemctl status {unit}`"),
            Self::Slow { behind: Some(behind), .. } => {
                let (_, other) = &**behind;
                format!("run `systemctl status {other}` to see what {other} waits for")
            }
            Self::Slow { unit, .. } => format!("give services.{unit} a longer `timeout:`, or see `systemctl status {unit}`"),
            Self::NotReady { unit, .. } => {
                format!("check the address in `ready:`, give it a longer `timeout:`, or run `journalctl -b -u {unit}`")
            }
            Self::Host(source) => return source.hint(),
        })
    }
}
