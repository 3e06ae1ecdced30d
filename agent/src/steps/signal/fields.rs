//! The fields of a signal.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::evidence::{Evidence, On};
use crate::aws::arn::check_target_group;
use crate::aws::autoscaling::GROUP_TAG;
use crate::failure::Objection;
use crate::text::Text;

pub(super) const STACK_TAG: &str = "aws:cloudformation:stack-name";
pub(super) const RESOURCE_TAG: &str = "aws:cloudformation:logical-id";

/// A report of the result of the boot, to CloudFormation, to Auto Scaling or into S3.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "Fields")]
#[schemars(with = "Fields")]
pub(crate) struct Signal {
    pub(super) to: To,
    pub(super) instance: Text,
    /// Target groups that must report this instance healthy before SUCCESS is signaled.
    pub(super) targets: Vec<Text>,
}

#[derive(Debug, Clone)]
pub(super) enum To {
    Resource { stack: Named, resource: Named },
    WaitCondition(WaitUrl),
    Hook { name: Option<Text>, group: Named },
    Evidence(Evidence),
}

impl Signal {
    /// All strings that may contain references.
    pub(super) fn texts(&self) -> Vec<&Text> {
        let to = match &self.to {
            To::Resource { stack, resource } => vec![&stack.text, &resource.text],
            To::WaitCondition(WaitUrl(url)) => vec![url],
            To::Hook { name, group } => name.iter().chain([&group.text]).collect(),
            // The report determines the name of the object.
            To::Evidence(Evidence { s3, logs, .. }) => return [s3].into_iter().chain(logs).collect(),
        };
        to.into_iter().chain([&self.instance]).chain(&self.targets).collect()
    }

    /// What is wrong with target groups that are given literally.
    pub(super) fn wrong_targets(&self) -> impl Iterator<Item = Objection> {
        self.targets.iter().filter(|target| target.is_plain()).filter_map(|target| check_target_group(target.raw()).err())
    }
}

/// A report of the result of the boot, to CloudFormation, to Auto Scaling or into S3.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["cloudformation"]}, {"required": ["lifecycle_hook"]}, {"required": ["s3"]}]))]
#[schemars(extend("dependentRequired" = {"targets": ["cloudformation"], "logs": ["s3"], "on": ["s3"]}))]
struct Fields {
    /// Stack that waits for its resource: by a CreationPolicy, an UpdatePolicy or a wait condition.
    cloudformation: Option<StackFields>,
    /// Launch lifecycle hook of an Auto Scaling group.
    lifecycle_hook: Option<HookFields>,
    /// Bucket and prefix for the evidence of the boot: `s3://BUCKET/PREFIX/`.
    s3: Option<Text>,
    /// ARNs of target groups. SUCCESS is signaled once all of them find this instance healthy. Default: none.
    targets: Option<Vec<Text>>,
    /// Units whose journal since the machine's start is part of the evidence; `shop-*` names several. Default: none.
    logs: Option<Vec<Text>>,
    /// Which boots leave evidence. Default: `failure`.
    on: Option<On>,
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
        let Fields { cloudformation, lifecycle_hook, s3, targets, logs, on } = fields;
        if s3.is_none() && (logs.is_some() || on.is_some()) {
            return Err(Objection::new("`logs` and `on` apply to evidence", "give them to a signal with `s3:`"));
        }
        if cloudformation.is_none() && targets.is_some() {
            let hint = "give them to a `cloudformation` signal: a load balancer learns of the instance only after its hook";
            return Err(Objection::new("`targets` are checked before a stack is signaled", hint));
        }
        let to = match (cloudformation, lifecycle_hook, s3) {
            (Some(StackFields { stack: None, resource: None, wait_condition_url: Some(url) }), None, None) => {
                To::WaitCondition(WaitUrl(url))
            }
            (Some(StackFields { wait_condition_url: Some(_), .. }), None, None) => {
                return Err(Objection::new("`wait_condition_url` takes no other field", "remove `stack` and `resource`"));
            }
            (Some(StackFields { stack, resource, .. }), None, None) => {
                To::Resource { stack: Named::or_tag(stack, STACK_TAG), resource: Named::or_tag(resource, RESOURCE_TAG) }
            }
            (None, Some(HookFields { name, group }), None) => To::Hook { name, group: Named::or_tag(group, GROUP_TAG) },
            (None, None, Some(s3)) => To::Evidence(Evidence { s3, logs: logs.unwrap_or_default(), on: on.unwrap_or_default() }),
            _ => {
                let hint = "write one of `cloudformation: {}`, `lifecycle_hook: {}` and `s3: s3://BUCKET/PREFIX/`";
                return Err(Objection::new("a signal goes to one receiver", hint));
            }
        };
        Ok(Self { to, instance: Text::new("{{instance.id}}"), targets: targets.unwrap_or_default() })
    }
}

/// A value from the document, or else from a tag.
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

/// A secret: anybody who has the URL can signal.
#[derive(Clone)]
pub(super) struct WaitUrl(pub(super) Text);

impl fmt::Debug for WaitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
