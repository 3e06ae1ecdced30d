//! Detects deadlocks: a unit ordered after the one that ingot runs in cannot start before ingot exits.
//!
//! systemd holds the start job of a unit until every unit in its `After=` that has a job of its own is done. While
//! ingot.service (or the cloud-init unit that runs ingot) is starting, it has such a job, and it waits for ingot. ingot
//! therefore reads `After=` first, also through units that are themselves waiting and through those that would be
//! started along (`Requires=` and similar), and refuses with the line to change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;

use crate::host::units::file::settings;
use crate::host::{HostError, Unit};
use crate::step::Context;

/// ingot's own units: nothing that ingot starts may be ordered after them, whatever started ingot this time.
const OURS: [&str; 2] = ["ingot.service", "ingot.target"];

/// Upper bound, larger than any chain of units that wait for each other at boot.
const UNITS_LOOKED_AT: usize = 500;

/// Maximum size in bytes of unit files that are searched for the line.
const UNIT_FILE_LIMIT: u64 = 256 * 1024;

/// Why a unit cannot start while ingot runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deadlock {
    /// The unit to start, the unit it is ordered after, and so on up to the unit that waits for ingot.
    chain: Vec<String>,
    /// The unit in the chain whose ordering has to change: the last one that would be started with the first.
    culprit: usize,
    /// The line that orders it after the next unit, with its file and line number, if found.
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
        let (unit, after) = (&self.chain[self.culprit], &self.chain[self.culprit + 1]);
        match &self.line {
            Some((path, line, _)) => format!("take {after} out of line {line} of {}", path.display()),
            None => format!(
                "run `systemctl show -p After {unit}` and take away what orders it after {after}, such as DefaultDependencies= or WantedBy="
            ),
        }
    }
}

/// Looks for a chain of orderings from `unit` to the unit that ingot runs in.
pub(crate) async fn deadlock(unit: &Unit, cx: &Context<'_>) -> Result<Option<Deadlock>, HostError> {
    let own = cx.host().units.own().filter(|own| own.ends_with(".service"));
    let mut known = BTreeMap::new();
    loop {
        let (chain, culprit) = match look(unit, &known, own.as_deref()) {
            Seen::Deadlock { chain, culprit } => (chain, culprit),
            Seen::Nothing => return Ok(None),
            // If ingot was started by hand, units wait for it only by name.
            Seen::TooLittle(_) if own.is_none() || known.len() >= UNITS_LOOKED_AT => return Ok(None),
            Seen::TooLittle(names) => {
                let shown = cx.host().units.show(&names).await?;
                known.extend(names.into_iter().zip(shown));
                continue;
            }
        };
        let line = find_line(known.get(&chain[culprit]).unwrap_or(unit), &chain[culprit + 1], cx).await;
        return Ok(Some(Deadlock { chain, culprit, line }));
    }
}

/// The conclusion from the units known so far.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Deadlock { chain: Vec<String>, culprit: usize },
    Nothing,
    TooLittle(Vec<String>),
}

fn look(unit: &Unit, known: &BTreeMap<String, Unit>, own: Option<&str>) -> Seen {
    let mut unknown = BTreeSet::new();
    let started = started_along(unit, known, &mut unknown);
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut waiting = VecDeque::from([(unit.id.as_str(), unit)]);
    while let Some((name, unit_waiting)) = waiting.pop_front() {
        if let Some(end) = unit_waiting.after.iter().find(|name| OURS.contains(&name.as_str()) || own == Some(name)) {
            let mut chain = vec![end.clone(), name.to_owned()];
            let mut before = name;
            while let Some(earlier) = came_from.get(before) {
                chain.push((*earlier).to_owned());
                before = earlier;
            }
            chain.reverse();
            let culprit = (0..chain.len() - 1).rev().find(|at| started.contains(chain[*at].as_str())).unwrap_or(0);
            return Seen::Deadlock { chain, culprit };
        }
        for after in unit_waiting.after.iter().filter(|after| **after != unit.id) {
            match known.get(after) {
                None => {
                    unknown.insert(after.clone());
                }
                // Only a unit with a job of its own makes others wait.
                Some(next) if (next.job || started.contains(after.as_str())) && !came_from.contains_key(after.as_str()) => {
                    came_from.insert(after, name);
                    waiting.push_back((after, next));
                }
                Some(_) => {}
            }
        }
    }
    if unknown.is_empty() { Seen::Nothing } else { Seen::TooLittle(unknown.into_iter().collect()) }
}

/// `unit`, and the units that do not run and would be started with it.
fn started_along<'u>(unit: &'u Unit, known: &'u BTreeMap<String, Unit>, unknown: &mut BTreeSet<String>) -> BTreeSet<&'u str> {
    let mut started = BTreeSet::new();
    started.insert(unit.id.as_str());
    let mut pulling = vec![unit];
    while let Some(puller) = pulling.pop() {
        for name in &puller.pulls {
            match known.get(name) {
                None => {
                    unknown.insert(name.clone());
                }
                Some(pulled) if matches!(pulled.active.as_str(), "inactive" | "failed") && started.insert(name) => pulling.push(pulled),
                Some(_) => {}
            }
        }
    }
    started
}

/// The `After=` line of `unit` that names `after`, in its unit file or drop-ins.
async fn find_line(unit: &Unit, after: &str, cx: &Context<'_>) -> Option<(PathBuf, usize, String)> {
    for path in std::iter::once(&unit.fragment).chain(&unit.drop_ins).map(PathBuf::from) {
        let Ok(Some(bytes)) = cx.host().files.read(&path, UNIT_FILE_LIMIT).await else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let settings = settings(&text);
        let mut words = settings.iter().filter(|setting| setting.is("Unit", "After")).flat_map(|setting| &setting.words);
        if let Some((_, line)) = words.find(|(word, _)| *word == after) {
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
            return Some((path, *line, shown));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name [job] [active] [after …] [pulls …]`
    fn units(lines: &[&str]) -> BTreeMap<String, Unit> {
        let unit = |line: &&str| {
            let mut words = line.split_whitespace();
            let mut unit = Unit { id: words.next().unwrap().into(), active: "inactive".into(), ..Unit::default() };
            let mut pulls = false;
            for word in words {
                match word {
                    "job" => unit.job = true,
                    "active" => unit.active = "active".into(),
                    "after" => pulls = false,
                    "pulls" => pulls = true,
                    name if pulls => unit.pulls.push(name.into()),
                    name => unit.after.push(name.into()),
                }
            }
            (unit.id.clone(), unit)
        };
        lines.iter().map(unit).collect()
    }

    fn seen(lines: &[&str], own: &str) -> String {
        let known = units(lines);
        match look(&known["app.service"], &known, Some(own)) {
            Seen::Deadlock { chain, culprit } => format!("{}: {}", chain[culprit], chain.join(" ")),
            Seen::Nothing => "nothing".into(),
            Seen::TooLittle(unknown) => format!("{}?", unknown.join(" ")),
        }
    }

    #[test]
    fn follows_units_that_wait_or_are_started_along() {
        let own = "cloud-final.service";
        let cases: [(&[&str], &str); 8] = [
            (&["app.service after ingot.target"], "app.service: app.service ingot.target"),
            (&["app.service after cloud-final.service"], "app.service: app.service cloud-final.service"),
            (&["app.service after a.target"], "a.target?"),
            (&["app.service after a.target", "a.target active after cloud-final.service"], "nothing"),
            (
                &["app.service after a.target", "a.target job after cloud-final.service"],
                "app.service: app.service a.target cloud-final.service",
            ),
            (
                &["app.service after b.service pulls b.service", "b.service after ingot.service"],
                "b.service: app.service b.service ingot.service",
            ),
            (&["app.service after b.service", "b.service after ingot.service"], "nothing"),
            (&["app.service after b.service pulls b.service", "b.service after app.service pulls app.service"], "nothing"),
        ];
        for (lines, expected) in cases {
            assert_eq!(seen(lines, own), expected, "{lines:?}");
        }
    }
}
