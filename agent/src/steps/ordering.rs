//! The deadlock: a unit that is ordered after the one ingot runs in cannot start before ingot ends.
//!
//! systemd holds the start job of a unit until every unit named in its `After=` that has a job of its own is done. While
//! ingot.service (or the cloud-init unit that called us) is starting, it has such a job, and it waits for us. So we read
//! `After=` first, also through units that are themselves waiting, and refuse with the line to change.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::host::{HostError, Unit};
use crate::steps::Context;

/// Our own units: nothing that ingot starts may be ordered after them, whoever called ingot this time.
const OURS: [&str; 2] = ["ingot.service", "ingot.target"];

/// Larger than any chain of units that wait for each other at boot; a bound, not a tuning knob.
const UNITS_LOOKED_AT: usize = 500;

/// Unit files larger than this are not searched for the line.
const UNIT_FILE_LIMIT: u64 = 256 * 1024;

/// Why a unit cannot start while we run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deadlock {
    /// The unit to start, what it is ordered after, and so on to the unit that waits for us.
    chain: Vec<String>,
    /// The line that orders the first after the second, with its file, where it was found.
    line: Option<(PathBuf, usize, String)>,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(" after "))?;
        match &self.line {
            Some((path, line, text)) => write!(f, " ({}:{line}: {text})", path.display()),
            None => Ok(()),
        }
    }
}

impl Deadlock {
    pub(crate) fn hint(&self) -> String {
        let (unit, after) = (&self.chain[0], &self.chain[1]);
        match &self.line {
            Some((path, line, _)) => format!("take {after} out of line {line} of {}", path.display()),
            None => format!(
                "run `systemctl show -p After {unit}` and take away what orders it after {after}, such as DefaultDependencies= or WantedBy="
            ),
        }
    }
}

/// Looks for a chain of orderings from `unit` to the unit we run in.
pub(crate) async fn deadlock(unit: &Unit, cx: &Context<'_>) -> Result<Option<Deadlock>, HostError> {
    let own = cx.host().units.own().filter(|own| own.ends_with(".service"));
    let ends = |name: &str| OURS.contains(&name) || own.as_deref() == Some(name);
    let mut came_from: BTreeMap<String, String> = BTreeMap::new();
    let mut level = VecDeque::from([unit.clone()]);
    while !level.is_empty() && came_from.len() < UNITS_LOOKED_AT {
        let mut next = Vec::new();
        for waiting in &level {
            if let Some(end) = waiting.after.iter().find(|name| ends(name)) {
                let mut chain = vec![end.clone(), waiting.id.clone()];
                while let Some(before) = came_from.get(&chain[chain.len() - 1]) {
                    chain.push(before.clone());
                }
                chain.reverse();
                let line = find_line(unit, &chain[1], cx).await;
                return Ok(Some(Deadlock { chain, line }));
            }
            for name in &waiting.after {
                if *name != unit.id && !came_from.contains_key(name) {
                    came_from.insert(name.clone(), waiting.id.clone());
                    next.push(name.clone());
                }
            }
        }
        if own.is_none() || next.is_empty() {
            return Ok(None);
        }
        // Only a unit with a job of its own makes others wait.
        level = cx.host().units.show(&next).await?.into_iter().filter(|unit| unit.job).collect();
    }
    Ok(None)
}

/// The `After=` line of `unit` that names `after`, in its file or its drop-ins.
async fn find_line(unit: &Unit, after: &str, cx: &Context<'_>) -> Option<(PathBuf, usize, String)> {
    let files = &cx.host().files;
    let fragment = Path::new(&unit.fragment);
    let mut paths = vec![fragment.to_owned()];
    for directory in ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"] {
        let directory = Path::new(directory).join(format!("{}.d", unit.id));
        let names = files.list(&directory).await.unwrap_or_default();
        paths.extend(names.iter().filter(|name| name.ends_with(".conf")).map(|name| directory.join(name)));
    }
    for path in paths {
        let Ok(Some(bytes)) = files.read(&path, UNIT_FILE_LIMIT).await else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let named = |line: &str| {
            let value = line.trim().strip_prefix("After").and_then(|rest| rest.trim_start().strip_prefix('='));
            value.is_some_and(|value| value.split_whitespace().any(|name| name == after))
        };
        if let Some((at, line)) = text.lines().enumerate().find(|(_, line)| named(line)) {
            return Some((path, at + 1, line.trim().to_owned()));
        }
    }
    None
}
