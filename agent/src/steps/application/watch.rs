//! `set_instance_health:` — makes Auto Scaling replace an instance whose application stays down.
//!
//! A systemd timer runs [`look`] every 30 seconds, so no ingot process stays in memory. An application counts as down
//! if its `web` does not run, does not answer as `ready:` requires, or has been restarted by systemd since the previous
//! check. The result is kept below /run, so a reboot starts afresh. Checks are counted instead of time, so changing the
//! clock cannot cause a replacement.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::environment::is_secret;
use super::fields::Application;
use super::ground::Ground;
use super::memory::{Memory, Moment};
use super::procfile::WEB;
use super::prove::{ONE_PROBE, probed};
use super::trouble::ApplicationError;
use super::watched::Watched;
use crate::failure::Objection;
use crate::host::state::Record;
use crate::host::{Attributes, Host, HostError};
use crate::json::of_bytes;
use crate::net::Net;
use crate::step::Context;
use crate::steps::health::{Health, health};
use crate::steps::install::staged;

/// The interval between checks, as in ingot-watch@.timer.
const EVERY: Duration = Duration::from_secs(30);

/// systemd starts and stops a timer at once.
const WITHIN: Duration = Duration::from_secs(30);

/// Size limit in bytes; the file contains only a few numbers.
const LIMIT: u64 = 4096;

/// The result of the checks so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    generation: u32,
    /// How often systemd had restarted its `web`.
    restarts: u32,
    /// How many consecutive checks have found it down.
    down: u32,
}

impl Seen {
    fn next(self, generation: u32, restarts: u32, is_up: bool) -> Self {
        let was_restarted = self.generation == generation && restarts > self.restarts;
        let down = if is_up && !was_restarted { 0 } else { self.down.saturating_add(1) };
        Self { generation, restarts, down }
    }

    /// How long it is known to have been down, counted from the first check that found it down.
    fn down_for(self) -> Duration {
        EVERY * self.down.saturating_sub(1)
    }
}

/// The timer of an application.
pub(super) fn timer(application: &str) -> String {
    format!("ingot-watch@{application}.timer")
}

fn path(application: &str) -> PathBuf {
    format!("/run/ingot/applications/{application}/watch.json").into()
}

impl Application {
    /// The path is stored on disk, for checks after a reboot.
    pub(super) fn wrong_watch(&self) -> Option<Objection> {
        self.set_instance_health.after()?;
        self.ready.http.as_ref().filter(|path| is_secret(path))?;
        let message = "`ready.http` holds a secret, and `set_instance_health` keeps that path on the disk";
        Some(Objection::new(message, "name a path that needs no secret"))
    }

    /// What has to change about its watch.
    pub(super) async fn watch_changes(&self, ground: &Ground<'_>, cx: &Context<'_>) -> Result<Option<Change>, ApplicationError> {
        let known = ground.memory.watched();
        let Some(after) = self.set_instance_health.after() else {
            return Ok(known.map(|_| Change::Unwatch { unit: timer(cx.key()) }));
        };
        let http = match &self.ready.http {
            Some(path) => {
                let path = cx.render(path).map_err(|source| ApplicationError::Render { what: "ready.http".into(), source })?;
                Some(path.expose().to_owned())
            }
            None => None,
        };
        let wanted = Watched { after_s: after.as_secs(), http };
        let unit = timer(cx.key());
        let shown = ground.host.units.show(std::slice::from_ref(&unit)).await.map_err(ApplicationError::Host)?;
        let is_on = shown.first().is_some_and(|unit| unit.active == "active");
        Ok((known.as_ref() != Some(&wanted) || !is_on).then_some(Change::Watch { unit, watched: wanted }))
    }
}

impl Ground<'_> {
    pub(super) async fn watch(&self, watched: &Watched) -> Result<(), HostError> {
        self.memory.set_watched(Some(watched)).await?;
        self.begin_to_watch().await
    }

    /// The check itself creates no directory, because its unit may only write to this one.
    async fn begin_to_watch(&self) -> Result<(), HostError> {
        if let Some(directory) = path(self.application).parent() {
            self.host.files.create_directory(directory, 0o700).await?;
        }
        self.host.units.start(&timer(self.application), WITHIN).await
    }

    pub(super) async fn unwatch(&self) -> Result<(), HostError> {
        if self.memory.watched().is_none() {
            return Ok(());
        }
        self.host.units.stop(&timer(self.application), WITHIN).await?;
        self.host.files.remove(&path(self.application)).await?;
        self.memory.set_watched(None).await
    }

    /// Resumes the watch after a reboot.
    pub(super) async fn watch_again(&self) -> Result<(), HostError> {
        match self.memory.watched() {
            Some(_) => self.begin_to_watch().await,
            None => Ok(()),
        }
    }
}

/// Checks an application once. Returns how long it has been down, if that exceeds the limit.
///
/// # Errors
///
/// If systemd does not answer, or the result cannot be stored.
pub(crate) async fn look(application: &str, record: &Record, host: &Host, net: &Net) -> Result<Option<Duration>, HostError> {
    let ground = Ground { application, host, memory: Memory { record, moment: Moment { boot_id: "", clock: &*host.clock } } };
    let (Some(watched), Some((_, placed))) = (ground.memory.watched(), ground.serving()) else { return Ok(None) };
    let states = ground.states(&placed).await?;
    let Some(web) = states.get(WEB) else { return Ok(None) };
    let is_up = health(web) == Health::Sound && probed(watched.http.as_deref(), &placed, ONE_PROBE, net).await.is_ok();
    let at = path(application);
    let found = host.files.read(&at, LIMIT).await?;
    let before: Seen = found.and_then(|found| of_bytes(&found).ok()).unwrap_or_default();
    let seen = before.next(placed.number, web.restarts, is_up);
    if seen != before {
        let (uid, gid) = host.users.own();
        let content = serde_json::to_vec(&seen).expect("it is plain data");
        host.files.stage(&staged(&at), &content, Attributes { mode: 0o600, uid, gid }).await?;
        host.files.install(&staged(&at), &at).await?;
    }
    Ok((seen.down > 0 && seen.down_for() >= watched.after()).then(|| seen.down_for()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_a_row_that_find_it_down_count() {
        let mut seen = Seen::default().next(1, 0, true);
        assert_eq!(seen.down_for(), Duration::ZERO);
        for _ in 0..11 {
            seen = seen.next(1, 0, false);
        }
        assert_eq!((seen.down, seen.down_for()), (11, Duration::from_secs(300)));
        assert_eq!(seen.next(1, 0, true).down, 0);
    }

    /// A process that ends every few seconds is up in many of the checks.
    #[test]
    fn what_was_started_again_since_is_down() {
        let seen = Seen::default().next(1, 3, true).next(1, 9, true);
        assert_eq!((seen.down, seen.next(1, 9, true).down), (1, 0));
        // The counter starts again for another generation.
        assert_eq!(seen.next(2, 1, true).down, 0);
    }
}
