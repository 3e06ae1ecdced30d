//! The fields of a signal, as the document writes them.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::aws::autoscaling::GROUP_TAG;
use crate::failure::Objection;
use crate::text::Text;

pub(super) const STACK_TAG: &str = "aws:cloudformation:stack-name";
pub(super) const RESOURCE_TAG: &str = "aws:cloudformation:logical-id";

/// A report of the result of the boot, to CloudFormation or Auto Scaling.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct Signal {
    pub(super) to: To,
    pub(super) instance: Text,
}

#[derive(Debug, Clone)]
pub(super) enum To {
    Resource { stack: Named, resource: Named },
    WaitCondition(WaitUrl),
    Hook { name: Option<Text>, group: Named },
}

impl Signal {
    /// Every string that may hold references.
    pub(super) fn texts(&self) -> Vec<&Text> {
        let to = match &self.to {
            To::Resource { stack, resource } => vec![&stack.text, &resource.text],
            To::WaitCondition(WaitUrl(url)) => vec![url],
            To::Hook { name, group } => name.iter().chain([&group.text]).collect(),
        };
        to.into_iter().chain([&self.instance]).collect()
    }
}

/// A report of the result of the boot, to CloudFormation or Auto Scaling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["cloudformation"]}, {"required": ["lifecycle_hook"]}]))]
struct Fields {
    /// Stack that waits for its resource: by a CreationPolicy, an UpdatePolicy or a wait condition.
    cloudformation: Option<StackFields>,
    /// Launch lifecycle hook of an Auto Scaling group.
    lifecycle_hook: Option<HookFields>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("not" = {"required": ["wait_condition_url"], "anyOf": [{"required": ["stack"]}, {"required": ["resource"]}]}))]
struct StackFields {
    /// Name or ARN of the stack. Default: the tag `aws:cloudformation:stack-name` of the instance.
    stack: Option<Text>,
    /// Logical ID of the resource that waits. Default: the tag `aws:cloudformation:logical-id` of the instance.
    resource: Option<Text>,
    /// Presigned URL of a wait condition's handle (its `Ref`), a secret.
    wait_condition_url: Option<Text>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HookFields {
    /// Name of the hook. Default: the only launch hook of the group.
    name: Option<Text>,
    /// Name of the group. Default: the tag `aws:autoscaling:groupName` of the instance.
    group: Option<Text>,
}

impl TryFrom<Fields> for Signal {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        let to = match (fields.cloudformation, fields.lifecycle_hook) {
            (Some(StackFields { stack: None, resource: None, wait_condition_url: Some(url) }), None) => To::WaitCondition(WaitUrl(url)),
            (Some(StackFields { wait_condition_url: Some(_), .. }), None) => {
                return Err(Objection::new("`wait_condition_url` says all there is to say", "leave `stack` and `resource` out"));
            }
            (Some(StackFields { stack, resource, .. }), None) => {
                To::Resource { stack: Named::or_tag(stack, STACK_TAG), resource: Named::or_tag(resource, RESOURCE_TAG) }
            }
            (None, Some(HookFields { name, group })) => To::Hook { name, group: Named::or_tag(group, GROUP_TAG) },
            _ => return Err(Objection::new("a signal goes to one who waits", "write `cloudformation: {}` or `lifecycle_hook: {}`")),
        };
        Ok(Self { to, instance: Text::new("{{instance.id}}") })
    }
}

/// Something that the document names, or else a tag.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) text: Text,
    pub(super) by_tag: bool,
}

impl Named {
    pub(super) fn or_tag(given: Option<Text>, tag: &str) -> Self {
        let by_tag = given.is_none();
        Self { text: given.unwrap_or_else(|| Text::new(format!("{{{{instance.tags.[{tag}]}}}}"))), by_tag }
    }
}

/// Whoever has it can signal.
#[derive(Clone)]
pub(super) struct WaitUrl(pub(super) Text);

impl fmt::Debug for WaitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
