//! The state of an instance's applications, for display.

use std::rc::Rc;

use serde::Serialize;

use super::ground::Ground;
use super::memory::{Memory, Moment};
use crate::host::state::Record;
use crate::host::{Host, HostError, Unit};

/// An application, and the release that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) release: String,
    pub(crate) generation: u32,
    /// When it started to receive requests, in RFC 3339.
    pub(crate) since: Option<String>,
    /// Whether requests are routed to it. After a reboot they may not be until `ingot boot` has run, although the
    /// record says that it serves.
    pub(crate) is_led: bool,
    pub(crate) processes: Vec<Process>,
    /// The release that served before it.
    pub(crate) before: Option<Before>,
}

/// A process of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// `ActiveState` of its unit.
    pub(crate) state: String,
    /// How often systemd has restarted it.
    pub(crate) restarts: u32,
    /// When it was last started, in RFC 3339.
    pub(crate) since: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Before {
    pub(crate) version: String,
    /// When it was stopped, in RFC 3339.
    pub(crate) until: String,
}

/// Reads the state of all applications of an instance. Only root may read their records.
///
/// # Errors
///
/// If the records cannot be read, or systemd does not answer.
pub(crate) async fn status(instance: &str, host: &Host) -> Result<Vec<Status>, HostError> {
    let mut found = Vec::new();
    for name in Record::application_names(&*host.files, instance).await? {
        let record = Record::glance(Rc::clone(&host.files), instance, &name).await?;
        let moment = Moment { boot_id: "", clock: &*host.clock };
        let ground = Ground { application: &name, host, memory: Memory { record: &record, moment } };
        let is_led = ground.found().await?.is_led;
        let Some((_, placed)) = ground.serving() else { continue };
        let mut processes = Vec::new();
        for (process, unit) in ground.states(&placed).await? {
            let since = came_up(&unit);
            let Unit { active: state, restarts, .. } = unit;
            processes.push(Process { unit: placed.unit(&process), name: process, state, restarts, since });
        }
        let before = ground.memory.before().map(|(version, until)| Before { version, until });
        let since = ground.memory.since();
        let (generation, of) = (placed.number, placed.generation);
        let release = of.release.display().to_string();
        found.push(Status { name, version: of.version, release, generation, since, is_led, processes, before });
    }
    Ok(found)
}

fn came_up(unit: &Unit) -> Option<String> {
    let is_up = unit.active == "active" && unit.up_since > 0;
    is_up.then(|| jiff::Timestamp::from_second(unit.up_since / 1_000_000).ok()).flatten().map(|since| since.to_string())
}

impl Status {
    /// Several lines for a terminal.
    pub(crate) fn text(&self) -> String {
        let since = self.since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
        let before =
            self.before.as_ref().map_or_else(String::new, |before| format!(", before it {} until {}", before.version, before.until));
        let led = if self.is_led { "" } else { " (gets no requests)" };
        let mut text = format!("applications.{}: {}{since}{led}{before}\n", self.name, self.version);
        for process in &self.processes {
            let since = process.since.as_ref().map_or_else(String::new, |since| format!(" since {since}"));
            let restarts = match process.restarts {
                0 => String::new(),
                1 => ", restarted once".to_owned(),
                times => format!(", restarted {times} times"),
            };
            text.push_str(&format!("  {}: {}{since}{restarts}\n", process.name, process.state));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_process() {
        let text = |text: &str| text.to_owned();
        let process = |name: &str, restarts, since: Option<&str>| Process {
            name: text(name),
            unit: format!("shop.{name}-2.service"),
            state: text(if since.is_some() { "active" } else { "inactive" }),
            restarts,
            since: since.map(text),
        };
        let status = Status {
            name: text("shop"),
            version: text("shop-1.2.4"),
            release: text("/opt/shop/releases/shop-1.2.4"),
            generation: 2,
            since: Some(text("2026-11-30T06:00:00Z")),
            is_led: true,
            processes: vec![process("web", 0, Some("2026-11-30T05:59:59Z")), process("jobs", 3, None)],
            before: Some(Before { version: text("shop-1.2.3"), until: text("2026-11-30T06:00:02Z") }),
        };
        insta::assert_snapshot!(status.text(), @r"
        applications.shop: shop-1.2.4 since 2026-11-30T06:00:00Z, before it shop-1.2.3 until 2026-11-30T06:00:02Z
          web: active since 2026-11-30T05:59:59Z
          jobs: inactive, restarted 3 times
        ");
    }
}
