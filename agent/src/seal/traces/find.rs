//! Goes through the list of traces, and determines which of them the image has.

use std::path::Path;

use super::found::{Action, Found, one};
use super::{Removal, TRACES, Trace, homes, keys, machine_id, network, swap};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};

/// Every trace that the image has.
pub(crate) fn find(image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let mut found = Vec::new();
    let homes = image.homes()?;
    let persons = homes::of_persons(&homes, image)?;
    for trace in TRACES {
        if trace.removal == Removal::Swap {
            found.extend(swap::find(trace, image)?);
            continue;
        }
        for at in trace.at {
            let below = |homes, pattern| Some((homes, Path::new(pattern)));
            let person = at.strip_prefix("~person/").and_then(|pattern| below(&persons, pattern));
            let mut spots = Vec::new();
            match person.or_else(|| at.strip_prefix("~/").and_then(|pattern| below(&homes, pattern))) {
                None => spots = image.matching(at)?,
                Some((homes, pattern)) => {
                    for home in homes {
                        spots.extend(image.below(home, pattern)?);
                    }
                }
            }
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
        // A link to the machine id, such as that of dbus, contains nothing; cloud-init's link to
        // its last instance does.
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
        Removal::Mailname => network::mailname(&spot, image)?,
        Removal::Named { goes } => return network::named(trace, &spot, goes, image),
        Removal::Initiator => network::initiator(&spot, image)?,
        Removal::EngineId => return network::engine_id(trace, &spot, image),
        Removal::LaunchKeys => return keys::find(trace, &spot, image),
        Removal::Swap => None,
    };
    Ok(action.map(|action| one(trace, spot, None, action)).into_iter().collect())
}

/// The suffixes of logs that are no longer written to.
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
                // Named after the machine id, which will be different.
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
