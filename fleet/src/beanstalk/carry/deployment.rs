//! Deployment policies and alarms.

use ingot::desk::Value;

use super::super::options::Setting;
use super::{Carry, boolean, string, whole};
use crate::fleet::Mode;

const COMMAND: &str = "aws:elasticbeanstalk:command";
const UPDATES: &str = "aws:elasticbeanstalk:managedactions:platformupdate";
const TOPICS: &str = "aws:elasticbeanstalk:sns:topics";

impl Carry {
    pub(super) fn deployment(&mut self) {
        let (min, max) = (self.number("instances.min").unwrap_or(1).max(1), self.number("instances.max").unwrap_or(4));
        // Without a type, the batch size is a percentage.
        let kind = self.options.take(COMMAND, "BatchSizeType").map_or("Percentage".to_owned(), |kind| kind.value);
        let batch = self.options.take(COMMAND, "BatchSize");
        let Some(policy) = self.options.take(COMMAND, "DeploymentPolicy") else {
            self.notes.push(
                "no file names a deployment policy: `deployment.policy` is rolling_with_batch, instead of Elastic Beanstalk's AllAtOnce"
                    .into(),
            );
            return self.policy("rolling_with_batch", (&kind, batch), (min, max));
        };
        let named = match policy.value.as_str() {
            "AllAtOnce" => "all_at_once",
            "Rolling" => "rolling",
            "RollingWithAdditionalBatch" => "rolling_with_batch",
            "Immutable" if self.mode == Mode::HighlyAvailable => "immutable",
            "Immutable" => {
                self.notes.push("`deployment.policy` is rolling_with_batch: a single instance cannot have immutable".into());
                "rolling_with_batch"
            }
            _ => {
                self.leave(
                    &policy,
                    "write a policy in `deployment.policy`; until then, it is rolling_with_batch, or a policy that fits the group's size",
                );
                return self.policy("rolling_with_batch", (&kind, batch), (min, max));
            }
        };
        self.policy(named, (&kind, batch), (min, max));
        self.carried.push((policy, "deployment.policy".into()));
    }

    fn policy(&mut self, named: &str, (kind, size): (&str, Option<Setting>), (min, max): (u64, u64)) {
        self.batch(kind, size, named);
        self.draft.set("deployment.policy", string(named));
        self.fit(named, min, max);
    }

    /// Converts the batch size, if the policy has batches.
    fn batch(&mut self, kind: &str, size: Option<Setting>, policy: &str) {
        let Some(size) = size else { return };
        let is_share = kind != "Fixed";
        if self.mode == Mode::SingleInstance || !matches!(policy, "rolling" | "rolling_with_batch") {
            return;
        }
        // 100% is Elastic Beanstalk's default, whatever the policy.
        if is_share && size.value.trim() == "100" {
            return self
                .notes
                .push("`deployment.batch` is 25%, instead of Elastic Beanstalk's 100%, which is all instances at once".into());
        }
        let share = |text: &str| whole(text, 1, 99).map(|_| string(format!("{}%", text.trim())));
        match if is_share { share(&size.value) } else { whole(&size.value, 1, 1000) } {
            Some(batch) => self.carry(size, "deployment.batch", batch),
            None => self.leave(&size, "write a number or a share in `deployment.batch`, such as 25%"),
        }
    }

    /// Replaces a policy that CloudFormation cannot carry out with these sizes.
    fn fit(&mut self, policy: &str, min: u64, max: u64) {
        if self.mode == Mode::SingleInstance {
            return;
        }
        let batch = match self.draft.value("deployment.batch") {
            Some(Value::Number(batch)) => batch.parse().unwrap_or(1),
            Some(Value::String(share)) => (min * share.trim_end_matches('%').parse::<u64>().unwrap_or(25)).div_ceil(100),
            _ => (min * 25).div_ceil(100),
        };
        let fitting = match policy {
            "rolling" if batch >= min && min + batch <= max => Some("rolling_with_batch"),
            "rolling_with_batch" if min + batch > max && batch < min => Some("rolling"),
            "rolling" if batch >= min => Some("immutable"),
            "rolling_with_batch" if min + batch > max => Some("immutable"),
            _ => None,
        };
        if let Some(fitting) = fitting {
            let message =
                format!("`deployment.policy` is {fitting}: {policy} with batches of {batch} does not work with {min} to {max} instances");
            self.notes.push(message);
            self.draft.set("deployment.policy", string(fitting));
        }
    }

    /// Converts the weekly replacement of instances. Its time is not one of the user's.
    pub(super) fn refresh(&mut self) {
        let Some(setting) = self.options.take(UPDATES, "InstanceRefreshEnabled") else { return };
        match boolean(&setting.value) {
            Some(true) => self.carry(setting, "refresh", string("weekly")),
            _ => self.options.add(setting),
        }
    }

    fn number(&self, path: &str) -> Option<u64> {
        match self.draft.value(path) {
            Some(Value::Number(number)) => number.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn alarms(&mut self) {
        let protocol = self.options.take(TOPICS, "Notification Protocol").map_or("email".to_owned(), |setting| setting.value);
        if protocol == "email" {
            let advice = "subscribe to the topic of the stack";
            self.take((TOPICS, "Notification Endpoint"), "alarms.email", |text| text.contains('@').then(|| string(text)), advice);
        }
    }
}
