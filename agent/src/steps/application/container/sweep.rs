//! Removes what no slot and no kept release needs: images that ingot pulled, and containers left by interrupted runs.

use std::collections::BTreeSet;

use super::Pin;
use super::engine::Engine;
use super::line::LABEL;
use super::own::OURS;
use crate::gather::Gather as _;
use crate::host::state::Record;
use crate::host::{End, HostError};
use crate::steps::application::ground::Ground;
use crate::steps::application::memory::Memory;
use crate::steps::application::slot::Slot;

/// Number of images to keep, including the current one: as many as a bundle keeps releases.
const KEEP: usize = 3;

impl Ground<'_> {
    /// Forgets the resolved names of images that are not kept, and removes those images that ingot pulled. An image
    /// that the engine refuses to remove is used by something else.
    pub(in crate::steps::application) async fn sweep(&self, record: &Record) -> Result<(), HostError> {
        let slots: Vec<_> = Slot::BOTH.into_iter().filter_map(|slot| self.memory.slot(slot)).collect();
        let used: BTreeSet<&str> = slots.iter().filter_map(|(placed, _)| Some(placed.container()?.image())).gather();
        let pins = self.memory.pins();
        let Some(engine) = pins.first().map(|(_, pin)| pin.engine) else { return Ok(()) };
        let (made, pulled): (Vec<_>, Vec<_>) = pins.iter().partition(|(name, pin)| name.starts_with(OURS) || pin.release.is_some());
        let is_used = |(name, pin): &(String, Pin)| used.contains(pin.image.as_str()) || used.contains(name.as_str());
        let kept = |at: usize, pin: &(String, Pin)| at < KEEP || is_used(pin);
        let (kept, gone): (Vec<_>, Vec<_>) = pulled.into_iter().enumerate().partition(|(at, pin)| kept(*at, pin));
        let needed: BTreeSet<&str> = kept.iter().map(|(_, (_, pin))| pin.image.as_str()).chain(used.iter().copied()).gather();
        for (_, (name, pin)) in gone {
            if pin.is_ours && !needed.contains(pin.image.as_str()) && !self.is_of_another(&pin.image, record).await? {
                pin.engine.ask(&["image", "rm", &pin.image], self.host).await?;
            }
            self.memory.forget_pin(name).await?;
        }
        for (name, pin) in made.into_iter().filter(|pin| !is_used(pin)) {
            let is_there = match &pin.release {
                Some(release) => self.host.files.stat(release).await?.is_some(),
                None => false,
            };
            if !is_there {
                // By name, because two releases may have built the same image.
                pin.engine.ask(&["image", "rm", name], self.host).await?;
                self.memory.forget_pin(name).await?;
            }
        }
        let names: BTreeSet<String> = slots.iter().flat_map(|(placed, _)| placed.units()).gather();
        self.clear_containers(engine, &names).await
    }

    /// Whether another application of this instance may run an image: its container may be between two starts.
    async fn is_of_another(&self, image: &str, record: &Record) -> Result<bool, HostError> {
        for name in record.applications().await?.iter().filter(|name| *name != self.application) {
            let own = record.application(name).await?;
            let memory = Memory { record: &own, moment: self.memory.moment };
            if memory.pins().iter().any(|(_, pin)| pin.image == image) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records an image that was pulled for this application as belonging to its `heir`, if the heir runs it too.
    async fn hand_on(&self, image: &str, heir: &str, record: &Record) -> Result<(), HostError> {
        let own = record.application(heir).await?;
        let memory = Memory { record: &own, moment: self.memory.moment };
        match memory.pins().into_iter().find(|(_, pin)| pin.image == image) {
            Some((name, pin)) => memory.set_pin(&name, &Pin { is_ours: true, ..pin }).await,
            None => Ok(()),
        }
    }

    /// Removes the images that ingot pulled for an application that no longer exists, and its leftover containers.
    /// Images that its heir also runs are handed on to the heir.
    pub(in crate::steps::application) async fn clear_images(&self, heir: &str, record: &Record) -> Result<(), HostError> {
        let pins = self.memory.pins();
        let Some(engine) = pins.first().map(|(_, pin)| pin.engine) else { return Ok(()) };
        self.clear_containers(engine, &BTreeSet::new()).await?;
        for (name, pin) in pins.iter().filter(|(_, pin)| pin.is_ours) {
            let image = if pin.release.is_some() { name } else { &pin.image };
            if pin.release.is_none() && self.is_of_another(image, record).await? {
                self.hand_on(image, heir, record).await?;
                continue;
            }
            pin.engine.ask(&["image", "rm", image], self.host).await?;
        }
        Ok(())
    }

    /// Removes containers of generations that are gone, for example after a power-off.
    async fn clear_containers(&self, engine: Engine, units: &BTreeSet<String>) -> Result<(), HostError> {
        let filter = format!("label={LABEL}={}", self.application);
        let (end, names) = engine.ask(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"], self.host).await?;
        let gone = names.iter().filter(|name| end == End::Exited(0) && !units.contains(&format!("{name}.service")));
        for name in gone {
            engine.ask(&["rm", "--force", name], self.host).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::machine::FakeMachine;
    use crate::steps::application::memory::Moment;

    /// The image that is about to be started was pulled by the same application under its previous name.
    #[tokio::test(start_paused = true)]
    async fn what_the_heir_runs_is_not_removed_and_becomes_its_own() {
        let machine = FakeMachine::new_instance();
        let host = machine.host();
        let record = Record::load(host.files.clone(), host.users.own(), "i-1").await.unwrap();
        let (shop, store) = (record.application("shop").await.unwrap(), record.application("store").await.unwrap());
        let moment = Moment { boot_id: "", clock: &*host.clock };
        let pin = |image: &str, is_ours| Pin {
            engine: Engine::Podman,
            image: image.to_owned(),
            pinned: image.to_owned(),
            port: None,
            entrypoint: Vec::new(),
            command: Vec::new(),
            is_ours,
            release: None,
        };
        let former = Ground { application: "shop", host: &host, memory: Memory { record: &shop, moment } };
        former.memory.set_pin("r.example/shop:1", &pin("sha256:1", true)).await.unwrap();
        former.memory.set_pin("r.example/shop:2", &pin("sha256:2", true)).await.unwrap();
        Memory { record: &store, moment }.set_pin("r.example/shop:2", &pin("sha256:2", false)).await.unwrap();

        former.clear_images("store", &record).await.unwrap();
        let removed: Vec<String> = machine.ran().iter().map(|ran| ran.line()).filter(|line| line.contains("image rm")).collect();
        assert!(removed.len() == 1 && removed[0].ends_with("image rm sha256:1"), "{removed:?}");
        let store = record.application("store").await.unwrap();
        assert!(Memory { record: &store, moment }.pins()[0].1.is_ours);
    }
}
