//! Makes nginx take up the configuration on disk.
//!
//! The addresses on which nginx listens show which configuration is in effect.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::super::ground::Ground;
use super::super::memory::Front;
use super::super::proxy::{SITES, UNIT};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::files;
use crate::gather::Gather as _;
use crate::host::HostError;
use crate::host::sockets::Listener;
use crate::step::Context;
use crate::step::fields::Excerpt;

/// How long nginx may take to read its configuration and bind its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// How long the new workers may take to get the ports, and the old ones to give them up. nginx retries binding for 2.5
/// s.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(10);
const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// How many of nginx's last output lines an error shows.
const LINES: usize = 5;

/// nginx finishes its requests, and is killed after 30 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// Makes nginx serve the existing sites, and stops it if there are none.
pub(super) async fn served(site: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let host = cx.host();
    let sites = host.files.list(Path::new(SITES)).await.map_err(ApplicationError::Host)?;
    if sites.iter().any(|name| name.ends_with(".conf") && !name.starts_with('.')) {
        return taken_up(site, cx).await;
    }
    host.units.stop(UNIT, STOPPED_WITHIN).await.map_err(ApplicationError::Host)
}

/// Records that nginx now uses its latest configuration.
pub(super) async fn read(slot: Slot, front: Option<&Front>, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), HostError> {
    ground.memory.set_front(slot, front).await?;
    ground.memory.forget_next_front().await?;
    let fronts: Vec<_> = Slot::BOTH.iter().filter_map(|slot| ground.memory.known_front(*slot)?.tls).collect();
    let needed: Vec<&str> = fronts.iter().map(|tls| tls.certificate.as_str()).collect();
    files::sweep(cx.key(), &needed, cx.host()).await
}

/// Starts nginx or makes it reload the configuration on disk, and waits until it listens according to `site` and its
/// workers with any other configuration accept no more connections.
pub(super) async fn taken_up(site: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let (host, units) = (cx.host(), &cx.host().units);
    let before = pids(&host.sockets.listeners().await.map_err(ApplicationError::Host)?);
    let shown = units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
    let state = shown.first().map_or("", |unit| unit.active.as_str());
    let within = STARTED_WITHIN.min(cx.time_left().max(TAKEN_UP_WITHIN));
    let done = match state {
        "active" | "reloading" => units.reload(UNIT, within).await,
        "inactive" | "failed" => units.start(UNIT, within).await,
        // nginx is about to start, and may have read the configuration before the new one was written.
        _ => match units.start(UNIT, within).await {
            Ok(()) => units.reload(UNIT, within).await,
            failed => failed,
        },
    };
    if let Err(source) = done {
        return Err(not_served(source.to_string(), cx).await);
    }
    let begun = host.clock.elapsed();
    let wanted = addresses(site);
    loop {
        let listeners = host.sockets.listeners().await.map_err(ApplicationError::Host)?;
        let missing = wanted.iter().find(|at| !listeners.iter().any(|listener| listener.at == **at && listener.is_of(UNIT)));
        // The master holds the sockets all the time, and closes none that is still configured.
        let (now, are_old) = (pids(&listeners), |now: &BTreeSet<u32>| now.intersection(&before).count() > 1);
        if missing.is_none() && !are_old(&now) {
            return Ok(());
        }
        let waited = host.clock.elapsed() - begun;
        if waited >= TAKEN_UP_WITHIN {
            let why = match missing {
                Some(at) => format!("it does not listen on {at}, {TAKEN_UP_WITHIN:?} after the request"),
                None => format!("it serves by its former configuration, {TAKEN_UP_WITHIN:?} after it was given another"),
            };
            return Err(not_served(why, cx).await);
        }
        cx.waiting(format!("for {UNIT} to take up its configuration"));
        host.clock.sleep(LOOKED_EVERY).await;
    }
}

async fn not_served(why: String, cx: &Context<'_>) -> ApplicationError {
    let said: Excerpt = cx.host().units.journal(UNIT, LINES).await.iter().map(|line| cx.redact(line)).collect();
    ApplicationError::Proxy { why, kept: None, said: Box::new(said) }
}

/// The processes of the proxy that accept connections.
fn pids(listeners: &[Listener]) -> BTreeSet<u32> {
    let holders = listeners.iter().flat_map(|listener| &listener.holders);
    holders.filter(|holder| holder.unit.as_deref() == Some(UNIT)).map(|holder| holder.pid).gather()
}

/// The TCP addresses that a site listens on.
pub(super) fn addresses(site: &str) -> BTreeSet<SocketAddr> {
    let values = site.lines().filter_map(|line| line.trim().strip_prefix("listen ")?.split([' ', ';']).next());
    let everywhere = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?));
    values.filter_map(|value| value.parse().ok().or_else(|| everywhere(value))).gather()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_listens_where_it_says() {
        let site = "    listen 80 backlog=4096;\n    listen [::]:80 backlog=4096;\n    listen 127.0.0.1:5000 backlog=4096;\n    listen \"unix:/run/x\" backlog=4096;\n listen 81;";
        let found: Vec<String> = addresses(site).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["0.0.0.0:80", "0.0.0.0:81", "127.0.0.1:5000", "[::]:80"]);
    }
}
