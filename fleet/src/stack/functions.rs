//! The functions of CloudFormation, as far as the templates use them in conditions, rules and user data.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::stack::known::Known;
use crate::stack::parameters::Parameter;
use crate::stack::standing_in;
use crate::stack::template::{self, Template};

/// A template with its parameters.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    template: &'a Template,
    parameters: BTreeMap<&'a str, &'a str>,
    known: &'a Known<'a>,
}

impl<'a> Chosen<'a> {
    pub(super) fn of(template: &'a Template, parameters: &'a [Parameter], known: &'a Known<'a>) -> Self {
        let given = parameters.iter().map(|parameter| (parameter.name, parameter.given.stand_in()));
        Self { template, parameters: given.collect(), known }
    }

    /// The user data of the instances.
    pub(super) fn user_data(&self) -> String {
        self.text(&self.template.section("Resources")["Launch"]["Properties"]["LaunchTemplateData"]["UserData"])
    }

    /// Whether a condition holds.
    pub(super) fn decides(&self, condition: &Json) -> bool {
        let (name, value) = function(condition);
        let each = || value.as_array().into_iter().flatten();
        match name {
            "Condition" => self.decides(&self.template.section("Conditions")[value.as_str().unwrap_or_default()]),
            "Fn::Equals" => {
                let sides: Vec<String> = each().map(|side| self.text(side)).collect();
                sides.windows(2).all(|sides| sides[0] == sides[1])
            }
            "Fn::Not" => !each().any(|one| self.decides(one)),
            "Fn::And" => each().all(|one| self.decides(one)),
            "Fn::Or" => each().any(|one| self.decides(one)),
            other => panic!("a template has the condition {other}, which is not implemented"),
        }
    }

    /// What a value resolves to.
    fn text(&self, value: &Json) -> String {
        if !value.is_object() {
            return template::text(value);
        }
        let (name, argument) = function(value);
        match name {
            "Ref" => self.named(argument.as_str().unwrap_or_default()),
            "Fn::Base64" => self.text(argument),
            "Fn::If" => self.text(self.branch(argument)),
            "Fn::Sub" => self.filled(argument),
            "Fn::ImportValue" => standing_in::import(&self.text(argument)),
            "Fn::Join" => self.list(&argument[1]).join(&template::text(&argument[0])),
            "Fn::FindInMap" => {
                let keys: Vec<String> = argument.as_array().into_iter().flatten().map(|key| self.text(key)).collect();
                keys.iter().fold(self.template.section("Mappings"), |map, key| &map[key]).to_string()
            }
            other => panic!("a template has the function {other}, which is not implemented"),
        }
    }

    fn list(&self, value: &Json) -> Vec<String> {
        match value {
            Json::Array(items) => items.iter().map(|item| self.text(item)).collect(),
            value => self.text(value).split(',').map(str::to_owned).collect(),
        }
    }

    fn branch<'v>(&self, argument: &'v Json) -> &'v Json {
        let condition = &self.template.section("Conditions")[argument[0].as_str().unwrap_or_default()];
        &argument[if self.decides(condition) { 1 } else { 2 }]
    }

    /// A text with each `${NAME}` replaced.
    fn filled(&self, argument: &Json) -> String {
        let (text, own) = match argument {
            Json::Array(parts) => (&parts[0], &parts[1]),
            text => (text, &Json::Null),
        };
        let mut out = String::new();
        let mut parts = text.as_str().unwrap_or_default().split("${");
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            out.push_str(&own.get(name).map_or_else(|| self.named(name), |value| self.text(value)));
            out.push_str(rest);
        }
        out
    }

    /// A parameter, or the stand-in for a resource or for one of its attributes.
    fn named(&self, name: &str) -> String {
        if let Some(given) = self.parameters.get(name) {
            return (*given).to_owned();
        }
        match self.template.parameter(name) {
            Some(parameter) => template::text(&parameter["Default"]),
            None => standing_in::of(name, self.known),
        }
    }
}

/// The name and the argument of a function.
fn function(value: &Json) -> (&str, &Json) {
    let first = value.as_object().and_then(|fields| fields.iter().next());
    first.map_or(("", value), |(name, argument)| (name.as_str(), argument))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fleet::{Tier, read};

    const FLEET: &str = "version: 1\napplication: shop\nreleases: s3://shop-releases/\nenvironments:\n  prod:\n    tier: web\n    \
                         image: ami-0123456789abcdef0\n    network: { vpc: vpc-0a1b, subnets: [subnet-0a1b, subnet-0c2d] }\n    \
                         document: boot.yaml\n    instances: { types: [m7g.large] }\n";

    #[test]
    fn functions_resolve_as_in_cloudformation() {
        let read = read("fleet.yaml", FLEET);
        assert_eq!(read.mistakes, []);
        let (template, releases) = (Template::of(Tier::Web), &read.fleet.releases);
        let environment = &read.fleet.environments[0];
        let known = Known { application: "shop", releases, environment, document: "0", longest: None, drain: None };
        let chosen = Chosen { template: &template, parameters: BTreeMap::from([("Application", "shop")]), known: &known };
        assert_eq!(chosen.text(&json!({ "Fn::Sub": "${Application} of ${Port}" })), "shop of 80");
        assert_eq!(chosen.text(&json!({ "Fn::Join": ["-", ["a", { "Ref": "Application" }]] })), "a-shop");
        assert_eq!(chosen.text(&json!({ "Fn::FindInMap": ["Engines", "mysql", "Port"] })), "3306");
        assert_eq!(chosen.text(&json!({ "Fn::If": ["Balanced", "yes", "no"] })), "yes");
        assert!(chosen.decides(&json!({ "Fn::And": [{ "Condition": "Balanced" }, { "Fn::Not": [{ "Condition": "Single" }] }] })));
        assert!(!chosen.decides(&json!({ "Fn::Or": [{ "Condition": "Single" }, { "Fn::Equals": [{ "Ref": "Port" }, "81"] }] })));
    }
}
