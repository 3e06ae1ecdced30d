//! Whether an environment is frozen: nothing changes it by itself, and nothing new is deployed to it. Pure.
//!
//! The object is `deployments/freeze.json`, beside the records: whoever may begin a deployment may also forbid them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What this version writes and reads.
const SCHEMA: u32 = 1;

/// Processes of an Auto Scaling group by which it changes without being told to. `Launch`, `Terminate` and
/// `AddToLoadBalancer` go on: `rollback` and `scale` need them. So does `HealthCheck`, which only says what is unhealthy.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html>
pub(crate) const PROCESSES: [&str; 5] = ["AZRebalance", "AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"];

/// Who froze an environment, or ended that, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freeze {
    schema: u32,
    pub(crate) is_frozen: bool,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    /// The processes that were suspended for it, and not before it by somebody else.
    pub(crate) suspended: Vec<String>,
}

impl Freeze {
    /// Frozen. `suspended` are the processes that somebody has suspended before.
    pub(crate) fn on(by: &str, at: Timestamp, suspended: &[String]) -> Self {
        let ours = PROCESSES.iter().map(|name| (*name).to_owned()).filter(|name| !suspended.contains(name));
        Self { schema: SCHEMA, is_frozen: true, by: by.to_owned(), at, suspended: ours.collect() }
    }

    pub(crate) fn off(by: &str, at: Timestamp) -> Self {
        Self { schema: SCHEMA, is_frozen: false, by: by.to_owned(), at, suspended: Vec::new() }
    }

    /// `None` if it is not one that this version writes.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|freeze: &Self| freeze.schema == SCHEMA)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("it has only strings for keys");
        content.push(b'\n');
        content
    }

    /// The processes that go on in a group although they were suspended for this.
    pub(crate) fn going_on<'a>(&'a self, suspended: &[String]) -> Vec<&'a str> {
        self.suspended.iter().filter(|name| !suspended.contains(name)).map(String::as_str).collect()
    }

    /// Since when, and by whom.
    pub(crate) fn told(&self, environment: &str) -> String {
        format!("{environment} is frozen since {} by {}", self.at, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_suspended_before_is_resumed() {
        let at = "2026-11-30T23:00:00Z".parse().unwrap();
        let freeze = Freeze::on("ann", at, &["AZRebalance".to_owned()]);
        assert_eq!(freeze.suspended, ["AlarmNotification", "InstanceRefresh", "ReplaceUnhealthy", "ScheduledActions"]);
        assert_eq!(
            freeze.going_on(&["AlarmNotification".to_owned(), "ReplaceUnhealthy".to_owned()]),
            ["InstanceRefresh", "ScheduledActions"]
        );
        assert_eq!(freeze.told("prod"), "prod is frozen since 2026-11-30T23:00:00Z by ann");
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
