//! Restores a previous state of the proxy.
//!
//! After a failure, that is the state for the generation that keeps serving; after a reboot, for the one that served
//! last.

use super::super::fields::Application;
use super::super::ground::Ground;
use super::super::memory::Front;
use super::super::proxy::{Place, UNIT};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::super::turn::{CONFIGURES, turn};
use super::files::{self, site, write};
use super::former;
use super::taken_up::served;
use crate::host::{Host, HostError};
use crate::step::Context;
use std::time::Duration;

/// systemd reports nginx as started once it has read its configuration and bound its ports.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

impl Application {
    /// Makes the proxy serve the generation in a slot as it did before. After a reboot its certificate is missing, and
    /// is taken from the document, if that still has the same one.
    pub(in super::super) async fn restore(&self, to: Option<Slot>, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        if let Some(slot) = to
            && self.lacks_certificate(slot, ground, cx).await.map_err(ApplicationError::Host)?
            && let Some((_, pair)) = self.certificate(cx)?
        {
            for file in &pair {
                file.write(cx.host()).await.map_err(ApplicationError::Host)?;
            }
        }
        restore(to, ground, cx).await
    }

    /// Whether the proxy of the generation in a slot serves without its certificate, although the document has it.
    pub(in super::super) async fn lacks_certificate(&self, slot: Slot, ground: &Ground<'_>, cx: &Context<'_>) -> Result<bool, HostError> {
        let tls = ground.memory.front(slot).flatten().and_then(|front| front.tls);
        // If the certificate cannot be rendered, nothing is known about it.
        let (Some(tls), Ok(Some((called, _)))) = (tls, self.certificate(cx)) else { return Ok(false) };
        Ok(tls.certificate == called && !has_key(&tls.certificate, cx.host()).await?)
    }
}

/// Whether nginx should serve what is in a slot but is not running: it may have failed to start after a reboot.
pub(in super::super) async fn lacks_proxy(slot: Slot, ground: &Ground<'_>) -> Result<bool, HostError> {
    Ok(ground.memory.front(slot).flatten().is_some() && is_down(ground.host).await?)
}

async fn is_down(host: &Host) -> Result<bool, HostError> {
    let shown = host.units.show(&[UNIT.to_owned()]).await?;
    // If nginx cannot bind its port, systemd restarts it again and again, and it never reaches `failed`.
    Ok(shown.iter().any(|unit| !matches!(unit.active.as_str(), "active" | "reloading")))
}

async fn has_key(certificate: &str, host: &Host) -> Result<bool, HostError> {
    Ok(host.files.stat(&Place::Key(certificate).path()).await?.is_some())
}

/// Makes the proxy serve the generation in a slot as it did before; for `None`, restores the state before the
/// application had one. Does nothing if that is already so.
pub(super) async fn restore(to: Option<Slot>, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let lock = cx.world.claims.proxy();
    let _alone = turn(&lock, CONFIGURES, cx).await?;
    let (memory, host) = (&ground.memory, cx.host());
    let next = memory.next_front();
    if next.is_none() && Slot::BOTH.iter().all(|slot| memory.front(*slot).is_none()) {
        return Ok(());
    }
    let before = to.and_then(|slot| memory.front(slot)).flatten();
    let has_tls = async |front: &Front| match &front.tls {
        Some(tls) => has_key(&tls.certificate, host).await,
        None => Ok(false),
    };
    let put_back = async {
        let site = match &before {
            Some(front) => Some(site(front, has_tls(front).await?)),
            None => None,
        };
        let is_there = next.is_none() && files::on_disk(ground.application, host).await?.as_deref() == site;
        if is_there && (site.is_none() || !is_down(host).await?) {
            return Ok(None);
        }
        memory.set_next_front(before.as_ref()).await?;
        if let Some(slot) = to
            && memory.front(slot).is_none()
        {
            // Nothing was recorded for this slot, so it had no proxy before either.
            memory.set_front(slot, None).await?;
        }
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

/// Writes the recorded configuration of a proxy, and starts it. A site that is already there is kept, since it contains
/// more: its certificate.
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
