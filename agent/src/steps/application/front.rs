//! The proxy of an application on this machine: decides from what is found which parts have to change.
//!
//! The site has an entry for each slot, with the port and platform of what is really in that slot: while a release
//! replaces another one with a different port or platform, requests reach both. A configuration is tested before it is
//! put in place ([`files`]), takes effect once nginx listens according to it ([`serve`]), and is replaced by the
//! previous one after a failure ([`mod@restore`]). [`former`] removes the sites of applications that no longer have a
//! proxy or are in no document.

mod check;
mod files;
pub(super) mod former;
mod machine;
mod restore;
mod serve;
mod taken_up;

use super::change::Change;
use super::environment::is_secret;
use super::facing::Facing;
use super::fields::Application;
use super::ground::Ground;
use super::memory::{Front, WithTls};
use super::procfile::WEB;
use super::proxy::{Behind, Nginx, Place, Proxy, Site, UNIT};
use super::slot::Slot;
use super::trouble::ApplicationError;
use crate::digest::Hasher;
use crate::step::Context;
use crate::text::SecretText;
use files::{Configured, File};
use former::Former;
use machine::{nginx, program};
pub(super) use restore::{bring_back, lacks_proxy};

impl Application {
    /// The changes to the proxy. `is_resumed` says whether the previous proxy is restored first.
    pub(super) async fn front_changes(
        &self,
        site: Facing,
        followed: &[Former],
        is_resumed: bool,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Vec<Change>, ApplicationError> {
        let (memory, host) = (&ground.memory, cx.host());
        // The generation that serves until then takes the proxy back, if it had one.
        let is_taken_back = is_resumed && memory.known_front(site.slot.other()).is_some();
        let is_read = memory.next_front().is_none();
        if matches!(self.proxy, Proxy::None) {
            let is_there = host.files.stat(&Place::Site(cx.key()).path()).await.map_err(ApplicationError::Host)?.is_some();
            let application = cx.key().to_owned();
            return Ok(Vec::from_iter(
                (is_there || !is_read || is_taken_back).then_some(Change::Withdraw { application, slot: site.slot }),
            ));
        }
        let mut differs = true;
        if !is_resumed
            && let Some(front) = ground.memory.known_front(site.slot)
            && front.program == program(host).await?
        {
            let nginx = nginx(front.version, host).await.map_err(ApplicationError::Host)?;
            differs = files::differ(&self.configured(&site, &nginx, None, ground, cx)?.files, host).await?;
        }
        let unit = host.units.show(&[UNIT.to_owned()]).await.map_err(ApplicationError::Host)?;
        let is_up = unit.first().is_some_and(|unit| unit.active == "active");
        let slot = site.slot;
        let mut changes = Vec::new();
        if differs && !site.snippets.is_empty() {
            changes.push(Change::Check { site: site.clone() });
        }
        if differs {
            let in_the_way = followed.iter().filter(|former| former.is_in_the_way_of(&self.ports()));
            let leaving = in_the_way.map(|former| former.name.clone()).collect();
            changes.push(Change::Configure { site, ports: self.proxy.ports(), leaving });
        }
        if differs || !is_up || !is_read {
            changes.push(Change::Serve { slot, reload: is_up });
        }
        Ok(changes)
    }

    /// Fails if the port of the release's platform, which was unknown during planning, is already used by the proxy or
    /// by another application.
    pub(super) fn has_no_clash(&self, port: u16, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let overlaps = self.overlap().covers(WEB);
        let own = || Slot::BOTH.iter().map(|slot| slot.port(port, overlaps)).chain([port]);
        let others = cx.siblings.listening(former::KIND).into_iter().filter(|(key, _)| *key != cx.key());
        let of_others = others.map(|(key, ports)| (format!("{}.{key}", former::KIND), ports.to_vec()));
        for (by, ports) in [("the proxy".to_owned(), self.proxy.ports())].into_iter().chain(of_others) {
            if self.port.is_none() && own().any(|own| ports.contains(&own)) {
                return Err(ApplicationError::Clash { port, by });
            }
        }
        Ok(())
    }

    /// The document's certificate and key, and the name that their files have in common.
    fn certificate(&self, cx: &Context<'_>) -> Result<Option<(String, [File; 2])>, ApplicationError> {
        let Some(tls) = self.proxy.tls() else { return Ok(None) };
        let render = |text| cx.render(text).map_err(|source| ApplicationError::Render { what: "proxy.tls".to_owned(), source });
        let (chain, key) = (render(&tls.certificate)?, render(&tls.key)?);
        // Another pair gets other file names, so that the previous pair is still there for a rollback.
        let mut digest = Hasher::new();
        [chain.expose(), "\0", key.expose()].iter().for_each(|part| digest.update(part.as_bytes()));
        let called = format!("{}.{}", cx.key(), digest.finish().short(8));
        let pair = [
            File::new(Place::Certificate(&called).path(), chain.expose(), 0o644),
            File::new(Place::Key(&called).path(), key.expose(), 0o600),
        ];
        Ok(Some((called, pair)))
    }

    /// The wanted configuration.
    fn configured(
        &self,
        site: &Facing,
        nginx: &Nginx,
        program: Option<String>,
        ground: &Ground<'_>,
        cx: &Context<'_>,
    ) -> Result<Configured, ApplicationError> {
        let name = cx.key();
        let (certificate, mut files) = self.certificate(cx)?.map_or((None, Vec::new()), |(called, pair)| (Some(called), pair.into()));
        let slots = self.behind(site, ground);
        let health = self.ready.http.as_ref().filter(|path| !is_secret(path)).map(|path| cx.render(path)).transpose();
        let health = health.map_err(|source| ApplicationError::Render { what: "ready.http".to_owned(), source })?;
        let text = |certificate| {
            let facing = Site { name, port: site.port, slots: slots.clone(), certificate, health: health.as_ref().map(SecretText::expose) };
            self.proxy.site_with(&site.snippets, &facing, nginx).unwrap_or_default()
        };
        let (whole, without) = (text(certificate.as_deref()), text(None));
        files.push(File::new(Place::Conf.path(), &nginx.conf(), 0o644));
        files.push(File::new(Place::Site(name).path(), &whole, 0o644));
        let tls = certificate.map(|certificate| WithTls { certificate, without });
        let front = Front { version: nginx.version, program, nginx: nginx.conf(), site: whole, slots, tls };
        Ok(Configured { front, files })
    }

    /// The backends of both slots. The entry for the other slot stays as it is or was, because changing it would cost
    /// another reload.
    fn behind(&self, site: &Facing, ground: &Ground<'_>) -> [Behind; 2] {
        let overlaps = self.overlap().covers(WEB);
        Slot::BOTH.map(|slot| {
            let wanted = Behind { port: slot.port(site.port, overlaps), php: site.php.clone() };
            if slot == site.slot {
                return wanted;
            }
            let there = ground.memory.slot(slot).map(|(placed, _)| Behind { port: placed.port, php: placed.generation.php });
            let found = there.or_else(|| Some(ground.memory.known_front(site.slot)?.slots[slot as usize].clone()));
            // This port is nginx's own, and passing requests to it would create a loop.
            found.filter(|found| !overlaps || found.port != site.port).unwrap_or(wanted)
        })
    }
}
