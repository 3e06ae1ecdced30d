//! Change sets: what an update of a stack would change. Each is created, read and deleted.
//!
//! If ingot-fleet is killed, a change set may be left behind. It does not block updates of the stack, and the next run
//! deletes it. A change set is never created for a stack that does not exist: that would leave a stack in
//! REVIEW_IN_PROGRESS.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_cloudformation::operation::describe_change_set::DescribeChangeSetOutput;
use aws_sdk_cloudformation::types::{
    ChangeAction, ChangeSetStatus, ChangeSetType, Replacement, RequiresRecreation, ResourceChange, ResourceTargetDefinition,
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::stacks::{CAPABILITY, CloudFormation, Order, given, tags};
use super::trouble::{self, Trouble};
use crate::deployment::change::{Change, Effect, Property, Replaces};
use crate::exit::Exit;
use crate::failure::Failure;

/// Prefix of the names of change sets created here.
const OURS: &str = "ingot-plan-";

/// Age in seconds after which a change set created by ingot-fleet counts as left over, not as another operator's.
const LEFT_OVER: i64 = 60 * 60;

/// Polling interval, and how long CloudFormation may take to create a change set.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// CloudFormation's messages for an update without changes: of properties, and of a template with its parameters.
const NOTHING: [&str; 2] = ["didn't contain changes", "No updates are to be performed"];

/// The content of a change set.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) changes: Vec<Change>,
    /// Why a change set could not be deleted.
    pub(crate) left: Option<Failure>,
}

impl CloudFormation {
    /// Returns what an update would change, without changing anything. The change set is deleted again.
    pub(crate) async fn changes(&self, order: &Order<'_>) -> Result<Said, Failure> {
        let old = self.delete_left_over(order.stack).await.err();
        let name = format!("{OURS}{:016x}", fastrand::u64(..));
        let read = match self.make(order, &name).await {
            Ok(()) => self.read(order.stack, &name).await,
            // Delete it even so: the request may have arrived.
            Err(failure) => Err(failure),
        };
        let deleted = self.delete_change_set(order.stack, &name).await;
        Ok(Said { changes: read?, left: deleted.err().or(old) })
    }

    /// Returns the template of a stack as it was submitted.
    pub(crate) async fn template(&self, stack: &str) -> Result<String, Failure> {
        let found = self.client.get_template().stack_name(stack).send().await;
        let found = found.map_err(|error| trouble::of(&error).failure(&self.call("cloudformation:GetTemplate", "read", stack)))?;
        Ok(found.template_body().unwrap_or_default().to_owned())
    }

    async fn make(&self, order: &Order<'_>, name: &str) -> Result<(), Failure> {
        let request = self.client.create_change_set().stack_name(order.stack).change_set_name(name).client_token(name);
        let request = request.change_set_type(ChangeSetType::Update).description("Made by ingot-fleet to see what would change");
        let request = match order.template {
            Some(template) => request.template_body(template),
            None => request.use_previous_template(true),
        };
        let request = request.set_parameters(Some(given(order))).set_tags(Some(tags(order))).set_role_arn(order.role.map(str::to_owned));
        match request.capabilities(CAPABILITY).send().await {
            Ok(_) => Ok(()),
            Err(error) => match trouble::of(&error) {
                // An earlier attempt succeeded and its answer was lost.
                trouble if trouble.has(&["AlreadyExistsException"]) => Ok(()),
                trouble => Err(trouble.failure(&self.call("cloudformation:CreateChangeSet", "create a change set for", order.stack))),
            },
        }
    }

    /// Waits until a change set is created, then reads all of it.
    async fn read(&self, stack: &str, name: &str) -> Result<Vec<Change>, Failure> {
        let begun = Instant::now();
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.page(stack, name, next.clone()).await?;
            match page.as_ref().and_then(|page| page.status()) {
                Some(ChangeSetStatus::CreateComplete) => {
                    let page = page.as_ref();
                    let changes = page.into_iter().flat_map(|page| page.changes()).filter_map(|change| change.resource_change());
                    found.extend(changes.map(change));
                    next = page.and_then(|page| page.next_token()).map(str::to_owned);
                    if next.is_none() {
                        return Ok(found);
                    }
                    continue;
                }
                Some(ChangeSetStatus::Failed) => return failed(stack, page.as_ref().and_then(|page| page.status_reason())),
                // CloudFormation may not list it yet.
                _ if begun.elapsed() < PATIENCE => sleep(PAUSE).await,
                _ => {
                    let minutes = PATIENCE.as_secs() / 60;
                    let message = format!("CloudFormation did not create a change set for the stack {stack} within {minutes} minutes");
                    return Err(
                        Failure::new(Exit::Unreachable, message).hint("check the AWS Health Dashboard, then run the same command again")
                    );
                }
            }
        }
    }

    /// Returns one page of a change set, or `None` if the change set does not exist.
    async fn page(&self, stack: &str, name: &str, next: Option<String>) -> Result<Option<DescribeChangeSetOutput>, Failure> {
        let request = self.client.describe_change_set().stack_name(stack).change_set_name(name).set_next_token(next);
        match request.send().await {
            Ok(page) => Ok(Some(page)),
            Err(error) => match trouble::of(&error) {
                trouble if is_gone(&trouble) => Ok(None),
                trouble => Err(trouble.failure(&self.call("cloudformation:DescribeChangeSet", "read a change set of", stack))),
            },
        }
    }

    async fn delete_change_set(&self, stack: &str, name: &str) -> Result<(), Failure> {
        match self.client.delete_change_set().stack_name(stack).change_set_name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) => match trouble::of(&error) {
                trouble if is_gone(&trouble) => Ok(()),
                trouble => Err(trouble.failure(&self.call("cloudformation:DeleteChangeSet", "delete a change set of", stack))),
            },
        }
    }

    /// Deletes change sets that killed runs left behind.
    async fn delete_left_over(&self, stack: &str) -> Result<(), Failure> {
        let now = Timestamp::now().as_second();
        let mut names = Vec::new();
        let mut pages = self.client.list_change_sets().stack_name(stack).into_paginator().send();
        while let Some(page) = pages.next().await {
            let call = || self.call("cloudformation:ListChangeSets", "list the change sets of", stack);
            let page = page.map_err(|error| trouble::of(&error).failure(&call()))?;
            for made in page.summaries() {
                let name = made.change_set_name().unwrap_or_default();
                if name.starts_with(OURS) && made.creation_time().is_none_or(|at| now - at.secs() > LEFT_OVER) {
                    names.push(name.to_owned());
                }
            }
        }
        for name in names {
            self.delete_change_set(stack, &name).await?;
        }
        Ok(())
    }
}

fn is_gone(trouble: &Trouble) -> bool {
    trouble.has(&["ChangeSetNotFound", "ChangeSetNotFoundException"])
}

/// Interprets a change set that failed. CloudFormation also fails change sets that contain no changes.
fn failed(stack: &str, why: Option<&str>) -> Result<Vec<Change>, Failure> {
    let why = why.unwrap_or("CloudFormation gives no reason");
    if NOTHING.iter().any(|nothing| why.contains(nothing)) {
        return Ok(Vec::new());
    }
    let failure = Failure::new(Exit::Failed, format!("CloudFormation rejected the changes to the stack {stack}"));
    Err(failure.why(why).hint("correct in fleet.yaml what CloudFormation names"))
}

fn change(of: &ResourceChange) -> Change {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let effect = match (of.action(), of.replacement()) {
        (Some(ChangeAction::Add | ChangeAction::Import), _) => Effect::Add,
        (Some(ChangeAction::Remove), _) => Effect::Remove,
        (Some(ChangeAction::Modify), Some(Replacement::True)) => Effect::Replace,
        (Some(ChangeAction::Modify), None | Some(Replacement::False)) => Effect::Change,
        // A conditional replacement, or an action that CloudFormation can only determine at run time.
        _ => Effect::MayReplace,
    };
    // A property may be listed several times, once per reason.
    let mut properties: BTreeMap<String, Replaces> = BTreeMap::new();
    for target in of.details().iter().filter_map(|detail| detail.target()) {
        let replaces = properties.entry(name(target)).or_insert(Replaces::Never);
        *replaces = (*replaces).max(match target.requires_recreation() {
            Some(RequiresRecreation::Always) => Replaces::Always,
            Some(RequiresRecreation::Never) | None => Replaces::Never,
            Some(_) => Replaces::Perhaps,
        });
    }
    Change {
        resource: text(of.logical_resource_id()),
        kind: text(of.resource_type()),
        id: of.physical_resource_id().map(str::to_owned),
        effect,
        properties: properties.into_iter().map(|(name, replaces)| Property { name, replaces }).collect(),
    }
}

/// Returns the name of the property, or of the attribute, such as `Tags`.
fn name(target: &ResourceTargetDefinition) -> String {
    let attribute = target.attribute().map(|attribute| attribute.as_str());
    target.name().or(attribute).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudformation::types::{ResourceAttribute, ResourceChangeDetail};

    use super::*;

    fn detail(name: Option<&str>, recreation: RequiresRecreation) -> ResourceChangeDetail {
        let target = ResourceTargetDefinition::builder().attribute(ResourceAttribute::Tags).set_name(name.map(str::to_owned));
        ResourceChangeDetail::builder().target(target.requires_recreation(recreation).build()).build()
    }

    #[test]
    fn effect_of_a_change_follows_from_action_and_replacement() {
        let told = |action: ChangeAction, replacement: Option<Replacement>| {
            change(&ResourceChange::builder().action(action).set_replacement(replacement).build()).effect
        };
        assert_eq!(told(ChangeAction::Add, None), Effect::Add);
        assert_eq!(told(ChangeAction::Remove, None), Effect::Remove);
        assert_eq!(told(ChangeAction::Modify, Some(Replacement::True)), Effect::Replace);
        assert_eq!(told(ChangeAction::Modify, Some(Replacement::False)), Effect::Change);
        assert_eq!(told(ChangeAction::Modify, Some(Replacement::Conditional)), Effect::MayReplace);
        assert_eq!(told(ChangeAction::Dynamic, None), Effect::MayReplace);
    }

    #[test]
    fn a_property_has_the_most_severe_of_its_effects() {
        let found = ResourceChange::builder()
            .details(detail(Some("Engine"), RequiresRecreation::Never))
            .details(detail(Some("Engine"), RequiresRecreation::Conditionally))
            .details(detail(Some("DBName"), RequiresRecreation::Always))
            .details(detail(None, RequiresRecreation::Never))
            .build();
        let found: Vec<(String, Replaces)> =
            change(&found).properties.into_iter().map(|property| (property.name, property.replaces)).collect();
        let expected = [("DBName", Replaces::Always), ("Engine", Replaces::Perhaps), ("Tags", Replaces::Never)];
        assert_eq!(found, expected.map(|(name, replaces)| (name.to_owned(), replaces)));
    }

    #[test]
    fn a_change_set_without_changes_is_not_a_failure() {
        let nothing = "The submitted information didn't contain changes. Submit different information to create a change set.";
        assert_eq!(failed("shop-prod", Some(nothing)).unwrap(), []);
        assert_eq!(failed("shop-prod", Some("No updates are to be performed.")).unwrap(), []);
        let refused = failed("shop-prod", Some("Parameter 'X' must be a number")).unwrap_err();
        assert!(refused.to_string().contains("Parameter 'X' must be a number"), "{refused}");
    }
}
