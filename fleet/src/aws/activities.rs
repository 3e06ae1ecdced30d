//! What Auto Scaling has done to a group: scaling activities and instance refreshes.

use aws_sdk_autoscaling::primitives::DateTime;
use aws_sdk_autoscaling::types::ScalingActivityStatusCode;
use jiff::Timestamp;

use super::groups::Groups;
use super::trouble::{self, Call};
use crate::failure::Failure;
use crate::story::{Activity, Refresh};

impl Groups {
    /// The activities of a group that began since then, the oldest first.
    pub(crate) async fn activities(&self, group: &str, since: Timestamp) -> Result<Vec<Activity>, Failure> {
        let mut pages = self.scaling.describe_scaling_activities().auto_scaling_group_name(group).into_paginator().send();
        let mut found = Vec::new();
        // The newest come first.
        'pages: while let Some(page) = pages.next().await {
            let call = || self.call("autoscaling:DescribeScalingActivities", group);
            let page = page.map_err(|error| trouble::of(&error).failure(&call()))?;
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

    /// The newest instance refreshes of a group that began since then, the oldest first.
    pub(crate) async fn refreshes(&self, group: &str, since: Timestamp) -> Result<Vec<Refresh>, Failure> {
        let answer = self.scaling.describe_instance_refreshes().auto_scaling_group_name(group).send().await;
        let call = || self.call("autoscaling:DescribeInstanceRefreshes", group);
        let answer = answer.map_err(|error| trouble::of(&error).failure(&call()))?;
        let one = |one: &aws_sdk_autoscaling::types::InstanceRefresh| {
            Some(Refresh {
                at: one.start_time().and_then(of_aws)?,
                status: one.status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
                reason: one.status_reason().map(str::to_owned),
            })
        };
        let found = answer.instance_refreshes().iter().rev().filter_map(one);
        Ok(found.filter(|one| one.at >= since).collect())
    }

    fn call(&self, action: &'static str, group: &str) -> Call<'_> {
        Call { action, doing: "look at", on: format!("the group {group}"), region: &self.region }
    }
}

fn of_aws(at: &DateTime) -> Option<Timestamp> {
    Timestamp::new(at.secs(), at.subsec_nanos().try_into().ok()?).ok()
}
