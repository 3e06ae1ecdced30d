//! Removing what no slot and no kept release needs: images that ingot has pulled, and containers that were cut off.

use std::collections::BTreeSet;

use super::Pin;
use super::engine::Engine;
use super::line::LABEL;
use super::release::OURS;
use crate::host::{End, HostError};
use crate::steps::application::ground::Ground;
use crate::steps::application::slot::Slot;

/// How many images are kept, the current one among them: as many as a bundle keeps releases.
const KEEP: usize = 3;

impl Ground<'_> {
    /// Forgets what images meant that are not kept, and removes those that are ours. What an engine does not remove is used by
    /// somebody else.
    pub(in crate::steps::application) async fn sweep(&self) -> Result<(), HostError> {
        let slots: Vec<_> = Slot::BOTH.into_iter().filter_map(|slot| self.memory.slot(slot)).collect();
        let used: BTreeSet<&str> = slots.iter().filter_map(|(placed, _)| Some(placed.container()?.image())).collect();
        let pins = self.memory.pins();
        let Some(engine) = pins.first().map(|(_, pin)| pin.engine) else { return Ok(()) };
        let (made, pulled): (Vec<_>, Vec<_>) = pins.iter().partition(|(name, _)| name.starts_with(OURS));
        let is_used = |(name, pin): &(String, Pin)| used.contains(pin.image.as_str()) || used.contains(name.as_str());
        let kept = |at: usize, pin: &(String, Pin)| at < KEEP || is_used(pin);
        let (kept, gone): (Vec<_>, Vec<_>) = pulled.into_iter().enumerate().partition(|(at, pin)| kept(*at, pin));
        let needed: BTreeSet<&str> = kept.iter().map(|(_, (_, pin))| pin.image.as_str()).chain(used.iter().copied()).collect();
        for (_, (name, pin)) in gone {
            if pin.is_ours && !needed.contains(pin.image.as_str()) {
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
                // By name: two releases may have built the same.
                pin.engine.ask(&["image", "rm", name], self.host).await?;
                self.memory.forget_pin(name).await?;
            }
        }
        let names: BTreeSet<String> = slots.iter().flat_map(|(placed, _)| placed.units()).collect();
        self.clear_containers(engine, &names).await
    }

    /// Removes containers of generations that are gone: of a machine that was switched off, for example.
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
