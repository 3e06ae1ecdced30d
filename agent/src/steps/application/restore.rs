//! Restarts applications after a reboot, before IMDS or the network is used.
//!
//! What runs is kept in the records of this instance, without secrets: a generation whose environment contains a secret
//! waits for the boot, which reads the secret again. The step later inspects all of them again, as usual.

use std::time::Duration;

use super::environment::remembered;
use super::front;
use super::ground::Ground;
use super::memory::{Memory, Moment};
use crate::failure::Explanation;
use crate::host::state::Record;
use crate::host::{Host, HostError};

/// systemd starts a program within moments.
const LAUNCHED_WITHIN: Duration = Duration::from_secs(30);

/// The applications that were not restarted, as sentences for the user.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Those that wait for a secret.
    pub(crate) waiting: Vec<String>,
    /// Those that could not be started.
    pub(crate) failed: Vec<String>,
}

/// Starts all applications of this instance that do not run, with the release that served last.
pub(crate) async fn bring_back(record: &Record, host: &Host, boot_id: &str) -> Missing {
    let mut missing = Missing::default();
    let names = match record.applications().await {
        Ok(names) => names,
        Err(error) => return Missing { failed: vec![Explanation::of(&error).to_string()], ..missing },
    };
    for name in &names {
        match one(name, record, host, boot_id).await {
            Ok(secrets) if secrets.is_empty() => {}
            Ok(secrets) => {
                let secrets = secrets.join(", ");
                missing.waiting.push(format!("applications.{name} waits for ingot.service, which reads the secrets in {secrets}"));
            }
            Err(error) => missing.failed.push(format!("applications.{name}: {error}")),
        }
    }
    missing
}

/// Starts one application, unless it waits for secret variables: the names of these are returned.
async fn one(name: &str, record: &Record, host: &Host, boot_id: &str) -> Result<Vec<String>, Explanation> {
    let explained = |error: HostError| Explanation::of(&error);
    let record = record.application(name).await.map_err(explained)?;
    let ground = Ground { application: name, host, memory: Memory { record: &record, moment: Moment { boot_id, clock: &*host.clock } } };
    let found = ground.found().await.map_err(explained)?;
    let Some((slot, placed)) = found.served_last() else { return Ok(Vec::new()) };
    // The watch comes first, even for an application that waits for a secret: it watches whether the application comes
    // up.
    let watched = ground.watch_again().await;
    if !placed.generation.secrets.is_empty() {
        watched.map_err(explained)?;
        return Ok(placed.generation.secrets.clone());
    }
    let environment = remembered(placed).map_err(|error| Explanation::of(&error))?;
    ground.prepare(slot, placed, &environment).await.map_err(explained)?;
    // Requests only need `web`, so a failure of another process does not stop it.
    let mut failed = None;
    for process in placed.processes() {
        if !found.running.contains(&placed.unit(process))
            && let Err(error) = ground.launch(placed, process, LAUNCHED_WITHIN).await
        {
            failed.get_or_insert(error);
        }
    }
    ground.switch(slot).await.map_err(explained)?;
    front::bring_back(slot, &ground).await.map_err(explained)?;
    watched.map_err(explained)?;
    failed.map_or(Ok(Vec::new()), |error| Err(explained(error)))
}
