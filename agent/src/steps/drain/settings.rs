//! The settings with which a drain is started: written by the boot, read by `ingot drain`, without secrets.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::steps::worker;

/// The unit that watches for the end of the machine.
pub(crate) const UNIT: &str = "ingot-drain.service";

/// Everything that a drain has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Settings {
    /// The address of its step.
    pub(crate) address: String,
    /// The name of this machine's records.
    pub(crate) record: String,
    pub(crate) hook: Option<Hook>,
    pub(crate) grace_ms: u64,
    pub(crate) deregistration_ms: u64,
    /// ARNs of target groups.
    pub(crate) targets: Vec<String>,
    pub(crate) spot: bool,
    pub(crate) rebalance: bool,
    /// Services, applications, workers and mounts, by address, each after those that it depends on.
    pub(crate) serving: Vec<String>,
    /// Buckets and prefixes.
    pub(crate) evidence: Vec<String>,
    /// The ports of applications and of their proxy. Fields added in later versions need a default, because a watcher
    /// may read settings of another version.
    #[serde(default)]
    pub(crate) ports: Vec<u16>,
}

/// A lifecycle hook that waits for the end of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hook {
    /// Default: the only such hook of the group.
    pub(crate) name: Option<String>,
    /// Default: the group of this instance.
    pub(crate) group: Option<String>,
}

impl Settings {
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub(crate) fn deregistration(&self) -> Duration {
        Duration::from_millis(self.deregistration_ms)
    }

    /// Services and applications, in reverse order of their start.
    pub(crate) fn last_first(&self) -> impl Iterator<Item = &String> {
        self.serving.iter().rev().filter(|address| address.starts_with("services.") || address.starts_with("applications."))
    }

    /// Whether anything serves requests.
    pub(crate) fn serves(&self) -> bool {
        self.last_first().next().is_some()
    }

    /// The units of the document that a shutdown stops only after the drain. Units of applications declare this
    /// themselves.
    pub(crate) fn later(&self) -> impl Iterator<Item = String> {
        self.serving.iter().filter_map(|address| match address.split_once('.')? {
            ("services", unit) => Some(unit.to_owned()),
            ("workers", name) => Some(worker::unit(name)),
            ("mounts", path) => path.strip_prefix('/').map(mount_unit),
            _ => None,
        })
    }

    /// The units of `services:`, each after those that it depends on.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.serving.iter().filter_map(|address| address.strip_prefix("services."))
    }
}

/// The name of systemd's mount unit for a path without its leading slash.
///
/// Source: systemd.unit(5), "String Escaping for Inclusion in Unit Names".
fn mount_unit(path: &str) -> String {
    let mut name = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        name.push_str(if name.is_empty() { "" } else { "-" });
        for byte in part.bytes() {
            match byte {
                b'.' if name.is_empty() => name.push_str("\\x2e"),
                b':' | b'_' | b'.' => name.push(byte.into()),
                byte if byte.is_ascii_alphanumeric() => name.push(byte.into()),
                byte => {
                    let _ = write!(name, "\\x{byte:02x}");
                }
            }
        }
    }
    if name.is_empty() { "-.mount".into() } else { name + ".mount" }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected names are the output of `systemd-escape --path --suffix=mount`.
    #[test]
    fn mounts_have_the_units_that_systemd_gives_them() {
        let cases = [
            ("srv/shop", "srv-shop.mount"),
            ("srv//my-data/", r"srv-my\x2ddata.mount"),
            (".a/ü b", r"\x2ea-\xc3\xbc\x20b.mount"),
            ("", "-.mount"),
        ];
        for (path, unit) in cases {
            assert_eq!(mount_unit(path), unit);
        }
    }
}
