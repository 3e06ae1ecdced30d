//! What Auto Scaling has done to a group: scaling activities.

use aws_sdk_autoscaling::primitives::DateTime;
use aws_sdk_autoscaling::types::ScalingActivityStatusCode;
use jiff::Timestamp;

use super::groups::Groups;
use super::trouble::{self, Call};
use crate::failure::Failure;
use crate::story::Activity;

impl Groups {
    /// Returns the activities of a group that began after `since`, oldest first.
    pub(crate) async fn activities(&self, group: &str, since: Timestamp) -> Result<Vec<Activity>, Failure> {
        let mut pages = self.scaling.describe_scaling_activities().auto_scaling_group_name(group).into_paginator().send();
        let mut found = Vec::new();
        // AWS returns the newest first.
        'pages: while let Some(page) = pages.next().await {
            let on = format!("the group {group}");
            let call = Call { action: "autoscaling:DescribeScalingActivities", doing: "read", on, region: &self.region };
            let page = page.map_err(|error| trouble::of(&error).failure(&call))?;
            for one in page.activities() {
                let Some(begun) = one.start_time().and_then(of_aws) else { continue };
                if begun < since {
                    break 'pages;
                }
                let is_failed = matches!(one.status_code(), Some(ScalingActivityStatusCode::Failed | ScalingActivityStatusCode::Cancelled));
                found.push(Activity {
                    begun,
                    ended: one.end_time().and_then(of_aws),
                    description: one.description().unwrap_or_default().to_owned(),
                    cause: one.cause().unwrap_or_default().to_owned(),
                    is_failed,
                    message: one.status_message().filter(|message| !message.is_empty()).map(str::to_owned),
                });
            }
        }
        found.reverse();
        Ok(found)
    }
}

pub(super) fn of_aws(at: &DateTime) -> Option<Timestamp> {
    Timestamp::new(at.secs(), at.subsec_nanos().try_into().ok()?).ok()
}
