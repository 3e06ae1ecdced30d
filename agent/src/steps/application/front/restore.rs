//! Puts the proxy back as it was: after a failure, for the generation that keeps serving; after a reboot, for the one that
//! served last.

use super::super::ground::Ground;
use super::super::memory::Front;
use super::super::proxy::{Place, UNIT};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::files::File;
use super::serve::taken_up;
use super::{ONE_AT_A_TIME, files, former};
use crate::host::{Host, HostError};
use crate::step::Context;
use std::path::Path;
use std::time::Duration;

/// systemd starts nginx once it has read its configuration and bound its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// nginx lets requests end, and is killed after 30s.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// Has the proxy serve as it did for what is in a slot; for none, as before the application had one. Does nothing where it
/// does so.
pub(in super::super) async fn restore(to: Option<Slot>, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let lock = ONE_AT_A_TIME.with(Clone::clone);
    let _alone = lock.lock().await;
    let (memory, host) = (&ground.memory, cx.host());
    let next = memory.next_front();
    if next.is_none() && Slot::BOTH.iter().all(|slot| memory.front(*slot).is_none()) {
        return Ok(());
    }
    let before = to.and_then(|slot| memory.front(slot)).flatten();
    let has_tls = async |front: &Front| match &front.tls {
        Some(tls) => Ok(host.files.stat(&Place::Key(&tls.certificate).path()).await?.is_some()),
        None => Ok(false),
    };
    let put_back = async {
        let site = match &before {
            Some(front) => Some(site(front, has_tls(front).await?)),
            None => None,
        };
        if next.is_none() && files::on_disk(ground.application, host).await?.as_deref() == site {
            return Ok(None);
        }
        memory.set_next_front(before.as_ref()).await?;
        match &before {
            Some(front) => write(front, site.unwrap_or_default(), ground.application, host).await?,
            None => host.files.remove(&Place::Site(ground.application).path()).await?,
        }
        if to.is_none() {
            if Slot::BOTH.iter().all(|slot| memory.slot(*slot).is_none()) {
                host.files.remove(&Place::Current(ground.application).path()).await?;
            }
            former::come_back(cx).await?;
        }
        Ok(Some(site.unwrap_or_default()))
    };
    if let Some(site) = put_back.await.map_err(ApplicationError::Host)? {
        served(site, cx).await?;
    }
    memory.forget_next_front().await.map_err(ApplicationError::Host)
}

/// Has nginx serve by the sites there are, and stops it where there is none.
pub(super) async fn served(site: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let host = cx.host();
    let sites = host.files.list(Path::new(super::super::proxy::SITES)).await.map_err(ApplicationError::Host)?;
    if sites.iter().any(|name| name.ends_with(".conf") && !name.starts_with('.')) {
        return taken_up(site, cx).await;
    }
    host.units.stop(UNIT, STOPPED_WITHIN).await.map_err(ApplicationError::Host)
}

fn site(front: &Front, has_tls: bool) -> &str {
    front.tls.as_ref().filter(|_| !has_tls).map_or(&front.site, |tls| &tls.without)
}

pub(super) async fn write(front: &Front, site: &str, application: &str, host: &Host) -> Result<(), HostError> {
    files::directories(application, host).await?;
    File::new(Place::Conf.path(), &front.nginx, 0o644).write(host).await?;
    File::new(Place::Site(application).path(), site, 0o644).write(host).await
}

/// Writes what is remembered of a proxy, and starts it. What is there already has more in it: its certificate.
pub(in super::super) async fn bring_back(slot: Slot, ground: &Ground<'_>) -> Result<(), HostError> {
    let (host, memory) = (ground.host, &ground.memory);
    let front = memory.front(slot).or_else(|| memory.front(slot.other())).flatten();
    let Some(front) = front else { return Ok(()) };
    if files::on_disk(ground.application, host).await?.is_none() {
        write(&front, site(&front, false), ground.application, host).await?;
        memory.forget_next_front().await?;
    }
    host.units.start(UNIT, STARTED_WITHIN).await
}
