//! The Auto Scaling groups of an environment with their instances, and the target groups of its load balancer.

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::{AutoScalingGroup, Filter};
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;

use super::Aws;
use super::trouble::{self, Call};
use crate::deployment::record::Capacity;
use crate::failure::Failure;
use crate::story::Target;

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) capacity: Capacity,
    pub(crate) members: Vec<Member>,
    pub(crate) targets: Option<String>,
    /// Suspended processes.
    pub(crate) suspended: Vec<String>,
}

impl Group {
    pub(crate) fn has_suspended(&self, process: &str) -> bool {
        self.suspended.iter().any(|name| name == process)
    }
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) zone: String,
    /// LifecycleState, such as `InService` or `Pending:Wait`.
    pub(crate) state: String,
    pub(crate) is_healthy: bool,
    /// Version of the launch template it was launched from.
    pub(crate) version: Option<String>,
}

/// Auto Scaling and Elastic Load Balancing in one region.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(super) scaling: aws_sdk_autoscaling::Client,
    balancing: aws_sdk_elasticloadbalancingv2::Client,
    pub(super) region: String,
}

impl Groups {
    pub(crate) fn new(aws: &Aws) -> Self {
        Self {
            scaling: aws_sdk_autoscaling::Client::new(&aws.sdk),
            balancing: aws_sdk_elasticloadbalancingv2::Client::new(&aws.sdk),
            region: aws.region.clone(),
        }
    }

    /// Returns the groups of an environment: one, or two while one replaces the other.
    pub(crate) async fn of(&self, application: &str, environment: &str) -> Result<Vec<Group>, Failure> {
        let filter = |key: &str, value: &str| Filter::builder().name(format!("tag:ingot:{key}")).values(value).build();
        let request = self.scaling.describe_auto_scaling_groups();
        let request = request.filters(filter("application", application)).filters(filter("environment", environment));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let on = format!("the group of {application}-{environment}");
            let call = || Call { action: "autoscaling:DescribeAutoScalingGroups", doing: "read", on: on.clone(), region: &self.region };
            let page = page.map_err(|error| trouble::of(&error).failure(&call()))?;
            found.extend(page.auto_scaling_groups().iter().map(group));
        }
        Ok(found)
    }

    /// Returns the health of the targets of a target group, by instance.
    pub(crate) async fn health(&self, targets: &str) -> Result<BTreeMap<String, Target>, Failure> {
        let on = format!("the target group {targets}");
        let call = Call { action: "elasticloadbalancing:DescribeTargetHealth", doing: "read", on, region: &self.region };
        let found = self.balancing.describe_target_health().target_group_arn(targets).send().await;
        let found = found.map_err(|error| trouble::of(&error).failure(&call))?;
        let one = found.target_health_descriptions().iter().filter_map(|one| {
            let health = one.target_health()?;
            let state = health.state().map_or_else(|| "unknown".to_owned(), |state| state.as_str().to_owned());
            // With the code, since the runbook lists codes.
            let why = match (health.description(), health.reason().map(|reason| reason.as_str())) {
                (Some(words), Some(code)) => Some(format!("{words} ({code})")),
                (words, code) => words.or(code).map(str::to_owned),
            };
            Some((one.target()?.id()?.to_owned(), Target { state, why }))
        });
        Ok(one.collect())
    }

    /// Counts the application load balancers of the region.
    pub(crate) async fn balancers(&self) -> Result<u64, Failure> {
        let on = "the load balancers".to_owned();
        let call = Call { action: "elasticloadbalancing:DescribeLoadBalancers", doing: "count", on, region: &self.region };
        let mut pages = self.balancing.describe_load_balancers().into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| trouble::of(&error).failure(&call))?;
            count += page.load_balancers().iter().filter(|one| one.r#type() == Some(&LoadBalancerTypeEnum::Application)).count() as u64;
        }
        Ok(count)
    }

    /// Counts the target groups of the region, for load balancers of all types.
    pub(crate) async fn target_groups(&self) -> Result<u64, Failure> {
        let on = "the target groups".to_owned();
        let call = Call { action: "elasticloadbalancing:DescribeTargetGroups", doing: "count", on, region: &self.region };
        let mut pages = self.balancing.describe_target_groups().into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.map_err(|error| trouble::of(&error).failure(&call))?.target_groups().len() as u64;
        }
        Ok(count)
    }

    /// Returns the maximum and the current number of Auto Scaling groups.
    ///
    /// Source: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_DescribeAccountLimits.html>
    pub(crate) async fn most(&self) -> Result<(u64, u64), Failure> {
        let on = "the Auto Scaling groups".to_owned();
        let call = Call { action: "autoscaling:DescribeAccountLimits", doing: "count", on, region: &self.region };
        let found = self.scaling.describe_account_limits().send().await.map_err(|error| trouble::of(&error).failure(&call))?;
        let count = |number: Option<i32>| number.and_then(|number| u64::try_from(number).ok());
        let most = count(found.max_number_of_auto_scaling_groups()).unwrap_or(u64::MAX);
        Ok((most, count(found.number_of_auto_scaling_groups()).unwrap_or(0)))
    }

    /// Sets the desired capacity of a group.
    pub(crate) async fn scale(&self, group: &str, wanted: u32) -> Result<(), Failure> {
        let on = format!("the group {group}");
        let call = Call { action: "autoscaling:SetDesiredCapacity", doing: "scale", on, region: &self.region };
        let request = self.scaling.set_desired_capacity().auto_scaling_group_name(group);
        let request = request.desired_capacity(i32::try_from(wanted).unwrap_or(i32::MAX)).honor_cooldown(false);
        request.send().await.map_err(|error| trouble::of(&error).failure(&call))?;
        Ok(())
    }

    /// Lets a group terminate an instance and launch a replacement.
    pub(crate) async fn replace(&self, instance: &str) -> Result<(), Failure> {
        let on = format!("the instance {instance}");
        let call = Call { action: "autoscaling:TerminateInstanceInAutoScalingGroup", doing: "replace", on, region: &self.region };
        let request = self.scaling.terminate_instance_in_auto_scaling_group().instance_id(instance);
        let request = request.should_decrement_desired_capacity(false);
        request.send().await.map_err(|error| trouble::of(&error).failure(&call))?;
        Ok(())
    }

    /// Suspends these processes of a group.
    pub(crate) async fn suspend(&self, group: &str, processes: &[&str]) -> Result<(), Failure> {
        let on = format!("the group {group}");
        let call = Call { action: "autoscaling:SuspendProcesses", doing: "suspend processes of", on, region: &self.region };
        let request = self.scaling.suspend_processes().auto_scaling_group_name(group);
        let request = request.set_scaling_processes(Some(processes.iter().map(|name| (*name).to_owned()).collect()));
        request.send().await.map_err(|error| trouble::of(&error).failure(&call))?;
        Ok(())
    }

    /// Resumes these processes of a group.
    pub(crate) async fn resume(&self, group: &str, processes: &[&str]) -> Result<(), Failure> {
        let on = format!("the group {group}");
        let call = Call { action: "autoscaling:ResumeProcesses", doing: "resume processes of", on, region: &self.region };
        let request = self.scaling.resume_processes().auto_scaling_group_name(group);
        let request = request.set_scaling_processes(Some(processes.iter().map(|name| (*name).to_owned()).collect()));
        request.send().await.map_err(|error| trouble::of(&error).failure(&call))?;
        Ok(())
    }
}

fn group(found: &AutoScalingGroup) -> Group {
    let count = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let members = found.instances().iter().map(|one| Member {
        id: one.instance_id().unwrap_or_default().to_owned(),
        zone: one.availability_zone().unwrap_or_default().to_owned(),
        state: one.lifecycle_state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
        is_healthy: one.health_status() == Some("Healthy"),
        version: one.launch_template().and_then(|template| template.version()).map(str::to_owned),
    });
    Group {
        name: found.auto_scaling_group_name().unwrap_or_default().to_owned(),
        capacity: Capacity { min: count(found.min_size()), desired: count(found.desired_capacity()), max: count(found.max_size()) },
        members: members.collect(),
        targets: found.target_group_arns().first().cloned(),
        suspended: found.suspended_processes().iter().filter_map(|one| one.process_name().map(str::to_owned)).collect(),
    }
}
