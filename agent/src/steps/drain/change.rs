//! The differences between a drain and its wanted state.

use std::fmt;

use super::settings::UNIT;
use super::trouble::DrainError;
use crate::host::Unit;
use crate::steps::install;

/// One difference between a drain and its wanted state.
pub(crate) enum Change {
    /// This machine was drained and has to work again, so the recorded drain is discarded and can be repeated.
    Forget,
    /// Its settings.
    File(install::Change),
    /// systemd does not start a unit that hit its start limit.
    ResetFailed,
    Start,
    /// It runs with outdated settings.
    Restart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forget => f.write_str("forget that this machine was drained"),
            Self::File(change) => change.fmt(f),
            Self::ResetFailed => write!(f, "reset the failed state of {UNIT}"),
            Self::Start => write!(f, "start {UNIT}"),
            Self::Restart => write!(f, "restart {UNIT} with its new settings"),
        }
    }
}

/// What has to be done about its unit; `is_current` says whether it was last started with the current settings.
pub(super) fn starts(unit: &Unit, is_current: bool) -> Result<Vec<Change>, DrainError> {
    if unit.load != "loaded" {
        return Err(DrainError::NoUnit { load: unit.load.clone() });
    }
    Ok(match unit.active.as_str() {
        "active" | "reloading" if is_current => Vec::new(),
        "active" | "reloading" | "activating" => vec![Change::Restart],
        "failed" => vec![Change::ResetFailed, Change::Start],
        _ => vec![Change::Start],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(load: &str, active: &str, is_current: bool) -> Result<Vec<String>, String> {
        let unit = Unit { load: load.into(), active: active.into(), ..Unit::default() };
        let changes = starts(&unit, is_current).map_err(|error| error.to_string())?;
        Ok(changes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_that_runs_with_its_settings_is_left_alone() {
        assert_eq!(lines("loaded", "active", true).unwrap(), [""; 0]);
        assert_eq!(lines("loaded", "active", false).unwrap(), ["restart ingot-drain.service with its new settings"]);
        assert_eq!(lines("loaded", "inactive", true).unwrap(), ["start ingot-drain.service"]);
        assert_eq!(lines("loaded", "failed", true).unwrap().len(), 2);
        assert_eq!(lines("not-found", "inactive", true).unwrap_err(), "systemd has no unit ingot-drain.service (not-found)");
    }
}
