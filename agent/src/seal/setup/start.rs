//! What starts a unit at boot before ingot does, and what keeps ingot from starting it: derived
//! from all units of an image.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use super::units::{Named, Unit, Units};
use crate::host::HostError;

/// Units of ingot itself. A unit that ingot starts must not be ordered after them: each would wait for the other.
const OURS: [&str; 2] = ["ingot.service", "ingot.target"];

/// Targets that every boot reaches. Source: bootup(7).
const REACHED: [&str; 9] = [
    "default.target",
    "multi-user.target",
    "basic.target",
    "sysinit.target",
    "local-fs.target",
    "sockets.target",
    "timers.target",
    "paths.target",
    "network.target",
];

/// The units of an image, by what starts them.
#[derive(Debug)]
pub(super) struct Start<'a> {
    units: &'a Units<'a>,
    /// For each unit, the units whose start also starts it, and the line or link that says so.
    pullers: BTreeMap<String, Vec<(String, Pull)>>,
    /// The targets that are ordered after ingot implicitly, because they want it.
    wants_ingot: BTreeSet<String>,
    /// The units that ingot starts.
    asked: &'a [String],
}

/// How one unit starts another.
#[derive(Debug, Clone)]
pub(super) struct Pull {
    pub(super) path: PathBuf,
    pub(super) line: u64,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Whenever it starts itself: `Wants=` and similar settings.
    Along,
    /// On an event: a socket, a timer, a path.
    Triggered,
    /// `Also=` enables it at a first boot.
    Also,
}

/// Why a unit can never start while ingot waits for it.
#[derive(Debug)]
pub(super) struct Deadlock {
    /// The chain of units ordered after one another: from this one to a unit of ingot.
    pub(super) chain: Vec<String>,
    /// The line to change, and the name in it.
    pub(super) at: Named,
}

impl<'a> Start<'a> {
    pub(super) fn read(units: &'a Units<'a>, asked: &'a [String]) -> Result<Self, HostError> {
        let mut pullers: BTreeMap<String, Vec<(String, Pull)>> = BTreeMap::new();
        for name in units.names.iter().filter(|name| units.meant_by(name) == name.as_str()) {
            let unit = units.find(name)?;
            let also = if unit.enabled_by_preset { unit.also } else { Vec::new() };
            for (named, how) in [(unit.pulls, How::Along), (unit.triggers, How::Triggered), (also, How::Also)] {
                for (pulled, path, line) in named {
                    let pulled = units.meant_by(&pulled).to_owned();
                    pullers.entry(pulled).or_default().push((name.clone(), Pull { path, line, how }));
                }
            }
        }
        let link = units.find("ingot.service")?.enabled_by;
        let target =
            link.as_deref().and_then(|link| link.parent()?.file_name()?.to_str()?.rsplit_once('.').map(|(target, _)| target.to_owned()));
        Ok(Self { units, pullers, wants_ingot: target.into_iter().collect(), asked })
    }

    /// The unit that by itself starts `name` at boot, and how.
    pub(super) fn starter(&self, name: &str) -> Result<Option<(&str, &Pull)>, HostError> {
        let mut seen = BTreeSet::from([name.to_owned()]);
        for (puller, pull) in self.pullers.get(self.units.meant_by(name)).into_iter().flatten() {
            if self.starts_by_itself(puller, &mut seen)? {
                return Ok(Some((puller, pull)));
            }
        }
        Ok(None)
    }

    fn starts_by_itself(&self, name: &str, seen: &mut BTreeSet<String>) -> Result<bool, HostError> {
        if !seen.insert(name.to_owned()) || self.asked.iter().any(|asked| self.units.meant_by(asked) == name) || name == "ingot.target" {
            return Ok(false);
        }
        let unit = self.units.find(name)?;
        if unit.masked {
            return Ok(false);
        }
        let is_reached = self.units.names_of(name).iter().any(|name| REACHED.contains(name));
        if is_reached || unit.enabled_by.is_some() || unit.enabled_by_preset {
            return Ok(true);
        }
        for (puller, _) in self.pullers.get(name).into_iter().flatten() {
            if self.starts_by_itself(puller, seen)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Searches for a chain of orderings from `name` to ingot, as systemd would.
    pub(super) fn deadlock(&self, name: &str) -> Result<Option<Deadlock>, HostError> {
        let along = self.started_along(name)?;
        // Each unit with the chain that leads to it, and the last line of it in a unit that is started with `name`.
        let mut waiting = VecDeque::from([(name.to_owned(), vec![name.to_owned()], None)]);
        let mut seen = BTreeSet::from([name.to_owned()]);
        while let Some((waits, chain, line)) = waiting.pop_front() {
            for after in self.after(&waits)? {
                let line: Option<Named> = if along.contains(&waits) { Some(after.clone()) } else { line.clone() };
                let (next, ..) = after;
                let mut chain = chain.clone();
                chain.push(next.clone());
                if OURS.contains(&next.as_str()) {
                    return Ok(line.map(|at| Deadlock { chain, at }));
                }
                if self.wants_ingot.contains(&next) {
                    chain.push("ingot.service".into());
                    return Ok(line.map(|at| Deadlock { chain, at }));
                }
                let is_waited_for = along.contains(&next) || self.starts_by_itself(&next, &mut BTreeSet::new())?;
                if is_waited_for && seen.insert(next.clone()) {
                    waiting.push_back((next, chain, line));
                }
            }
        }
        Ok(None)
    }

    /// What a unit is ordered after, by itself or by a unit of ours.
    fn after(&self, name: &str) -> Result<Vec<Named>, HostError> {
        let mut after = self.units.find(name)?.after;
        for ours in OURS {
            let before = self.units.find(ours)?.before;
            after.extend(before.into_iter().filter(|(named, ..)| named == name).map(|(_, path, line)| (ours.to_owned(), path, line)));
        }
        Ok(after)
    }

    /// `name`, and everything that is started with it.
    fn started_along(&self, name: &str) -> Result<BTreeSet<String>, HostError> {
        let mut along = BTreeSet::from([name.to_owned()]);
        let mut next = vec![name.to_owned()];
        while let Some(name) = next.pop() {
            let Unit { pulls, .. } = self.units.find(&name)?;
            next.extend(pulls.into_iter().map(|(pulled, ..)| pulled).filter(|pulled| along.insert(pulled.clone())));
        }
        Ok(along)
    }
}
