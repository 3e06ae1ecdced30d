//! The instances that a group has launched, and how long each took.

use aws_sdk_autoscaling::primitives::DateTime;
use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};
use jiff::Timestamp;

use super::groups::Groups;
use super::trouble::{self, Call};
use crate::deployment::rollout::Launch;
use crate::failure::Failure;

/// What the description of a launch begins with.
///
/// Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-verify-scaling-activity.html>
const LAUNCHING: &str = "Launching a new EC2 instance: ";

impl Groups {
    /// The launches of a group that began since then and succeeded, the newest first. AWS knows those of six weeks.
    pub(crate) async fn launches(&self, group: &str, since: Timestamp) -> Result<Vec<Launch>, Failure> {
        let mut pages = self.scaling.describe_scaling_activities().auto_scaling_group_name(group).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let on = format!("the group {group}");
            let call = Call { action: "autoscaling:DescribeScalingActivities", doing: "look at", on, region: &self.region };
            let page = page.map_err(|error| trouble::of(&error).failure(&call))?;
            for activity in page.activities() {
                if began(activity).is_some_and(|began| began < since) {
                    return Ok(found);
                }
                found.extend(launch(activity));
            }
        }
        Ok(found)
    }
}

fn began(activity: &Activity) -> Option<Timestamp> {
    activity.start_time().and_then(at)
}

fn at(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), time.subsec_nanos().try_into().ok()?).ok()
}

fn launch(activity: &Activity) -> Option<Launch> {
    if activity.status_code() != Some(&ScalingActivityStatusCode::Successful) {
        return None;
    }
    let id = activity.description()?.strip_prefix(LAUNCHING)?.to_owned();
    Some(Launch { id, began: began(activity)?, ended: activity.end_time().and_then(at)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_launches_that_succeeded_are_measured() {
        let activity = |description: &str, status: ScalingActivityStatusCode| {
            let activity = Activity::builder().activity_id("a").auto_scaling_group_name("g").cause("c").description(description);
            activity.status_code(status).start_time(DateTime::from_secs(100)).end_time(DateTime::from_secs(142)).build()
        };
        let launched = launch(&activity("Launching a new EC2 instance: i-1", ScalingActivityStatusCode::Successful)).unwrap();
        let (began, ended) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(142).unwrap());
        assert_eq!(launched, Launch { id: "i-1".into(), began, ended });
        let failed = "Launching a new EC2 instance: i-2.  Status Reason: no capacity";
        assert_eq!(launch(&activity(failed, ScalingActivityStatusCode::Failed)), None);
        assert_eq!(launch(&activity("Terminating EC2 instance: i-1", ScalingActivityStatusCode::Successful)), None);
    }
}
