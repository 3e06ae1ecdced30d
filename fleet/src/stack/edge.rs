//! What an edge resolves to: the stack of its template and its parameters. Offline.

use std::collections::BTreeMap;

use crate::deployment::course::{Parameters, Standing};
use crate::fleet::Edge;
use crate::stack::template::Template;

/// Parameters that take effect only at creation: another value would replace the load balancer or target groups by
/// empty ones.
const OF_CREATION: [&str; 3] = ["Port", "Public", "Vpc"];

/// The parameters that a swap sets.
const WEIGHTS: [&str; 2] = ["WeightA", "WeightB"];

/// The setting that a parameter comes from.
const SETTINGS: [(&str, &str); 13] = [
    ("AlarmEmail", "alarms.email"),
    ("Certificate", "load_balancer.certificate"),
    ("ClientCidr", "network.clients"),
    ("Deregistration", "load_balancer.deregistration"),
    ("ErrorPercent", "alarms.error_percent"),
    ("HealthCheckPath", "load_balancer.health_check"),
    ("Port", "load_balancer.port"),
    ("Public", "load_balancer.public"),
    ("Runbook", "alarms.runbook"),
    ("Stickiness", "stickiness"),
    ("Subnets", "network.subnets"),
    ("TrialCidr", "trial"),
    ("Vpc", "network.vpc"),
];

/// Template and parameters of an edge.
#[derive(Debug)]
pub(crate) struct EdgeStack {
    /// The text of the template.
    pub(crate) body: &'static str,
    /// All parameters except the weights.
    pub(crate) parameters: Parameters,
}

/// The stack of an edge.
pub(crate) fn edge(application: &str, edge: &Edge) -> EdgeStack {
    let template = Template::of_edge();
    let settings = &edge.settings;
    let (network, balancer, alarms) = (&settings.network, &settings.load_balancer, &settings.alarms);
    let text = |word: Option<&str>| word.map(str::to_owned);
    let (_, subnets) = settings.subnets();
    let subnets: Vec<&str> = subnets.iter().map(|one| one.as_str()).collect();
    let said: BTreeMap<&str, Option<String>> = [
        ("Application", text(Some(application))),
        ("Edge", text(Some(&edge.key.name))),
        ("AlarmEmail", text(alarms.email.as_ref().map(|email| email.as_str()))),
        ("Certificate", text(balancer.certificate.as_ref().map(|arn| arn.as_str()))),
        ("ClientCidr", text(network.clients.as_ref().map(|range| range.as_str()))),
        ("Deregistration", balancer.deregistration.map(|length| length.0.to_string())),
        ("ErrorPercent", alarms.error_percent.map(|percent| percent.0.to_string())),
        ("HealthCheckPath", text(balancer.health_check.as_ref().map(|path| path.as_str()))),
        ("Port", balancer.port.map(|port| port.0.to_string())),
        ("Public", balancer.public.map(|is_public| is_public.to_string())),
        ("Runbook", text(alarms.runbook.as_ref().map(|link| link.as_str()))),
        ("Stickiness", settings.stickiness.map(|length| length.0.to_string())),
        ("Subnets", Some(subnets.join(","))),
        ("TrialCidr", text(settings.trial.as_ref().map(|range| range.as_str()))),
        ("Vpc", text(network.vpc.as_ref().map(|vpc| vpc.as_str()))),
    ]
    .into();
    // What the edge does not set has the template's default, even if the edge did set it before.
    let mut parameters = template.defaults();
    parameters.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    parameters.retain(|name, _| !WEIGHTS.contains(&name.as_str()));
    EdgeStack { body: template.text, parameters }
}

impl EdgeStack {
    /// Whether a template says the same as this one.
    pub(crate) fn is_template(&self, text: &str) -> bool {
        Template::of_edge().says(text)
    }

    /// What an update changes: the name of the setting, its previous and its new value. What takes effect only at
    /// creation is not included.
    pub(crate) fn differing(&self, standing: &Standing) -> Vec<(String, Option<String>, String)> {
        self.others(standing).filter(|(name, ..)| !OF_CREATION.contains(name)).map(told).collect()
    }

    /// What keeps its value although fleet.yaml says otherwise.
    pub(crate) fn staying(&self, standing: &Standing) -> Vec<(String, Option<String>, String)> {
        self.others(standing).filter(|(name, ..)| OF_CREATION.contains(name)).map(told).collect()
    }

    fn others<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = (&'a str, Option<&'a str>, &'a str)> {
        self.parameters
            .iter()
            .filter(|(name, value)| standing.parameter(name) != Some(value))
            .map(|(name, value)| (name.as_str(), standing.parameter(name), value.as_str()))
    }

    /// The parameters of an update, and those that keep their value.
    pub(crate) fn update<'a>(&self, standing: &'a Standing) -> (Parameters, Vec<&'a str>) {
        let keeps = |name: &str| WEIGHTS.contains(&name) || OF_CREATION.contains(&name);
        let kept: Vec<&str> = standing.parameters.keys().map(String::as_str).filter(|name| keeps(name)).collect();
        let given = self.parameters.iter().filter(|(name, _)| !kept.contains(&name.as_str()));
        (given.map(|(name, value)| (name.clone(), value.clone())).collect(), kept)
    }
}

fn told((name, before, now): (&str, Option<&str>, &str)) -> (String, Option<String>, String) {
    let setting = SETTINGS.iter().find(|(parameter, _)| *parameter == name).map_or(name, |(_, setting)| *setting);
    (setting.to_owned(), before.map(str::to_owned), now.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::read;

    fn of(more: &str) -> EdgeStack {
        let text = format!(
            "version: 1\napplication: shop\nreleases: s3://shop-releases/\ndefaults:\n  network: {{ vpc: vpc-0a1b, subnets: [subnet-0a1b, \
             subnet-0c2d], security_groups: [sg-0a1b] }}\n  load_balancer: {{ port: 8080 }}\nedges:\n  main: {{ {more} }}\nenvironments:\n  \
             prod: {{ tier: web, image: ami-0123456789abcdef0, document: boot.yaml, instances: {{ types: [m7g.large] }} }}\n"
        );
        let read = read("fleet.yaml", &text);
        assert_eq!(read.mistakes, []);
        edge("shop", &read.fleet.edges[0])
    }

    fn standing(stack: &EdgeStack) -> Standing {
        let mut parameters = stack.parameters.clone();
        parameters.extend(WEIGHTS.iter().map(|name| ((*name).to_owned(), "50".to_owned())));
        Standing { parameters, ..Standing::default() }
    }

    #[test]
    fn comments_do_not_make_another_template() {
        let stack = EdgeStack { body: Template::of_edge().text, parameters: Parameters::new() };
        assert!(stack.is_template(stack.body) && stack.is_template(&format!("# another comment\n{}\n", stack.body)));
        assert!(!stack.is_template(&stack.body.replacen("HTTP_302", "HTTP_307", 1)) && !stack.is_template("") && !stack.is_template("{"));
    }

    #[test]
    fn every_parameter_of_the_template_has_a_value() {
        let stack = of("");
        let names: Vec<&String> = stack.parameters.keys().collect();
        let declared = Template::of_edge();
        let declared = declared.section("Parameters").as_object().unwrap();
        assert_eq!(names.len() + WEIGHTS.len(), declared.len(), "{names:?}");
        assert!(SETTINGS.iter().all(|(name, _)| declared.contains_key(*name)));
        let value = |name: &str| stack.parameters[name].as_str();
        assert_eq!((value("Port"), value("Subnets"), value("Stickiness")), ("8080", "subnet-0a1b,subnet-0c2d", "0"));
    }

    #[test]
    fn an_update_keeps_the_weights_and_what_counts_at_creation() {
        let (before, after) = (standing(&of("stickiness: 1h")), of("load_balancer: { port: 9090, health_check: /up }"));
        let (given, kept) = after.update(&before);
        assert_eq!(kept, ["Port", "Public", "Vpc", "WeightA", "WeightB"]);
        assert!(!given.contains_key("WeightA") && given["Stickiness"] == "0");
        let differing = after.differing(&before);
        let names: Vec<&str> = differing.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["load_balancer.health_check", "stickiness"]);
        let said = ("load_balancer.port".to_owned(), Some("8080".to_owned()), "9090".to_owned());
        assert_eq!(after.staying(&before), [said]);
        assert_eq!(of("").differing(&standing(&of(""))), []);
    }
}
