//! Whether a generation serves: its `web` answers, stays up, and so do the others.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::container::Container;
use super::fields::Ready;
use super::generation::Placed;
use super::ground::Ground;
use super::procfile::WEB;
use super::proxy::{UNIT, elsewhere};
use super::trouble::ApplicationError;
use crate::backoff::Backoff;
use crate::host::Unit;
use crate::step::Context;
use crate::step::fields::Excerpt;
use crate::steps::health::{Health, Illness, health};

/// One probe may take no longer.
const ONE_PROBE: Duration = Duration::from_secs(5);

/// How often the units are looked at while `web` is probed.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// A process that restarts this often while it is watched will not come up by itself.
const RESTARTS: u32 = 3;

/// How often `web` is asked while it has to stay ready.
const STAYS_EVERY: Duration = Duration::from_millis(50);

/// How long the proxy may take to close a port that it no longer listens on.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(5);

/// How long the processes beside `web` are watched.
const SETTLE: Duration = Duration::from_millis(250);

/// How many last lines of a process an error shows.
const LINES: usize = 10;

/// Starts a process. One that ends before systemd says that it was started is told as one that ends.
pub(super) async fn launched(placed: &Placed, process: &str, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    if process == WEB {
        port_is_free(placed, cx).await?;
    }
    let Err(error) = ground.launch(placed, process, cx.time_left()).await else { return Ok(()) };
    is_hopeful(placed, 1, ground, cx).await?;
    Err(ApplicationError::Host(error))
}

/// Fails where a stranger listens on the port of a generation: its answers would pass for those of the release. The proxy is
/// waited for: it may still give the port up, a moment after it has read its new configuration.
async fn port_is_free(placed: &Placed, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let (at, unit) = (SocketAddr::from((Ipv4Addr::LOCALHOST, placed.port)), placed.unit(WEB));
    let clock = &cx.host().clock;
    let begun = clock.elapsed();
    loop {
        let listeners = cx.host().sockets.listeners().await.map_err(ApplicationError::Host)?;
        let Some(by) = listeners.iter().find(|listener| listener.is_in_the_way_of(at) && !listener.is_of(&unit)) else {
            return Ok(());
        };
        if !by.is_of(UNIT) || clock.elapsed() - begun >= GIVEN_UP_WITHIN {
            return Err(ApplicationError::PortTaken { port: placed.port, by: by.to_string(), kept: None });
        }
        clock.sleep(STAYS_EVERY).await;
    }
}

/// Waits until `web` of a generation answers, and then for as long as it has to stay so.
pub(super) async fn serves(ready: &Ready, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let clock = &cx.host().clock;
    let (begun, limit) = (clock.elapsed(), ready.timeout().min(cx.time_left()));
    let (mut pauses, mut looked) = (Backoff::PROBE.pauses(), begun);
    loop {
        let within = ONE_PROBE.min(limit.saturating_sub(clock.elapsed() - begun)).max(Backoff::PROBE.first);
        let last = match probe(ready, placed, within, cx).await? {
            Ok(()) => return stays(ready, placed, ground, cx).await,
            Err(last) => cx.redact(&last),
        };
        cx.waiting(format!("for {placed} to be ready on port {} ({last})", placed.port));
        if clock.elapsed() - looked >= STATE_EVERY {
            looked = clock.elapsed();
            is_hopeful(placed, RESTARTS, ground, cx).await?;
        }
        let (waited, pause) = (clock.elapsed() - begun, pauses.next());
        if waited + pause >= limit {
            let unit = placed.unit(WEB);
            let said = said(&unit, cx).await;
            let listeners = cx.host().sockets.listeners().await.map_err(ApplicationError::Host)?;
            if let Some(at) = elsewhere(placed.port, &unit, &listeners).first() {
                return Err(ApplicationError::Elsewhere { version: placed.to_string(), at: *at, port: placed.port, kept: None, said });
            }
            let last = match placed.container().and_then(Container::port) {
                Some(port) => format!("{last} (inside the container it has to listen on port {port} of all addresses)"),
                None => last,
            };
            return Err(ApplicationError::NotReady { version: placed.to_string(), unit, waited, last, kept: None, said });
        }
        clock.sleep(pause).await;
    }
}

/// A release that answers once and dies must not get a request.
async fn stays(ready: &Ready, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let clock = &cx.host().clock;
    let begun = clock.elapsed();
    loop {
        is_hopeful(placed, 1, ground, cx).await?;
        let waited = clock.elapsed() - begun;
        if waited >= ready.stays() {
            return Ok(());
        }
        clock.sleep(STAYS_EVERY.min(ready.stays() - waited)).await;
        if let Err(last) = probe(ready, placed, ONE_PROBE, cx).await? {
            is_hopeful(placed, 1, ground, cx).await?;
            let unit = placed.unit(WEB);
            let (said, last) = (said(&unit, cx).await, format!("it was ready, and then was not: {}", cx.redact(&last)));
            let waited = clock.elapsed() - begun;
            return Err(ApplicationError::NotReady { version: placed.to_string(), unit, waited, last, kept: None, said });
        }
    }
}

/// Looks whether all processes of a generation are up, and stay so for a moment.
pub(super) async fn settles(placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    cx.host().clock.sleep(SETTLE).await;
    is_hopeful(placed, 1, ground, cx).await
}

async fn probe(ready: &Ready, placed: &Placed, within: Duration, cx: &Context<'_>) -> Result<Result<(), String>, ApplicationError> {
    let probes = &cx.net().probes;
    let Some(path) = &ready.http else {
        return Ok(probes.tcp(&format!("127.0.0.1:{}", placed.port), within).await);
    };
    let path = cx.render(path).map_err(|source| ApplicationError::Render { what: "ready.http".into(), source })?;
    let answered = probes.http(&format!("http://127.0.0.1:{}{}", placed.port, path.expose()), within).await;
    Ok(match answered {
        Ok(200..400) => Ok(()),
        Ok(status) => Err(format!("status {status}")),
        Err(why) => Err(why),
    })
}

/// Fails once a process has ended for good, or so often that it will not stay up.
async fn is_hopeful(placed: &Placed, allowed: u32, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    for (process, unit) in ground.states(placed).await.map_err(ApplicationError::Host)? {
        // Those that are still to be started are not known.
        let is_unknown = unit.active == "inactive" && unit.load == "not-found";
        let is_ill = match health(&unit) {
            Health::Ill(Illness::Restarting) => unit.restarts + 1 >= allowed,
            Health::Ill(Illness::Stopped) if unit.restarts == 0 && !unit.main.was_stopped() && process != WEB => false,
            Health::Ill(_) => true,
            Health::Sound | Health::Moving => unit.restarts >= allowed,
        };
        if is_ill && !is_unknown {
            let name = placed.unit(&process);
            let (said, what) = (said(&name, cx).await, ending(&unit));
            return Err(ApplicationError::Ended { process, version: placed.to_string(), unit: name, what, kept: None, said });
        }
    }
    Ok(())
}

/// What follows the name of a process that does not stay up.
fn ending(unit: &Unit) -> String {
    let ended = if unit.main == Default::default() { "ended".to_owned() } else { unit.main.to_string() };
    match unit.restarts {
        0 => ended,
        1 => format!("{ended}, and was restarted"),
        times => format!("{ended}, and was restarted {times} times"),
    }
}

/// The last lines of a unit.
async fn said(unit: &str, cx: &Context<'_>) -> Box<Excerpt> {
    Box::new(cx.host().units.journal(unit, LINES).await.iter().map(|line| cx.redact(line)).collect())
}
