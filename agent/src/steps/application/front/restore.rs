//! Puts the proxy back as it was: after a failure, for the generation that keeps serving; after a reboot, for the one that
//! served last.

use super::super::ground::Ground;
use super::super::memory::Front;
use super::super::proxy::{Place, UNIT};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::files::{self, site, write};
use super::former;
use super::taken_up::served;
use crate::host::HostError;
use crate::step::Context;
use std::time::Duration;

/// systemd starts nginx once it has read its configuration and bound its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Has the proxy serve as it did for what is in a slot; for none, as before the application had one. Does nothing where it
/// does so.
pub(in super::super) async fn restore(to: Option<Slot>, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let lock = cx.world.claims.proxy();
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

/// Writes what is remembered of a proxy, and starts it. What is there already has more in it: its certificate.
pub(in super::super) async fn bring_back(slot: Slot, ground: &Ground<'_>) -> Result<(), HostError> {
    let (host, memory) = (ground.host, &ground.memory);
    let front = memory.known_front(slot);
    let Some(front) = front else { return Ok(()) };
    if files::on_disk(ground.application, host).await?.is_none() {
        write(&front, site(&front, false), ground.application, host).await?;
        memory.forget_next_front().await?;
    }
    host.units.start(UNIT, STARTED_WITHIN).await
}
