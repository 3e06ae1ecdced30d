//! Configures the proxy and makes nginx use the new configuration.
//!
//! What systemd calls a reload is only a signal, which nginx may act on later or not at all.

use super::super::facing::Facing;
use super::super::fields::Application;
use super::super::ground::Ground;
use super::super::procfile::WEB;
use super::super::proxy::{Place, taken};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::super::turn::{CONFIGURES, turn};
use super::machine::{nginx, program, version};
use super::taken_up::{read, taken_up};
use super::{files, restore};
use crate::failure::Explanation;
use crate::step::{Context, Progress};

impl Application {
    /// Writes the files that differ, after nginx has found no fault with them.
    pub(in super::super) async fn configure(
        &self,
        site: &Facing,
        leaving: &[String],
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<(), ApplicationError> {
        let lock = cx.world.claims.proxy();
        let _alone = turn(&lock, CONFIGURES, cx).await?;
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
            // From here on, the record shows that nginx may not have read the files on disk yet.
            ground.memory.set_next_front(Some(&configured.front)).await?;
            if !leaving.is_empty() {
                ground.lead_first(site.slot).await?;
            }
            for name in leaving {
                // Old workers pass requests to its slots until they exit.
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

    /// Starts nginx or makes it reload its configuration, and waits until the new configuration is in effect. If that
    /// fails, the previous configuration is restored.
    pub(in super::super) async fn serve(&self, slot: Slot, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let lock = cx.world.claims.proxy();
        let alone = turn(&lock, CONFIGURES, cx).await?;
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
