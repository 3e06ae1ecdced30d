//! Reads the files that hold option settings.
//!
//! - A saved configuration (`eb config save`) and `env.yaml`: `OptionSettings`, a map of namespaces. A namespace may be
//!   prefixed with a resource: `AWSEBAutoScalingScaleUpPolicy.aws:autoscaling:trigger`.
//!   <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/environment-cfg-manifest.html>
//! - `.ebextensions/*.config`: `option_settings`, a map of namespaces or a list. A list entry without a namespace is an
//!   environment property. <https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/ebextensions-optionsettings.html>
//! - The output of `aws elasticbeanstalk describe-configuration-settings`, and the list that `create-environment
//!   --option-settings` accepts: entries with `Namespace`, `OptionName`, `ResourceName` and `Value`.

use std::sync::Arc;

use ingot::desk::{self, Mistake, Node, Place, Value};

use super::options::Setting;
use super::rest::Left;

/// Namespace of environment properties.
pub(super) const PROPERTIES: &str = "aws:elasticbeanstalk:application:environment";

/// Namespaces whose settings belong to resources named by the user.
const OF_RESOURCES: [&str; 1] = ["aws:autoscaling:scheduledaction"];

/// The content of a file.
#[derive(Debug, Default)]
pub(crate) struct Described {
    pub(crate) settings: Vec<Setting>,
    pub(crate) application: Option<String>,
    pub(crate) environment: Option<String>,
    /// `WebServer` or `Worker`.
    pub(crate) tier: Option<String>,
    pub(crate) platform: Option<String>,
    /// Sections other than option settings.
    pub(crate) left: Vec<Left>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads one file. Messages refer to it as `name`.
pub(crate) fn read(name: &str, text: &str) -> Described {
    let file: Arc<str> = name.into();
    let (root, mistakes) = desk::parse(&file, text);
    let mut described = Described { mistakes, ..Described::default() };
    match root {
        Some(root) => described.root(name, &root),
        None if described.mistakes.is_empty() && !name.ends_with(".config") => {
            described.mistakes.push(Mistake::of_a_file(format!("{name}: this file is empty"), Some(WANTED.into())));
        }
        None => {}
    }
    described
}

/// Keys that occur only in a saved configuration or env.yaml.
const OF_ENVIRONMENTS: [&str; 3] = ["AWSConfigurationTemplateVersion", "EnvironmentConfigurationMetadata", "SolutionStack"];

/// Hint for an unsuitable file.
const WANTED: &str = "name a saved configuration, env.yaml or a .config file of .ebextensions";

impl Described {
    fn root(&mut self, name: &str, root: &Node) {
        if let Value::Sequence(items) = &root.value {
            return items.iter().for_each(|item| self.listed(item));
        }
        if let Some(Value::Sequence(described)) = root.get("ConfigurationSettings").map(|node| &node.value) {
            if let [one] = described.as_slice() {
                return self.root(name, one);
            }
            let message = format!("the file describes {} environments, but an import takes one", described.len());
            return self.mistakes.push(Mistake::at(&root.place, message, "describe one environment with --environment-name"));
        }
        // `.elasticbeanstalk/config.yml`, written by `eb init`, names the application and holds no options.
        if ["global", "branch-defaults"].iter().any(|section| root.get(section).is_some()) {
            self.application = root.get("global").and_then(|global| global.get("application_name")).and_then(scalar);
            return;
        }
        let settings = root.get("OptionSettings").or_else(|| root.get("option_settings"));
        if let Some(settings) = settings {
            self.settings(settings);
        }
        let text = |key: &str| root.get(key).and_then(scalar);
        self.application = text("ApplicationName");
        self.environment = text("EnvironmentName");
        self.platform = text("SolutionStack").or_else(|| text("SolutionStackName")).or_else(|| text("PlatformArn"));
        if let Some(platform) = root.get("Platform") {
            self.platform = platform.get("PlatformArn").and_then(scalar).or(self.platform.take());
        }
        let tier = root.get("EnvironmentTier").or_else(|| root.get("Tier"));
        self.tier = tier.and_then(|tier| tier.get("Name")).and_then(scalar);
        if let Value::Map(entries) = &root.value {
            let sections = entries.iter().filter_map(|(key, node)| Left::section(&key.name, &key.place, node));
            self.left.extend(sections);
        }
        let is_extension = name.ends_with(".config") && matches!(root.value, Value::Map(_));
        // An env.yaml may name just its platform.
        let is_environment = OF_ENVIRONMENTS.iter().any(|key| root.get(key).is_some());
        if settings.is_none() && !is_extension && !is_environment {
            let message = "the file has no option settings: neither `OptionSettings` nor `option_settings`";
            self.mistakes.push(Mistake::at(&root.place, message, WANTED));
        }
    }

    fn settings(&mut self, node: &Node) {
        match &node.value {
            Value::Map(namespaces) => {
                for (key, options) in namespaces {
                    match &options.value {
                        Value::Map(options) => {
                            for (name, value) in options {
                                self.add(&key.name, "", &name.name, value, &name.place);
                            }
                        }
                        Value::Null => {}
                        // `NAME: VALUE` at this level is a property, like a list entry without a namespace.
                        _ if !key.name.contains("aws:") => self.add(PROPERTIES, "", &key.name, options, &key.place),
                        other => {
                            let message = format!("`{}` must be a map of options, not {}", key.name, other.describe());
                            self.mistakes.push(Mistake::at(&options.place, message, "write `OPTION: VALUE` below it"));
                        }
                    }
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.listed(item)),
            Value::Null => {}
            other => {
                let message = format!("option settings must be a map or a list, not {}", other.describe());
                self.mistakes.push(Mistake::at(&node.place, message, "write `NAMESPACE: { OPTION: VALUE }`"));
            }
        }
    }

    fn listed(&mut self, item: &Node) {
        let field = |names: [&str; 2]| names.into_iter().find_map(|name| item.get(name));
        let namespace = field(["namespace", "Namespace"]).and_then(scalar).unwrap_or_else(|| PROPERTIES.to_owned());
        let resource = field(["resource_name", "ResourceName"]).and_then(scalar).unwrap_or_default();
        match (field(["option_name", "OptionName"]).and_then(scalar), field(["value", "Value"])) {
            (Some(name), Some(value)) => self.add(&namespace, &resource, &name, value, &item.place),
            // AWS lists options that are not set without a value.
            (Some(_), None) => {}
            (None, _) => {
                let message = "this entry names no option";
                self.mistakes.push(Mistake::at(&item.place, message, "write `option_name:` and `value:`"));
            }
        }
    }

    fn add(&mut self, namespace: &str, resource: &str, name: &str, value: &Node, place: &Place) {
        // A prefix of the namespace is a resource named by Elastic Beanstalk, or a scheduled action.
        let (before, namespace) = namespace.find("aws:").map_or(("", namespace), |at| (&namespace[..at], &namespace[at..]));
        let resource = if resource.is_empty() { before.trim_end_matches('.') } else { resource };
        let resource = if OF_RESOURCES.contains(&namespace) { resource } else { "" };
        let Some(value) = text(value) else {
            let hint = "write one value, in quotes";
            return self.mistakes.push(Mistake::at(&value.place, format!("the value of {name} is {}", value.value.describe()), hint));
        };
        self.settings.push(Setting {
            namespace: namespace.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            value,
            place: place.clone(),
        });
    }
}

/// Returns a scalar as it was written.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(_, written) => Some((*written).to_owned()),
        Value::Number(written) => Some(written.clone()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Sequence(_) | Value::Map(_) => None,
    }
}

/// Returns a value as text; a list is joined with commas.
fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Null => Some(String::new()),
        Value::Sequence(items) => items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(",")),
        _ => scalar(node),
    }
}
