//! CloudFormation stacks: their state, their events, and the few operations on them.

use std::collections::BTreeSet;

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter, RollbackConfiguration, RollbackTrigger, Stack, StackEvent, StackStatus, Tag};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::Aws;
use super::trouble::{self, Call};
use crate::deployment::course::{Parameters, Standing};
use crate::deployment::terms::{Trigger, Watch};
use crate::failure::Failure;
use crate::story::Event;

/// Needed because the templates create IAM roles.
pub(super) const CAPABILITY: Capability = Capability::CapabilityNamedIam;

/// Number of stacks described in parallel.
const AT_ONCE: usize = 4;

/// Resource type in events about the stack itself.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A creation or an update.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) stack: &'a str,
    /// Client request token: it identifies the operation and prevents starting it twice.
    pub(crate) token: String,
    /// `None` keeps the template of the stack.
    pub(crate) template: Option<&'a str>,
    pub(crate) parameters: Parameters,
    /// Parameters that keep their current value.
    pub(crate) kept: Vec<&'a str>,
    pub(crate) tags: Parameters,
    /// The service role that CloudFormation assumes.
    pub(crate) role: Option<&'a str>,
    pub(crate) watch: Watch,
}

/// Protection of a new stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard<'a> {
    /// The stack policy.
    pub(crate) policy: &'a str,
    pub(crate) is_protected: bool,
}

/// The part of CloudFormation that deployments need.
pub(crate) trait Stacks {
    /// Returns the state of a stack, or `None` if it does not exist.
    async fn standing(&self, stack: &str) -> Result<Option<Standing>, Failure>;

    /// Returns the events since `since`, oldest first, and the state of the stack after them.
    async fn look(&self, stack: &str, since: Timestamp) -> Result<(Vec<Event>, Option<Standing>), Failure>;

    async fn create(&self, order: &Order<'_>, guard: Guard<'_>) -> Result<(), Failure>;

    /// Starts an update. Returns whether there was anything to change.
    async fn update(&self, order: &Order<'_>) -> Result<bool, Failure>;

    /// Cancels the running update, which rolls the stack back. Returns whether one was running.
    async fn cancel(&self, stack: &str) -> Result<bool, Failure>;

    /// Starts the deletion of a stack. Without `role`, CloudFormation uses the stack's own role.
    async fn delete(&self, stack: &str, token: &str, role: Option<&str>) -> Result<(), Failure>;

    /// Returns the events since `since`, oldest first; none if the stack does not exist.
    async fn events(&self, stack: &str, since: Timestamp) -> Result<Vec<Event>, Failure>;
}

/// CloudFormation in one region.
#[derive(Debug)]
pub(crate) struct CloudFormation {
    pub(super) client: Client,
    region: String,
}

impl CloudFormation {
    pub(crate) fn new(aws: &Aws) -> Self {
        Self { client: Client::new(&aws.sdk), region: aws.region.clone() }
    }

    pub(super) fn call(&self, action: &'static str, doing: &'static str, stack: &str) -> Call<'_> {
        Call { action, doing, on: format!("the stack {stack}"), region: &self.region }
    }

    /// Returns the stack as AWS describes it, or `None` if it does not exist.
    async fn described(&self, stack: &str) -> Result<Option<Stack>, Failure> {
        match self.client.describe_stacks().stack_name(stack).send().await {
            Ok(found) => Ok(found.stacks.unwrap_or_default().into_iter().next()),
            Err(error) => match trouble::of(&error) {
                trouble if trouble.says("does not exist") => Ok(None),
                trouble => Err(trouble.failure(&self.call("cloudformation:DescribeStacks", "read", stack))),
            },
        }
    }

    /// Returns the events since `since`, oldest first, and, if `wants_last`, the last event about the stack itself,
    /// which may lie hundreds of events further back.
    async fn happened(&self, stack: &str, since: Timestamp, wants_last: bool) -> Result<(Vec<Event>, Option<StackEvent>), Failure> {
        let mut pages = self.client.describe_stack_events().stack_name(stack).into_paginator().send();
        let (mut found, mut last, mut is_all) = (Vec::new(), None, false);
        while !is_all || (wants_last && last.is_none()) {
            let page = match pages.next().await {
                Some(Ok(page)) => page,
                Some(Err(error)) => match trouble::of(&error) {
                    trouble if trouble.says("does not exist") => break,
                    trouble => return Err(trouble.failure(&self.call("cloudformation:DescribeStackEvents", "read", stack))),
                },
                None => break,
            };
            for event in page.stack_events.unwrap_or_default() {
                match told(&event) {
                    Some(told) if told.at >= since => found.push(told),
                    Some(_) => is_all = true,
                    None => {}
                }
                if last.is_none() && is_of_the_stack(&event) {
                    last = Some(event);
                }
            }
        }
        found.reverse();
        Ok((found, last))
    }

    /// Returns the outputs of a stack, or `None` if it does not exist.
    pub(crate) async fn outputs(&self, stack: &str) -> Result<Option<Parameters>, Failure> {
        Ok(self.described(stack).await?.map(|stack| outputs(&stack)))
    }

    /// Returns the stacks of an application's environments, by name. Stacks that merely share the name prefix are left
    /// out.
    pub(crate) async fn of_application(&self, application: &str) -> Result<Vec<(String, Standing)>, Failure> {
        let names = self.names(&format!("{application}-")).await?;
        let described = stream::iter(&names).map(|name| self.described(name)).buffered(AT_ONCE);
        let described: Vec<Option<Stack>> = described.try_collect().await?;
        let is_its_own =
            |stack: &Stack| stack.tags().iter().any(|tag| (tag.key(), tag.value()) == (Some("ingot:application"), Some(application)));
        let found = names.into_iter().zip(described).filter_map(|(name, stack)| Some((name, stack.filter(is_its_own)?)));
        Ok(found.map(|(name, stack)| (name, standing(&stack, None))).collect())
    }

    /// Counts the stacks, nested ones included.
    pub(crate) async fn count(&self) -> Result<u64, Failure> {
        Ok(self.names("").await?.len() as u64)
    }

    /// Returns the names of stacks with this prefix. Describing all stacks would need rights to other applications'
    /// stacks.
    async fn names(&self, beginning: &str) -> Result<Vec<String>, Failure> {
        let there =
            StackStatus::values().iter().map(|status| StackStatus::from(*status)).filter(|status| *status != StackStatus::DeleteComplete);
        let mut pages = self.client.list_stacks().set_stack_status_filter(Some(there.collect())).into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let call = || Call { action: "cloudformation:ListStacks", doing: "list", on: "the stacks".into(), region: &self.region };
            let page = page.map_err(|error| trouble::of(&error).failure(&call()))?;
            let all = page.stack_summaries().iter().filter_map(|stack| stack.stack_name());
            names.extend(all.filter(|name| name.starts_with(beginning)).map(str::to_owned));
        }
        Ok(names.into_iter().collect())
    }

    /// Returns what remains when the stack is deleted, and how many resources the stack has.
    pub(crate) async fn resources(&self, stack: &str) -> Result<(Vec<String>, usize), Failure> {
        let mut pages = self.client.list_stack_resources().stack_name(stack).into_paginator().send();
        let (mut kept, mut count) = (Vec::new(), 0);
        while let Some(page) = pages.next().await {
            let call = || self.call("cloudformation:ListStackResources", "read", stack);
            let page = page.map_err(|error| trouble::of(&error).failure(&call()))?;
            for resource in page.stack_resource_summaries() {
                count += 1;
                // The templates set DeletionPolicy Retain or Snapshot for these.
                let left = match resource.resource_type().unwrap_or_default() {
                    "AWS::SQS::Queue" => "the queue",
                    "AWS::RDS::DBInstance" => "a final snapshot of the database",
                    "AWS::ElastiCache::ReplicationGroup" => "a final snapshot of the cache",
                    _ => continue,
                };
                kept.push(format!("{left} {}", resource.physical_resource_id().unwrap_or_default()));
            }
        }
        Ok((kept, count))
    }

    /// Returns the stack policy, if there is one.
    pub(crate) async fn policy(&self, stack: &str) -> Result<Option<String>, Failure> {
        let found = self.client.get_stack_policy().stack_name(stack).send().await;
        let call = || self.call("cloudformation:GetStackPolicy", "read", stack);
        Ok(found.map_err(|error| trouble::of(&error).failure(&call()))?.stack_policy_body)
    }

    pub(crate) async fn set_policy(&self, stack: &str, policy: &str) -> Result<(), Failure> {
        let set = self.client.set_stack_policy().stack_name(stack).stack_policy_body(policy).send().await;
        let call = || self.call("cloudformation:SetStackPolicy", "set the policy of", stack);
        set.map_err(|error| trouble::of(&error).failure(&call()))?;
        Ok(())
    }

    /// Turns termination protection of a stack on or off.
    pub(crate) async fn protect(&self, stack: &str, is_protected: bool) -> Result<(), Failure> {
        let request = self.client.update_termination_protection().stack_name(stack).enable_termination_protection(is_protected);
        let call = || self.call("cloudformation:UpdateTerminationProtection", "set the protection of", stack);
        request.send().await.map_err(|error| trouble::of(&error).failure(&call()))?;
        Ok(())
    }
}

impl Stacks for CloudFormation {
    async fn standing(&self, stack: &str) -> Result<Option<Standing>, Failure> {
        Ok(self.look(stack, Timestamp::MAX).await?.1)
    }

    async fn look(&self, stack: &str, since: Timestamp) -> Result<(Vec<Event>, Option<Standing>), Failure> {
        // In this order, so that the status shows an operation that begins in between.
        let (events, last) = self.happened(stack, since, true).await?;
        Ok((events, self.described(stack).await?.map(|found| standing(&found, last.as_ref()))))
    }

    async fn create(&self, order: &Order<'_>, guard: Guard<'_>) -> Result<(), Failure> {
        let request = self.client.create_stack().stack_name(order.stack).client_request_token(&order.token);
        let request = request.set_template_body(order.template.map(str::to_owned)).set_parameters(Some(given(order)));
        let request = request.set_tags(Some(tags(order))).set_role_arn(order.role.map(str::to_owned)).capabilities(CAPABILITY);
        let request = request.stack_policy_body(guard.policy).enable_termination_protection(guard.is_protected);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match trouble::of(&error) {
                // An earlier attempt succeeded and its answer was lost.
                trouble if trouble.has(&["TokenAlreadyExistsException"]) => Ok(()),
                trouble => Err(trouble.failure(&self.call("cloudformation:CreateStack", "create", order.stack))),
            },
        }
    }

    async fn update(&self, order: &Order<'_>) -> Result<bool, Failure> {
        let request = self.client.update_stack().stack_name(order.stack).client_request_token(&order.token);
        let request = match order.template {
            Some(template) => request.template_body(template),
            None => request.use_previous_template(true),
        };
        let request = request.set_parameters(Some(given(order))).set_tags(Some(tags(order))).set_role_arn(order.role.map(str::to_owned));
        match request.capabilities(CAPABILITY).rollback_configuration(watched(&order.watch)).send().await {
            Ok(_) => Ok(true),
            Err(error) => match trouble::of(&error) {
                trouble if trouble.says("No updates are to be performed") => Ok(false),
                trouble if trouble.has(&["TokenAlreadyExistsException"]) => Ok(true),
                trouble => Err(trouble.failure(&self.call("cloudformation:UpdateStack", "update", order.stack))),
            },
        }
    }

    async fn cancel(&self, stack: &str) -> Result<bool, Failure> {
        match self.client.cancel_update_stack().stack_name(stack).send().await {
            Ok(_) => Ok(true),
            Err(error) => match trouble::of(&error) {
                trouble if trouble.says("CancelUpdateStack cannot be called") => Ok(false),
                trouble => Err(trouble.failure(&self.call("cloudformation:CancelUpdateStack", "cancel the update of", stack))),
            },
        }
    }

    async fn delete(&self, stack: &str, token: &str, role: Option<&str>) -> Result<(), Failure> {
        let request = self.client.delete_stack().stack_name(stack).client_request_token(token).set_role_arn(role.map(str::to_owned));
        request.send().await.map_err(|error| trouble::of(&error).failure(&self.call("cloudformation:DeleteStack", "delete", stack)))?;
        Ok(())
    }

    async fn events(&self, stack: &str, since: Timestamp) -> Result<Vec<Event>, Failure> {
        Ok(self.happened(stack, since, false).await?.0)
    }
}

pub(super) fn given(order: &Order<'_>) -> Vec<Parameter> {
    let given = order.parameters.iter().map(|(name, value)| Parameter::builder().parameter_key(name).parameter_value(value).build());
    let kept = order.kept.iter().map(|name| Parameter::builder().parameter_key(*name).use_previous_value(true).build());
    given.chain(kept).collect()
}

pub(super) fn tags(order: &Order<'_>) -> Vec<Tag> {
    order.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// Set in every update, since CloudFormation keeps the previous setting otherwise.
fn watched(watch: &Watch) -> RollbackConfiguration {
    let kind = |is_composite| if is_composite { "AWS::CloudWatch::CompositeAlarm" } else { "AWS::CloudWatch::Alarm" };
    let trigger = |one: &Trigger| RollbackTrigger::builder().arn(&one.arn).r#type(kind(one.is_composite)).build();
    let triggers = watch.alarms.iter().map(trigger).collect();
    RollbackConfiguration::builder().set_rollback_triggers(Some(triggers)).monitoring_time_in_minutes(watch.minutes).build()
}

fn is_of_the_stack(event: &StackEvent) -> bool {
    event.resource_type() == Some(STACK) && event.physical_resource_id() == event.stack_id()
}

/// Determines the state of a stack from its description and the last event about it.
fn standing(stack: &Stack, last: Option<&StackEvent>) -> Standing {
    let described = stack.stack_status().map(|status| status.as_str()).unwrap_or_default();
    // A description may lag behind the events by seconds.
    let begun = last.and_then(|event| event.resource_status()).map(|status| status.as_str());
    let begun = begun.filter(|status| status.ends_with("_IN_PROGRESS") && !described.ends_with("_IN_PROGRESS"));
    let tag = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()));
    let pair = |parameter: &Parameter| Some((parameter.parameter_key()?.to_owned(), parameter.parameter_value()?.to_owned()));
    Standing {
        status: begun.unwrap_or(described).to_owned(),
        parameters: stack.parameters().iter().filter_map(pair).collect(),
        outputs: outputs(stack),
        tags: stack.tags().iter().filter_map(tag).collect(),
        token: last.and_then(|event| event.client_request_token().map(str::to_owned)),
        is_protected: stack.enable_termination_protection() == Some(true),
    }
}

fn outputs(stack: &Stack) -> Parameters {
    stack.outputs().iter().filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))).collect()
}

fn told(event: &StackEvent) -> Option<Event> {
    let at = event.timestamp()?;
    Some(Event {
        at: Timestamp::new(at.secs(), at.subsec_nanos().try_into().ok()?).ok()?,
        resource: event.logical_resource_id()?.to_owned(),
        status: event.resource_status()?.as_str().to_owned(),
        reason: event.resource_status_reason().map(str::to_owned),
        token: event.client_request_token().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::primitives::DateTime;
    use aws_sdk_cloudformation::types::ResourceStatus;

    use super::*;

    fn event(kind: &str, physical: &str, status: ResourceStatus) -> StackEvent {
        let event = StackEvent::builder().stack_id("arn:s").event_id("e").stack_name("s").timestamp(DateTime::from_secs(0));
        event.resource_type(kind).physical_resource_id(physical).resource_status(status).client_request_token("t").build()
    }

    #[test]
    fn a_stale_description_yields_to_the_events() {
        let stack = Stack::builder()
            .stack_name("s")
            .creation_time(DateTime::from_secs(0))
            .stack_status(StackStatus::UpdateRollbackComplete)
            .build();
        let after = |status| standing(&stack, Some(&event(STACK, "arn:s", status))).status;
        assert_eq!(after(ResourceStatus::UpdateInProgress), "UPDATE_IN_PROGRESS");
        assert_eq!(after(ResourceStatus::UpdateRollbackComplete), "UPDATE_ROLLBACK_COMPLETE");
        assert_eq!(after(ResourceStatus::CreateComplete), "UPDATE_ROLLBACK_COMPLETE");
        assert_eq!(standing(&stack, None).status, "UPDATE_ROLLBACK_COMPLETE");
    }

    #[test]
    fn a_composite_alarm_is_watched_as_such() {
        let alarms = [false, true].map(|is_composite| Trigger { arn: format!("arn:{is_composite}"), is_composite });
        let watched = watched(&Watch { alarms: alarms.into(), minutes: 2 });
        let kinds: Vec<_> = watched.rollback_triggers().iter().map(|one| (one.arn().unwrap(), one.r#type().unwrap())).collect();
        assert_eq!(kinds, [("arn:false", "AWS::CloudWatch::Alarm"), ("arn:true", "AWS::CloudWatch::CompositeAlarm")]);
    }

    #[test]
    fn a_nested_stack_is_not_the_stack_itself() {
        assert!(is_of_the_stack(&event(STACK, "arn:s", ResourceStatus::UpdateInProgress)));
        assert!(!is_of_the_stack(&event(STACK, "arn:nested", ResourceStatus::UpdateInProgress)));
        assert!(!is_of_the_stack(&event("AWS::SQS::Queue", "arn:s", ResourceStatus::UpdateInProgress)));
    }
}
