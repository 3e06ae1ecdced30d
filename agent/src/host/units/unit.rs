//! What systemd knows about a unit, parsed from its properties.

use std::collections::BTreeMap;

use super::exec::{Ended, Helper};
use super::wire::{ENTRY, PART};

/// The properties read from a unit, by the names that `systemctl show` uses.
pub(super) const PROPERTIES: &[&str] = &[
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "Type",
    "After",
    "Requires",
    "BindsTo",
    "Wants",
    "Upholds",
    "Conflicts",
    "ConflictedBy",
    "TriggeredBy",
    "Job",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecCondition",
    "ExecStartPre",
    "ExecStartPost",
    "RemainAfterExit",
    "RemainAfterElapse",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "Conditions",
    "AssertResult",
    "AssertTimestampMonotonic",
    "Asserts",
    "CanReload",
    "ActiveEnterTimestamp",
];

/// What systemd has reported about an object in notifications: the latest values of its properties, limited to
/// [`PROPERTIES`].
pub(super) type Told = BTreeMap<String, String>;

/// What systemd knows about a unit; the values are those that `systemctl show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unit {
    /// Id
    pub(crate) id: String,
    /// LoadState: loaded, not-found, masked, bad-setting, error
    pub(crate) load: String,
    /// ActiveState: active, reloading, inactive, failed, activating, deactivating
    pub(crate) active: String,
    /// SubState
    pub(crate) sub: String,
    /// Result: success, exit-code, signal, timeout, start-limit-hit …
    pub(crate) result: String,
    /// NRestarts
    pub(crate) restarts: u32,
    /// Type, of a service: simple, exec, forking, oneshot, notify …; empty for other units
    pub(crate) service_type: String,
    /// RemainAfterExit
    pub(crate) remains: bool,
    /// Whether RemainAfterElapse is no: the timer is unloaded after it has elapsed for the last time
    pub(crate) ends_elapsed: bool,
    /// After
    pub(crate) after: Vec<String>,
    /// Requires, BindsTo, Wants, Upholds: the units that are started with it
    pub(crate) pulls: Vec<String>,
    /// Conflicts, ConflictedBy: the units that its start stops, and those whose start stops it
    pub(crate) conflicts: Vec<String>,
    /// TriggeredBy: the sockets, paths and timers that start it
    pub(crate) triggered_by: Vec<String>,
    /// Whether a job for it is queued or running (Job is not 0)
    pub(crate) job: bool,
    /// NeedDaemonReload
    pub(crate) stale: bool,
    /// FragmentPath
    pub(crate) fragment: String,
    /// DropInPaths
    pub(crate) drop_ins: Vec<String>,
    /// How its main process ended, if it has: ExecMainCode and ExecMainStatus
    pub(crate) main: Ended,
    /// The first auxiliary program that failed, of ExecCondition, ExecStartPre, ExecStartPost
    pub(crate) helper: Option<Helper>,
    /// ConditionResult
    pub(crate) condition: Checked,
    /// AssertResult
    pub(crate) assertion: Checked,
    /// Conditions, Asserts: those that were not met or have not been checked, written as in a unit file, with true if
    /// not met. systemctl does not show them.
    pub(crate) conditions: Vec<(String, bool)>,
    /// CanReload
    pub(crate) can_reload: bool,
    /// ActiveEnterTimestamp: when it last became active, in microseconds since 1970; 0 if never
    pub(crate) up_since: i64,
}

/// The result of a unit's conditions at its last start attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checked {
    met: bool,
    /// Whether they have been checked since systemd loaded the unit.
    at_all: bool,
}

impl Checked {
    pub(crate) const UNMET: Self = Self { met: false, at_all: true };
    pub(crate) const MET: Self = Self { met: true, at_all: true };

    pub(crate) fn is_unmet(self) -> bool {
        self.at_all && !self.met
    }
}

impl Unit {
    /// Whether systemd has no memory of its last run: there was no attempt to start it since it was loaded.
    pub(super) fn is_forgotten(&self) -> bool {
        self.active == "inactive" && !self.condition.at_all && !self.assertion.at_all
    }

    /// The same, with what systemd reported about it before it was unloaded.
    pub(super) fn remembering(self, told: &Told) -> Self {
        let lasting = told.iter().filter(|(name, _)| !matches!(name.as_str(), "ActiveState" | "SubState" | "Job"));
        lasting.fold(self, |unit, (name, value)| unit.with((name.as_str(), value.as_str())))
    }

    /// The same, with one more property from [`PROPERTIES`].
    pub(super) fn with(mut self, (name, value): (&str, &str)) -> Self {
        let text = || value.to_owned();
        let list = || value.split_whitespace().map(str::to_owned);
        match name {
            "Id" => self.id = text(),
            "LoadState" => self.load = text(),
            "ActiveState" => self.active = text(),
            "SubState" => self.sub = text(),
            "Result" => self.result = text(),
            "NRestarts" => self.restarts = value.parse().unwrap_or(0),
            "Type" => self.service_type = text(),
            "RemainAfterExit" => self.remains = value == "yes",
            "RemainAfterElapse" => self.ends_elapsed = value == "no",
            "After" => self.after = list().collect(),
            "Requires" | "BindsTo" | "Wants" | "Upholds" => self.pulls.extend(list()),
            "Conflicts" | "ConflictedBy" => self.conflicts.extend(list()),
            "TriggeredBy" => self.triggered_by = list().collect(),
            // Without a job, depending on the version of systemd, the line is missing, empty or 0.
            "Job" => self.job = !matches!(value.split([' ', PART]).next(), None | Some("" | "0")),
            "NeedDaemonReload" => self.stale = value == "yes",
            "FragmentPath" => self.fragment = text(),
            "DropInPaths" => self.drop_ins = list().collect(),
            "ExecMainCode" => self.main.code = value.parse().unwrap_or(0),
            "ExecMainStatus" => self.main.status = value.parse().unwrap_or(0),
            "ExecCondition" | "ExecStartPre" | "ExecStartPost" => self.helper = self.helper.or_else(|| Helper::bad(name, value)),
            "ConditionResult" => self.condition.met = value == "yes",
            "ConditionTimestampMonotonic" => self.condition.at_all = value != "0",
            "AssertResult" => self.assertion.met = value == "yes",
            "AssertTimestampMonotonic" => self.assertion.at_all = value != "0",
            "Conditions" | "Asserts" => self.conditions.extend(value.split(ENTRY).filter_map(condition)),
            "CanReload" => self.can_reload = value == "yes",
            "ActiveEnterTimestamp" => self.up_since = value.parse().unwrap_or(0),
            _ => {}
        }
        self
    }
}

/// One condition or assertion, written as in a unit file, unless it was met.
fn condition(entry: &str) -> Option<(String, bool)> {
    let mut parts = entry.split(PART);
    let (setting, trigger, negate, value, state) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mark = |is: &str, mark: &'static str| if is == "yes" { mark } else { "" };
    // Positive if it was met, 0 if it has not been checked.
    let state: i32 = state.parse().ok()?;
    (state <= 0).then(|| (format!("{setting}={}{}{value}", mark(trigger, "|"), mark(negate, "!")), state < 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told_as_they_are_written() {
        let told = "ConditionPathExists\u{1f}no\u{1f}no\u{1f}/there\u{1f}1\u{1f}\u{1e}\
                    ConditionPathExists\u{1f}no\u{1f}yes\u{1f}/etc/a file\u{1f}-1\u{1f}\u{1e}\
                    ConditionHost\u{1f}yes\u{1f}no\u{1f}x\u{1f}-1\u{1f}\u{1e}\
                    ConditionUser\u{1f}no\u{1f}no\u{1f}x\u{1f}0\u{1f}";
        let unit = Unit::default().with(("Conditions", told)).with(("Asserts", ""));
        let told = |text: &str, unmet: bool| (text.to_owned(), unmet);
        let known = [told("ConditionPathExists=!/etc/a file", true), told("ConditionHost=|x", true), told("ConditionUser=x", false)];
        assert_eq!(unit.conditions, known);
        let unit = unit.with(("ConditionResult", "no")).with(("ConditionTimestampMonotonic", "0"));
        assert!(!unit.condition.is_unmet(), "nobody has looked yet");
        assert!(unit.with(("ConditionTimestampMonotonic", "123")).condition.is_unmet());
    }

    /// A oneshot that was skipped looked like one that had succeeded.
    #[test]
    fn what_systemd_has_forgotten_it_has_told_before() {
        let told = [("ActiveState", "activating"), ("ConditionResult", "no"), ("ConditionTimestampMonotonic", "7"), ("Result", "success")];
        let told: Told = told.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let blank = Unit { active: "inactive".into(), ..Unit::default() }.with(("ConditionTimestampMonotonic", "0"));
        assert!(blank.is_forgotten());
        let unit = blank.remembering(&told);
        assert!(unit.condition.is_unmet() && unit.active == "inactive");
    }
}
