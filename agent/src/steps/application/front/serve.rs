//! Configures the proxy and has nginx serve by that: what systemd calls a reload is a signal that nginx may take up later, or
//! not at all.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::super::facing::Facing;
use super::super::fields::Application;
use super::super::ground::Ground;
use super::super::procfile::WEB;
use super::super::proxy::{Place, UNIT, taken};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::{ONE_AT_A_TIME, files, known, nginx, program, restore, version};
use crate::failure::Explanation;
use crate::host::HostError;
use crate::host::sockets::Listener;
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};

/// As long as nginx may take to read its configuration, and to bind its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// How long its new workers may take to have the ports, and those before to give them up. It tries to bind for 2.5 s.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(10);
const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// How many last lines of nginx an error shows.
const LINES: usize = 5;

impl Application {
    /// Writes what differs, once nginx has found nothing wrong with it.
    pub(in super::super) async fn configure(
        &self,
        site: &Facing,
        leaving: &[String],
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let lock = ONE_AT_A_TIME.with(Clone::clone);
        let _alone = lock.lock().await;
        let host = cx.host();
        let listeners = host.sockets.listeners().await.map_err(ApplicationError::Host)?;
        let own = self.overlap().covers(WEB).then_some(site.port);
        if let Some((port, by)) = taken(&self.proxy.ports(), own, &listeners) {
            return Err(ApplicationError::PortTaken { port, by: by.to_string(), kept: None });
        }
        let program = program(host).await?;
        let nginx = nginx(version(host).await?, host).await.map_err(ApplicationError::Host)?;
        let configured = self.configured(site, &nginx, program, ground, cx)?;
        files::directories(cx.key(), host).await.map_err(ApplicationError::Host)?;
        files::accepted(&configured, leaving, cx).await?;
        let written = async {
            // From here on, whoever looks knows that nginx may not have read what is there.
            ground.memory.set_next_front(Some(&configured.front)).await?;
            if !leaving.is_empty() {
                ground.lead_first(site.slot).await?;
            }
            for name in leaving {
                // Workers of before pass requests to its slots until they are gone.
                if let Some(site) = files::on_disk(name, host).await? {
                    files::File::new(Place::Site(name).path(), files::without_front(&site), 0o644).write(host).await?;
                }
            }
            for file in &configured.files {
                file.write(host).await?;
            }
            Ok(())
        };
        written.await.map_err(ApplicationError::Host)
    }

    /// Starts nginx, or has it read its configuration, and waits until it serves by it. Where it does not, what it had
    /// before is put back.
    pub(in super::super) async fn serve(&self, slot: Slot, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let lock = ONE_AT_A_TIME.with(Clone::clone);
        let alone = lock.lock().await;
        let next = ground.memory.next_front();
        let site = files::on_disk(cx.key(), cx.host()).await.map_err(ApplicationError::Host)?.unwrap_or_default();
        let Err(error) = taken_up(&site, cx).await else {
            let Some(front) = next else { return Ok(()) };
            return read(slot, front.as_ref(), ground, cx).await.map_err(ApplicationError::Host);
        };
        drop(alone);
        if next.is_some()
            && let Err(trouble) = restore::restore(ground.memory.current(), ground, cx).await
        {
            let trouble = Explanation::of(&trouble);
            cx.progress(Progress::Warning(format!("cannot put the configuration of the proxy back: {trouble}")));
        }
        Err(error)
    }
}

/// Writes down that nginx serves by what it was configured with last.
pub(super) async fn read(
    slot: Slot,
    front: Option<&super::super::memory::Front>,
    ground: &Ground<'_>,
    cx: &Context<'_>,
) -> Result<(), HostError> {
    ground.memory.set_front(slot, front).await?;
    ground.memory.forget_next_front().await?;
    let fronts: Vec<_> = Slot::BOTH.iter().filter_map(|slot| known(*slot, ground)?.tls).collect();
    let needed: Vec<&str> = fronts.iter().map(|tls| tls.certificate.as_str()).collect();
    files::sweep(cx.key(), &needed, cx.host()).await
}

/// Starts nginx, or has it read what is on disk, and waits until it listens by `site`, and those of its workers that serve by
/// anything else accept no connection any more.
pub(super) async fn taken_up(site: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let (host, units) = (cx.host(), &cx.host().units);
    let before = pids(&host.sockets.listeners().await.map_err(ApplicationError::Host)?);
    let shown = units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
    let state = shown.first().map_or("", |unit| unit.active.as_str());
    let within = STARTED_WITHIN.min(cx.time_left().max(TAKEN_UP_WITHIN));
    let done = match state {
        "active" | "reloading" => units.reload(UNIT, within).await,
        "inactive" | "failed" => units.start(UNIT, within).await,
        // It is about to be started, and may have read the configuration before ours was there.
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
        // The master has the sockets all along, and closes none that stays.
        let (now, are_old) = (pids(&listeners), |now: &BTreeSet<u32>| now.intersection(&before).count() > 1);
        if missing.is_none() && !are_old(&now) {
            return Ok(());
        }
        let waited = host.clock.elapsed() - begun;
        if waited >= TAKEN_UP_WITHIN {
            let why = match missing {
                Some(at) => format!("it does not listen on {at}, {TAKEN_UP_WITHIN:?} after it was told to"),
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
    holders.filter(|holder| holder.unit.as_deref() == Some(UNIT)).map(|holder| holder.pid).collect()
}

/// The TCP addresses that a site listens on.
pub(super) fn addresses(site: &str) -> BTreeSet<SocketAddr> {
    let values = site.lines().filter_map(|line| line.trim().strip_prefix("listen ")?.split([' ', ';']).next());
    let everywhere = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?));
    values.filter_map(|value| value.parse().ok().or_else(|| everywhere(value))).collect()
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
