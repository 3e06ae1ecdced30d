//! What systemd knows of a unit, and how it is read from properties.

/// What is asked of a unit, as `systemctl show` names it.
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
    "Job",
    "NeedDaemonReload",
    "FragmentPath",
    "ExecMainStatus",
    "CanReload",
];

/// What systemd knows of a unit; each field as `systemctl show` names and spells it.
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
    /// After
    pub(crate) after: Vec<String>,
    /// Requires, BindsTo, Wants, Upholds: what is started with it
    pub(crate) pulls: Vec<String>,
    /// Whether a job for it is queued or running (Job is not 0)
    pub(crate) job: bool,
    /// NeedDaemonReload
    pub(crate) stale: bool,
    /// FragmentPath
    pub(crate) fragment: String,
    /// ExecMainStatus
    pub(crate) exit_status: i32,
    /// CanReload
    pub(crate) can_reload: bool,
}

impl Unit {
    /// The same, with one more property of [`PROPERTIES`].
    pub(super) fn with(mut self, (name, value): (&str, &str)) -> Self {
        let text = || value.to_owned();
        match name {
            "Id" => self.id = text(),
            "LoadState" => self.load = text(),
            "ActiveState" => self.active = text(),
            "SubState" => self.sub = text(),
            "Result" => self.result = text(),
            "NRestarts" => self.restarts = value.parse().unwrap_or(0),
            "Type" => self.service_type = text(),
            "After" => self.after = value.split_whitespace().map(str::to_owned).collect(),
            "Requires" | "BindsTo" | "Wants" | "Upholds" => self.pulls.extend(value.split_whitespace().map(str::to_owned)),
            // No line, an empty one or 0 if there is no job, by the version of systemd.
            "Job" => self.job = !matches!(value.split(' ').next(), None | Some("" | "0")),
            "NeedDaemonReload" => self.stale = value == "yes",
            "FragmentPath" => self.fragment = text(),
            "ExecMainStatus" => self.exit_status = value.parse().unwrap_or(0),
            "CanReload" => self.can_reload = value == "yes",
            _ => {}
        }
        self
    }
}
