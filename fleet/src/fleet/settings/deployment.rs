//! `deployment:` — how a deployment replaces the running release.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::{Batch, Length, Percent};
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::{Alarm, Whole, Word};

/// Maximum number of alarms that CloudFormation watches during an update.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackConfiguration.html>
const MOST_ALARMS: usize = 5;

/// Longest time that CloudFormation watches them after an update, by the same source.
const LONGEST_BAKE: Length = Length::hours(3);

/// How a deployment replaces the running release.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Deployment {
    /// Which instances are replaced when. Default: rolling_with_batch.
    pub(crate) policy: Option<Policy>,
    /// How many instances are replaced at a time: a number, or a share of the running ones. Default: 25%.
    pub(crate) batch: Option<Batch>,
    /// How long alarms are watched after the last instance is replaced, 1m to 3h. Default: not at all.
    pub(crate) bake: Option<Length>,
    /// Names of additional CloudWatch alarms that roll a deployment back, at most five. Default: none.
    pub(crate) alarms: Vec<Word<Alarm>>,
    /// How many failed boots fail a deployment: only 1, since CloudFormation fails an update at the first one.
    /// Default: 1.
    pub(crate) stop_after: Option<Whole<1, 1000>>,
}

/// How the running release is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Policy {
    /// All instances at the same time, with an outage.
    AllAtOnce,
    /// A batch at a time, while the others serve.
    Rolling,
    /// Like `rolling`, but an additional batch is launched first, so that capacity is not reduced.
    RollingWithBatch,
    /// A second group, all or nothing.
    Immutable,
    /// A second group that first gets a share of the requests.
    TrafficSplitting,
    /// The instances stay and switch to the new release.
    InPlace,
}

impl Deployment {
    pub(crate) fn policy(&self) -> Policy {
        self.policy.unwrap_or(Policy::RollingWithBatch)
    }

    pub(crate) fn batch(&self) -> Batch {
        self.batch.unwrap_or(Batch::Share(Percent(25)))
    }

    pub(super) fn check(&self, site: &mut Site<'_>) {
        let why = "CloudFormation watches alarms for whole minutes, at most three hours";
        site.within("deployment.bake", self.bake, Length::minutes(1), LONGEST_BAKE, why);
        if self.bake.is_some_and(|bake| bake.0 > 60 && bake.0 % 60 != 0) {
            site.wrong("deployment.bake", "alarms are watched for whole minutes", "write whole minutes, such as 2m");
        }
        if self.alarms.len() > MOST_ALARMS {
            let message = format!("{} alarms are listed, but CloudFormation watches at most {MOST_ALARMS}", self.alarms.len());
            site.wrong(
                &format!("deployment.alarms.{MOST_ALARMS}"),
                message,
                format!("keep {MOST_ALARMS}, or combine them into a composite alarm"),
            );
        }
        if let Some(Whole(more @ 2..)) = self.stop_after {
            let message =
                format!("a deployment cannot continue until {more} boots have failed: CloudFormation fails an update at the first one");
            site.wrong("deployment.stop_after", message, "write 1, or remove `stop_after`");
        }
        match self.policy() {
            Policy::Immutable if site.tier == Tier::Web && !site.is_group() => {
                let message = "a single web instance cannot have `immutable`: its address would be lost with the new group";
                site.wrong("deployment.policy", message, "write rolling_with_batch, which launches the successor first");
            }
            Policy::TrafficSplitting if !site.is_balanced() => {
                let message = "splitting traffic needs a load balancer, and this environment has none";
                site.wrong("deployment.policy", message, "write another policy, such as rolling_with_batch");
            }
            _ => {}
        }
    }

    pub(super) fn complete(&mut self, mode: Mode) {
        self.policy = Some(self.policy());
        self.stop_after.get_or_insert(Whole(1));
        if mode == Mode::HighlyAvailable {
            self.batch = Some(self.batch());
        }
    }
}
