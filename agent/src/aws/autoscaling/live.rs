//! Auto Scaling as AWS runs it, by signed Query calls.

use std::time::Duration;

use async_trait::async_trait;

use super::{ActionResult, AutoScaling, Hook, LifecycleAction, SERVICE};
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::AwsError;
use crate::aws::client::query::{Api, Element, Parameters, Query};

const AUTO_SCALING: Api = Api { service: SERVICE, variable: "AUTO_SCALING", version: "2011-01-01" };

const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

pub(crate) struct LiveAutoScaling {
    query: Query,
}

impl LiveAutoScaling {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { query: Query::new(connection, AUTO_SCALING) }
    }

    /// Makes a call and returns the result element of its answer.
    async fn ask(&self, call: &Call, parameters: Parameters) -> Result<Element, AwsError> {
        let answer = self.query.call(call, parameters).await?;
        answer.child(&format!("{}Result", call.operation)).cloned().ok_or_else(|| incomplete(call))
    }

    /// The hooks of a group for one of the two transitions, launching or terminating.
    async fn hooks(&self, group: &str, transition: &str) -> Result<Vec<Hook>, AwsError> {
        let call = Call::new(SERVICE, "DescribeLifecycleHooks", group);
        let answer = self.ask(&call, Parameters::default().with("AutoScalingGroupName", group)).await?;
        let there = answer.items("LifecycleHooks").filter(|hook| hook.text("LifecycleTransition") == Some(transition));
        there.map(hook).collect::<Option<_>>().ok_or_else(|| incomplete(&call))
    }
}

#[async_trait(?Send)]
impl AutoScaling for LiveAutoScaling {
    async fn group_of(&self, instance: &str) -> Result<Option<String>, AwsError> {
        let call = Call::new(SERVICE, "DescribeAutoScalingInstances", instance);
        let answer = self.ask(&call, Parameters::default().list("InstanceIds.member", [instance])).await?;
        let found = answer.items("AutoScalingInstances").find(|found| found.text("InstanceId") == Some(instance));
        found.map(|found| found.text("AutoScalingGroupName").map(str::to_owned).ok_or_else(|| incomplete(&call))).transpose()
    }

    async fn launch_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError> {
        self.hooks(group, LAUNCHING).await
    }

    async fn leaving_hooks(&self, group: &str) -> Result<Vec<Hook>, AwsError> {
        self.hooks(group, TERMINATING).await
    }

    async fn complete(&self, action: &LifecycleAction, result: ActionResult) -> Result<(), AwsError> {
        let call = call("CompleteLifecycleAction", action);
        self.query.call(&call, named(action).with("LifecycleActionResult", result.word())).await.map(drop)
    }

    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), AwsError> {
        self.query.call(&call("RecordLifecycleActionHeartbeat", action), named(action)).await.map(drop)
    }

    async fn set_unhealthy(&self, instance: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "SetInstanceHealth", instance);
        let parameters = Parameters::default().with("InstanceId", instance).with("HealthStatus", "Unhealthy");
        self.query.call(&call, parameters.with("ShouldRespectGracePeriod", "true")).await.map(drop)
    }
}

fn call(operation: &'static str, action: &LifecycleAction) -> Call {
    Call::new(SERVICE, operation, format!("{} of {}", action.hook, action.group))
}

fn named(action: &LifecycleAction) -> Parameters {
    Parameters::default()
        .with("AutoScalingGroupName", &action.group)
        .with("LifecycleHookName", &action.hook)
        .with("InstanceId", &action.instance)
}

fn hook(element: &Element) -> Option<Hook> {
    let heartbeat_timeout = Duration::from_secs(element.parsed("HeartbeatTimeout")?);
    Some(Hook { name: element.text("LifecycleHookName")?.into(), heartbeat_timeout })
}

fn incomplete(call: &Call) -> AwsError {
    call.malformed("the response lacks required fields")
}

#[cfg(test)]
mod tests;
