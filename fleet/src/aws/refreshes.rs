//! Instance refreshes of a group.

use aws_sdk_autoscaling::types::InstanceRefresh;
use jiff::Timestamp;

use super::activities::of_aws;
use super::groups::Groups;
use super::trouble::{self, Call};
use crate::failure::Failure;
use crate::story::Refresh;

impl Groups {
    /// Returns the newest refreshes of a group that have not ended before `since`, oldest first.
    pub(crate) async fn refreshes(&self, group: &str, since: Timestamp) -> Result<Vec<Refresh>, Failure> {
        let on = format!("the group {group}");
        let call = Call { action: "autoscaling:DescribeInstanceRefreshes", doing: "read", on, region: &self.region };
        let answer = self.scaling.describe_instance_refreshes().auto_scaling_group_name(group).send().await;
        let answer = answer.map_err(|error| trouble::of(&error).failure(&call))?;
        let one = |one: &InstanceRefresh| {
            let ended = one.end_time().and_then(of_aws);
            Some(Refresh {
                // One that is pending may not have started yet.
                at: one.start_time().and_then(of_aws).or(ended.is_none().then(Timestamp::now))?,
                ended,
                status: one.status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
                reason: one.status_reason().map(str::to_owned),
            })
        };
        let found = answer.instance_refreshes().iter().rev().filter_map(one);
        Ok(found.filter(|one| one.ended.is_none_or(|ended| ended >= since)).collect())
    }
}
