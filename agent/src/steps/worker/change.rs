//! The differences between a worker and its wanted state.

use std::fmt;

use super::trouble::WorkerError;
use crate::host::Unit;
use crate::steps::install;

/// One difference between a worker and its wanted state.
pub(crate) enum Change {
    /// Its settings.
    File(install::Change),
    /// systemd does not start a unit that hit its start limit.
    ResetFailed {
        unit: String,
    },
    Start {
        unit: String,
    },
    /// It runs with outdated settings.
    Restart {
        unit: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(change) => change.fmt(f),
            Self::ResetFailed { unit } => write!(f, "reset the failed state of {unit}"),
            Self::Start { unit } => write!(f, "start {unit}"),
            Self::Restart { unit } => write!(f, "restart {unit} with its new settings, once it has finished what it has in hand"),
        }
    }
}

/// What has to be done about its unit, `name`; `is_current` says whether it was last started with the current settings.
pub(super) fn starts(name: &str, unit: &Unit, is_current: bool) -> Result<Vec<Change>, WorkerError> {
    if unit.load != "loaded" {
        return Err(WorkerError::NoUnit { unit: name.to_owned(), load: unit.load.clone() });
    }
    let name = || name.to_owned();
    Ok(match unit.active.as_str() {
        "active" | "reloading" if is_current => Vec::new(),
        // A worker that is just starting may have read its old settings.
        "active" | "reloading" | "activating" => vec![Change::Restart { unit: name() }],
        "failed" => vec![Change::ResetFailed { unit: name() }, Change::Start { unit: name() }],
        _ => vec![Change::Start { unit: name() }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ingot-worker@jobs.service";

    fn lines(active: &str, is_current: bool) -> Vec<String> {
        let unit = Unit { load: "loaded".into(), active: active.into(), ..Unit::default() };
        starts(NAME, &unit, is_current).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_that_runs_with_its_settings_is_left_alone() {
        assert_eq!(lines("active", true), [""; 0]);
        let restart = "restart ingot-worker@jobs.service with its new settings, once it has finished what it has in hand";
        assert_eq!(lines("active", false), [restart]);
        assert_eq!(lines("inactive", true), ["start ingot-worker@jobs.service"]);
        assert_eq!(lines("failed", false), ["reset the failed state of ingot-worker@jobs.service", "start ingot-worker@jobs.service"]);
    }

    #[test]
    fn an_image_without_its_unit_is_told() {
        let error = starts(NAME, &Unit { load: "not-found".into(), ..Unit::default() }, false).err().unwrap();
        assert_eq!(error.to_string(), "systemd has no unit ingot-worker@jobs.service (not-found)");
    }
}
