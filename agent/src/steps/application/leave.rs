//! Stops applications when their machine shuts down.
//!
//! The proxy finishes its requests, then the processes are stopped like those of a release that is being replaced.

use std::time::Duration;

use super::ground::Ground;
use super::memory::{Memory, Moment};
use super::proxy::{Place, UNIT};
use super::slot::Slot;
use super::watch::timer;
use crate::host::sockets::Endpoint;
use crate::host::state::Record;
use crate::host::{Host, HostError};

/// systemd stops a timer at once.
const TIMER_WITHIN: Duration = Duration::from_secs(10);

/// Stops the proxy of all applications.
///
/// # Errors
///
/// If it does not stop.
pub(crate) async fn stop_proxy(within: Duration, host: &Host) -> Result<(), HostError> {
    stop_unit(UNIT, within, host).await
}

/// The sockets at which the proxy passes on an application's requests. Each unanswered request has a connection there.
pub(crate) fn sockets(application: &str) -> [Endpoint; 2] {
    Slot::BOTH.map(|slot| Endpoint::Path(Place::Socket(application, slot).path()))
}

/// Whether any process of an application runs.
///
/// # Errors
///
/// If its record cannot be read, or systemd does not answer.
pub(crate) async fn is_up(application: &str, record: &Record, host: &Host) -> Result<bool, HostError> {
    let record = record.application(application).await?;
    let ground = Ground { application, host, memory: Memory { record: &record, moment: Moment { boot_id: "", clock: &*host.clock } } };
    for (placed, _) in Slot::BOTH.into_iter().filter_map(|slot| ground.memory.slot(slot)) {
        if ground.states(&placed).await?.values().any(|unit| !matches!(unit.active.as_str(), "inactive" | "failed")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stops all processes of an application.
///
/// # Errors
///
/// If its record cannot be read, or a process does not stop.
pub(crate) async fn stop(application: &str, record: &Record, host: &Host) -> Result<(), HostError> {
    let record = record.application(application).await?;
    let ground = Ground { application, host, memory: Memory { record: &record, moment: Moment { boot_id: "", clock: &*host.clock } } };
    // Stops the watch first, so that it does not report the application as down. A failure to stop one part does not
    // keep the rest from being stopped.
    let mut stopped = stop_unit(&timer(application), TIMER_WITHIN, host).await;
    for (placed, _) in Slot::BOTH.into_iter().filter_map(|slot| ground.memory.slot(slot)) {
        stopped = ground.stop(&placed, &placed.processes()).await.and(stopped);
    }
    stopped
}

/// Stops a unit, unless it is down: systemd refuses to stop a unit that it does not know.
///
/// # Errors
///
/// If it does not stop.
pub(crate) async fn stop_unit(unit: &str, within: Duration, host: &Host) -> Result<(), HostError> {
    let shown = host.units.show(&[unit.to_owned()]).await?;
    if shown.first().is_some_and(|unit| unit.active == "inactive") { Ok(()) } else { host.units.stop(unit, within).await }
}
