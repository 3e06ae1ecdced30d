//! Presets: which units systemd enables by itself at the first boot of a machine.
//!
//! Source: systemd.preset(5). A file overrides those of the same name in later directories; files are ordered by name;
//! the first line that matches decides, and without a match, a unit is enabled.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

const DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system-preset", "/usr/local/lib/systemd/system-preset", "/usr/lib/systemd/system-preset", "/lib/systemd/system-preset"];

/// Whether units that no preset names stay disabled.
pub(crate) fn disable_by_default(image: &Scrubber) -> Result<bool, HostError> {
    Ok(rules(image)?.iter().any(|(enable, pattern)| !enable && pattern == "*"))
}

/// Whether presets would enable `unit`.
pub(super) fn enables(unit: &str, image: &Scrubber) -> Result<bool, HostError> {
    let fits = |pattern: &str| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(unit));
    Ok(rules(image)?.iter().find(|(_, pattern)| fits(pattern)).is_none_or(|(enable, _)| *enable))
}

/// Every line in the order in which they are tried: whether it enables, and its pattern.
fn rules(image: &Scrubber) -> Result<Vec<(bool, String)>, HostError> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        let directory = Spot::below(Path::new(directory), "");
        for name in image.list(&directory)?.into_iter().filter(|name| name.extension().is_some_and(|end| end == "preset")) {
            let spot = directory.join(&name);
            if let Entry::Vacant(vacant) = files.entry(name) {
                let content = image.read(&spot, 1 << 20)?.unwrap_or_default();
                vacant.insert(String::from_utf8_lossy(&content).into_owned());
            }
        }
    }
    let rule = |line: &str| {
        let mut words = line.split_whitespace();
        let enable = match words.next()? {
            "enable" => true,
            "disable" => false,
            _ => return None,
        };
        Some((enable, words.next()?.to_owned()))
    };
    Ok(files.values().flat_map(|text| text.lines().filter_map(rule)).collect())
}
