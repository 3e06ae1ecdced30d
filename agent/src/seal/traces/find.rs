//! Goes through the list of traces, and says of each whether the image has it.

use std::path::{Path, PathBuf};

use super::{Removal, TRACES, Trace, keys, machine_id, network, swap};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};
use crate::seal::finding::Finding;

/// A trace that the image has.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    pub(super) spot: Spot,
    pub(super) action: Action,
}

/// What removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Remove,
    RemoveEach(Vec<Spot>),
    Empty,
    EmptyEach {
        rotated: Vec<Spot>,
        others: Vec<Spot>,
    },
    Write(&'static [u8]),
    /// A line of a text, without which a file that then holds nothing goes as well, if `whole` says so.
    RemoveLine {
        line: String,
        whole: bool,
    },
    /// A swap file, and then its line in fstab.
    RemoveSwap {
        file: Option<PathBuf>,
        line: Option<String>,
    },
    /// Nothing can be removed safely: it is for a person.
    Nothing,
}

/// More than any file that is read here.
pub(super) const TEXT_LIMIT: u64 = 16 << 20;

/// Every trace that the image has.
pub(crate) fn find(image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let mut found = Vec::new();
    let homes = image.homes()?;
    for trace in TRACES {
        if trace.removal == Removal::Swap {
            found.extend(swap::find(trace, image)?);
            continue;
        }
        for at in trace.at {
            let spots = match at.strip_prefix("~/") {
                None => image.matching(at)?,
                Some(pattern) => {
                    let mut spots = Vec::new();
                    for home in &homes {
                        spots.extend(image.below(home, Path::new(pattern))?);
                    }
                    spots
                }
            };
            for spot in spots {
                found.extend(look(trace, spot, image)?);
            }
        }
        if trace.removal == Removal::LaunchKeys {
            found.extend(keys::elsewhere(trace, &homes, image)?);
        }
    }
    Ok(found)
}

fn look(trace: &Trace, spot: Spot, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let Some(there) = image.find(&spot)? else { return Ok(Vec::new()) };
    let is_link = there.kind == FileKind::Symlink;
    let action = match trace.removal {
        // A link to it, as dbus has one to the machine id, holds nothing; the link to the last instance of cloud-init does.
        Removal::Whole if is_link && trace.rule == "machine-id" => None,
        Removal::Whole => Some(Action::Remove),
        Removal::Content(kept) => {
            let kept: Vec<glob::Pattern> = kept.iter().filter_map(|name| glob::Pattern::new(name).ok()).collect();
            let mut names = image.list(&spot)?;
            names.retain(|name| !kept.iter().any(|kept| kept.matches_path(name)));
            (!names.is_empty()).then(|| Action::RemoveEach(names.iter().map(|name| spot.join(name)).collect()))
        }
        Removal::Emptied => (there.kind == FileKind::File && there.size > 0).then_some(Action::Empty),
        Removal::Logs => logs(&spot, image)?,
        Removal::MachineId => machine_id::action(&spot, image)?,
        Removal::Hostname => network::hostname(&spot, image)?,
        Removal::Resolver => network::resolver(&spot, image)?,
        Removal::LaunchKeys => return keys::find(trace, &spot, image),
        Removal::Swap => None,
    };
    Ok(action.map(|action| one(trace, spot, None, action)).into_iter().collect())
}

/// A finding of a trace that can be removed.
pub(super) fn one(trace: &Trace, spot: Spot, line: Option<u64>, action: Action) -> Found {
    let many = match &action {
        Action::RemoveEach(spots) => spots.len(),
        Action::EmptyEach { rotated, others } => rotated.len() + others.len(),
        _ => 0,
    };
    let says = match many {
        0 => trace.says.to_owned(),
        1 => format!("{}: 1 entry", trace.says),
        many => format!("{}: {many} entries", trace.says),
    };
    let finding =
        Finding { path: spot.path(), line, rule: trace.rule.into(), says, hint: "run `ingot seal --scrub`, which removes it".into() };
    Found { finding, spot, action }
}

/// Names of logs that nobody writes to any more.
const ROTATED: [&str; 7] = [".gz", ".xz", ".zst", ".bz2", ".old", ".journal", ".journal~"];

fn logs(directory: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    let (mut rotated, mut others) = (Vec::new(), Vec::new());
    let mut left = vec![directory.clone()];
    while let Some(next) = left.pop() {
        for name in image.list(&next)? {
            let spot = next.join(&name);
            let Some(there) = image.find(&spot)? else { continue };
            let name = name.to_string_lossy();
            let is_numbered =
                name.rsplit_once('.').is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()));
            match there.kind {
                // By machine id, which the next machine does not have.
                FileKind::Directory if next.path() == Path::new("/var/log/journal") => rotated.push(spot),
                FileKind::Directory => left.push(spot),
                FileKind::File if is_numbered || ROTATED.iter().any(|end| name.ends_with(end)) => rotated.push(spot),
                FileKind::File if there.size > 0 => others.push(spot),
                _ => {}
            }
        }
    }
    Ok((!rotated.is_empty() || !others.is_empty()).then_some(Action::EmptyEach { rotated, others }))
}

impl Found {
    /// Whether [`remove`](Found::remove) does anything.
    pub(crate) fn is_removable(&self) -> bool {
        self.action != Action::Nothing
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// The first thing that could not be removed; running again goes on there.
    pub(crate) fn remove(&self, image: &Scrubber) -> Result<(), HostError> {
        match &self.action {
            Action::Remove => image.remove(&self.spot),
            Action::RemoveEach(spots) => spots.iter().try_for_each(|spot| image.remove(spot)),
            Action::Empty => image.empty(&self.spot),
            Action::EmptyEach { rotated, others } => {
                rotated.iter().try_for_each(|spot| image.remove(spot))?;
                others.iter().try_for_each(|spot| image.empty(spot))
            }
            Action::Write(content) => image.write(&self.spot, content),
            Action::RemoveLine { line, whole } => remove_line(&self.spot, line, *whole, image),
            Action::RemoveSwap { file, line } => {
                if let Some(file) = file {
                    image.stop_swapping(file)?;
                    image.remove(&Spot::of(file))?;
                }
                // The line last: a run that is killed in between finds the rest by it.
                line.as_ref().map_or(Ok(()), |line| remove_line(&Spot::of(Path::new("/etc/fstab")), line, false, image))
            }
            Action::Nothing => Ok(()),
        }
    }
}

fn remove_line(spot: &Spot, line: &str, whole: bool, image: &Scrubber) -> Result<(), HostError> {
    let Some(content) = image.read(spot, TEXT_LIMIT)? else { return Ok(()) };
    let kept: Vec<&[u8]> =
        content.split_inclusive(|byte| *byte == b'\n').filter(|other| other.trim_ascii() != line.trim().as_bytes()).collect();
    let says_nothing = |line: &&[u8]| matches!(line.trim_ascii_start().first(), None | Some(b'#'));
    if whole && kept.iter().all(says_nothing) { image.remove(spot) } else { image.replace(spot, &kept.concat()) }
}
