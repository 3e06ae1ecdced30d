//! What a template creates, and which parameters decide about one of its resources.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value as Json;

use crate::fleet::Tier;
use crate::stack::functions::Chosen;
use crate::stack::template::Template;

/// A resource that a stack has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Content {
    pub(crate) resource: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// The resources of a template whose condition holds.
pub(super) fn of(template: &Template, chosen: &Chosen<'_>) -> Vec<Content> {
    let resources = template.section("Resources").as_object().into_iter().flatten();
    let is_there = |resource: &Json| {
        let condition = resource["Condition"].as_str();
        condition.is_none_or(|name| chosen.decides(&template.section("Conditions")[name]))
    };
    let content = |(name, resource): (&String, &Json)| Content {
        resource: name.clone(),
        kind: resource["Type"].as_str().unwrap_or_default().to_owned(),
    };
    resources.filter(|(_, resource)| is_there(resource)).map(content).collect()
}

/// The parameters that decide whether a resource exists, or, with `properties`, what their values are.
pub(crate) fn deciding(tier: Tier, resource: &str, properties: &[&str]) -> BTreeSet<String> {
    let template = Template::of(tier);
    let mut asked = Asked { template: &template, parameters: BTreeSet::new(), seen: BTreeSet::new() };
    let content = &template.section("Resources")[resource];
    if properties.is_empty() {
        asked.condition(&content["Condition"]);
    }
    properties.iter().for_each(|name| asked.value(&content["Properties"][*name]));
    asked.parameters
}

/// The parameters found so far.
struct Asked<'a> {
    template: &'a Template,
    parameters: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Asked<'_> {
    fn condition(&mut self, name: &Json) {
        if let Some(name) = name.as_str() {
            self.value(&self.template.section("Conditions")[name]);
        }
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Array(items) => items.iter().for_each(|item| self.value(item)),
            Json::Object(fields) => {
                for (function, argument) in fields {
                    self.function(function, argument);
                }
            }
            _ => {}
        }
    }

    fn function(&mut self, function: &str, argument: &Json) {
        match (function, argument) {
            ("Ref", Json::String(name)) => self.name(name),
            ("Condition", name) => self.condition(name),
            ("Fn::GetAtt", Json::Array(path)) => self.name(path.first().and_then(Json::as_str).unwrap_or_default()),
            ("Fn::Sub", Json::String(text)) => self.text(text),
            ("Fn::Sub", Json::Array(parts)) => {
                self.text(parts[0].as_str().unwrap_or_default());
                self.value(&parts[1]);
            }
            ("Fn::If", Json::Array(parts)) => {
                self.condition(&parts[0]);
                parts.iter().skip(1).for_each(|part| self.value(part));
            }
            (_, argument) => self.value(argument),
        }
    }

    /// Adds each `${NAME}` of a text.
    fn text(&mut self, text: &str) {
        for part in text.split("${").skip(1) {
            let name = part.split_once('}').map_or(part, |(name, _)| name);
            self.name(name.split('.').next().unwrap_or(name));
        }
    }

    /// Adds a parameter, or those that a resource depends on.
    fn name(&mut self, name: &str) {
        if self.template.parameter(name).is_some() {
            self.parameters.insert(name.to_owned());
        } else if self.seen.insert(name.to_owned()) {
            self.value(&self.template.section("Resources")[name]["Properties"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_data_is_found() {
        let of = |tier, resource, properties: &[&str]| deciding(tier, resource, properties).into_iter().collect::<Vec<_>>();
        assert_eq!(of(Tier::Web, "Database", &[]), ["DatabaseClass"]);
        assert_eq!(of(Tier::Web, "Cache", &[]), ["CacheNode"]);
        assert_eq!(of(Tier::Web, "Address", &[]), ["Mode"]);
        assert_eq!(of(Tier::Worker, "Queue", &[]), [""; 0]);
        assert_eq!(of(Tier::Worker, "Queue", &["FifoQueue"]), ["Fifo"]);
        assert_eq!(of(Tier::Web, "Database", &["Engine", "DBName"]), ["DatabaseEngine", "DatabaseName", "DatabaseSnapshot"]);
        // Through another resource.
        let subnets = of(Tier::Web, "Database", &["DBSubnetGroupName"]);
        assert!(subnets.contains(&"Subnets".to_owned()), "{subnets:?}");
        assert_eq!(of(Tier::Web, "Nothing", &["X"]), [""; 0]);
    }
}
