//! The freeze of an environment: it does not change by itself, and nothing new is deployed to it. Pure.
//!
//! The object `deployments/freeze.json` is next to the records, so the right to deploy includes the right to freeze.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Schema that this version writes and reads.
const SCHEMA: u32 = 1;

/// Processes through which an Auto Scaling group changes by itself. `Launch`, `Terminate` and `AddToLoadBalancer` stay
/// active, since `rollback` and `scale` need them. So does `HealthCheck`, which only marks instances as unhealthy.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html>
pub(crate) const PROCESSES: [&str; 5] = ["AZRebalance", "AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"];

/// A freeze or its end: who and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freeze {
    schema: u32,
    pub(crate) is_frozen: bool,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    /// The processes suspended for this freeze, without those suspended before it.
    pub(crate) suspended: Vec<String>,
}

impl Freeze {
    /// A new freeze. `suspended` lists the processes that were already suspended.
    pub(crate) fn on(by: &str, at: Timestamp, suspended: &[String]) -> Self {
        let ours = PROCESSES.iter().map(|name| (*name).to_owned()).filter(|name| !suspended.contains(name));
        Self { schema: SCHEMA, is_frozen: true, by: by.to_owned(), at, suspended: ours.collect() }
    }

    pub(crate) fn off(by: &str, at: Timestamp) -> Self {
        Self { schema: SCHEMA, is_frozen: false, by: by.to_owned(), at, suspended: Vec::new() }
    }

    /// Returns `None` if the content is not in this version's format.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|freeze: &Self| freeze.schema == SCHEMA)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("it has only strings for keys");
        content.push(b'\n');
        content
    }

    /// Returns the processes that run in a group although this freeze suspended them.
    pub(crate) fn going_on<'a>(&'a self, suspended: &[String]) -> Vec<&'a str> {
        self.suspended.iter().filter(|name| !suspended.contains(name)).map(String::as_str).collect()
    }

    /// Describes the freeze: since when, and by whom.
    pub(crate) fn told(&self, environment: &str) -> String {
        format!("{environment} is frozen (since {}, by {})", self.at, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_suspended_by_the_freeze_are_resumed() {
        let at = "2026-11-30T23:00:00Z".parse().unwrap();
        let freeze = Freeze::on("ann", at, &["AZRebalance".to_owned()]);
        assert_eq!(freeze.suspended, ["AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"]);
        assert_eq!(
            freeze.going_on(&["AlarmNotification".to_owned(), "ReplaceUnhealthy".to_owned()]),
            ["InstanceRefresh", "ScheduledActions"]
        );
        assert_eq!(freeze.told("prod"), "prod is frozen (since 2026-11-30T23:00:00Z, by ann)");
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let freeze = Freeze::on("ann", "2026-11-30T23:00:00Z".parse().unwrap(), &[]);
        assert_eq!(Freeze::read(&freeze.write()), Some(freeze.clone()));
        let text = String::from_utf8(freeze.write()).unwrap();
        for other in [text.replace("\"schema\": 1", "\"schema\": 2"), text.replacen('{', "{\"more\": 1,", 1), "{}".to_owned()] {
            assert_eq!(Freeze::read(other.as_bytes()), None, "{other}");
        }
    }
}
