//! The receiver of a signal: taken from the document, or from the tags that AWS itself adds to an instance.
//!
//! Tags come from instance metadata. If they are not available there, CloudFormation's are read from EC2, and the group
//! from Auto Scaling. An instance launched by a stack's group has the logical ID of that group as its tag, since it is
//! the group that waits.

use super::fields::{Named, RESOURCE_TAG, STACK_TAG, Signal, To, WaitUrl};
use super::trouble::SignalError;
use crate::aws::arn::check_target_group;
use crate::aws::autoscaling::{Hook, LifecycleAction};
use crate::aws::s3::Source;
use crate::digest::Sha256;
use crate::step::Context;
use crate::text::SecretText;

impl Named {
    /// The rendered value. `None` if it is a tag that is not in instance metadata.
    fn filled(&self, cx: &Context<'_>) -> Result<Option<String>, SignalError> {
        match cx.render(&self.text) {
            Ok(text) => Ok(Some(text.expose().to_owned())),
            Err(_) if self.by_tag => Ok(None),
            Err(error) => Err(SignalError::Render(error)),
        }
    }
}

/// A receiver, with everything needed to signal it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Resource {
        stack: String,
        resource: String,
    },
    WaitCondition {
        url: SecretText,
        /// Identifies the URL, which is secret.
        digest: String,
    },
    Hook(LifecycleAction),
    Evidence(Source),
}

impl Signal {
    pub(super) fn instance(&self, cx: &Context<'_>) -> Result<String, SignalError> {
        cx.render(&self.instance).map(|id| id.expose().to_owned()).map_err(SignalError::Render)
    }

    pub(super) async fn target(&self, cx: &Context<'_>) -> Result<Target, SignalError> {
        match &self.to {
            To::Resource { stack, resource } => {
                let (stack, resource) = (stack.filled(cx)?, resource.filled(cx)?);
                let tags = match (&stack, &resource) {
                    (Some(_), Some(_)) => Default::default(),
                    _ => {
                        let instance = self.instance(cx)?;
                        cx.asking(format!("for EC2 to show the tags of {instance}"));
                        cx.world.aws.ec2.tags(&instance).await.map_err(SignalError::FindTags)?
                    }
                };
                let or_tag =
                    |found: Option<String>, tag: &'static str| found.or_else(|| tags.get(tag).cloned()).ok_or(SignalError::NoTag { tag });
                Ok(Target::Resource { stack: or_tag(stack, STACK_TAG)?, resource: or_tag(resource, RESOURCE_TAG)? })
            }
            To::WaitCondition(WaitUrl(url)) => {
                let url = cx.render(url).map_err(SignalError::Render)?;
                cx.world.redactor.learn(&url.expose().into(), &[]);
                let digest = Sha256::of(url.expose().as_bytes()).short(6);
                Ok(Target::WaitCondition { url, digest })
            }
            To::Evidence(evidence) => evidence.place(cx).map(Target::Evidence),
            To::Hook { .. } => {
                let (group, instance) = self.group(cx).await?;
                let hook = match self.hook_name(cx)? {
                    Some(name) => name,
                    None => {
                        cx.asking(format!("for Auto Scaling to show the hooks of {group}"));
                        only(cx.world.aws.groups.launch_hooks(&group).await.map_err(SignalError::FindHook)?, &group)?.name
                    }
                };
                Ok(Target::Hook(LifecycleAction { group, hook, instance }))
            }
        }
    }

    /// The ARNs of the target groups that a success waits for.
    pub(super) fn groups(&self, cx: &Context<'_>) -> Result<Vec<String>, SignalError> {
        let group = |text| {
            let group = cx.render(text).map_err(SignalError::Render)?.expose().to_owned();
            match check_target_group(&group) {
                Err(objection) if cx.placeholder().is_none() => Err(SignalError::Place(objection)),
                _ => Ok(group),
            }
        };
        self.targets.iter().map(group).collect()
    }

    /// The group whose hook waits, and the instance that it waits for.
    pub(super) async fn group(&self, cx: &Context<'_>) -> Result<(String, String), SignalError> {
        let instance = self.instance(cx)?;
        let To::Hook { group, .. } = &self.to else { return Err(SignalError::NoGroup { instance }) };
        let group = match group.filled(cx)? {
            Some(group) => Some(group),
            None => {
                cx.asking(format!("for Auto Scaling to show the group of {instance}"));
                cx.world.aws.groups.group_of(&instance).await.map_err(SignalError::FindGroup)?
            }
        };
        match group {
            Some(group) => Ok((group, instance)),
            None => Err(SignalError::NoGroup { instance }),
        }
    }

    /// The name of the hook, if the document sets one.
    pub(super) fn hook_name(&self, cx: &Context<'_>) -> Result<Option<String>, SignalError> {
        let To::Hook { name: Some(name), .. } = &self.to else { return Ok(None) };
        cx.render(name).map(|name| Some(name.expose().to_owned())).map_err(SignalError::Render)
    }
}

/// The launch hook of a group that has exactly one.
pub(super) fn only(hooks: Vec<Hook>, group: &str) -> Result<Hook, SignalError> {
    let names: Vec<String> = hooks.iter().map(|hook| hook.name.clone()).collect();
    let mut hooks = hooks.into_iter();
    match (hooks.next(), hooks.next()) {
        (Some(hook), None) => Ok(hook),
        _ => Err(SignalError::WhichHook { group: group.to_owned(), names }),
    }
}
