//! Which parameters of a stack an update changes, in terms of fleet.yaml.

use serde::Serialize;

use crate::deployment::course::{OF_GOAL, OF_POLICY, Parameters, Standing};
use crate::fleet::Environment;
use crate::fleet::origin::{Origin, origin};
use crate::stack::outcome::Stack;

/// Parameters that have their default if fleet.yaml omits a setting, and that setting.
const LEFT_OUT: [(&str, &str); 27] = [
    ("AlarmEmail", "alarms.email"),
    ("CacheNode", "cache.node"),
    ("CacheReplicas", "cache.replicas"),
    ("Certificate", "load_balancer.certificate"),
    ("CpuPercent", "instances.scale_on"),
    ("DatabaseClass", "database.class"),
    ("DatabaseEngine", "database.engine"),
    ("DatabaseMultiAz", "database.multi_az"),
    ("DatabaseName", "database.name"),
    ("DatabaseSnapshot", "database.restore_from"),
    ("DatabaseStorageGib", "database.storage_gib"),
    ("DatabaseUser", "database.user"),
    ("FirstSchedule", "schedule.0.cron"),
    ("FirstScheduleMinSize", "schedule.0.min"),
    ("Grace", "document"),
    ("LeavingTimeout", "document"),
    ("MaxSize", "instances.max"),
    ("MessagesPerInstance", "instances.scale_on"),
    ("MinSize", "instances.min"),
    ("OnDemandPercent", "instances.spot"),
    ("Refresh", "refresh"),
    ("RequestsPerTarget", "instances.scale_on"),
    ("RootDevice", "instances.root_device"),
    ("SecondInstanceType", "instances.types.1"),
    ("SecondSchedule", "schedule.1.cron"),
    ("SecondScheduleMinSize", "schedule.1.min"),
    ("Slot", "load_balancer.slot"),
];

/// A parameter that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Differing {
    /// The setting of fleet.yaml that it comes from.
    pub(crate) setting: Option<String>,
    pub(crate) parameter: String,
    /// `None` if the stack does not have it yet.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    /// The line that sets it; `None` if fleet.yaml does not.
    pub(crate) line: Option<String>,
    /// The line of the setting, or of the section that it would be in.
    #[serde(skip)]
    pub(crate) near: String,
}

/// A parameter that takes effect only at creation, and keeps its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Kept {
    pub(crate) setting: Option<String>,
    pub(crate) parameter: String,
    pub(crate) stays: String,
    /// What fleet.yaml says.
    pub(crate) says: String,
    pub(crate) line: Option<String>,
}

/// Where a parameter comes from.
struct Source {
    setting: Option<String>,
    line: Option<String>,
    near: String,
}

impl Source {
    fn of(name: &str, stack: &Stack, environment: &Environment) -> Self {
        let of_environment = stack.parameters.iter().find(|parameter| parameter.name == name).map(|parameter| parameter.from);
        let setting = of_environment.or_else(|| LEFT_OUT.iter().find(|(parameter, _)| *parameter == name).map(|(_, setting)| *setting));
        let setting = setting.filter(|setting| !setting.is_empty());
        let line = match setting.map(|setting| origin(environment, setting)) {
            Some(Origin::Defaults(place) | Origin::Environment(place)) => Some(format!("{}:{}", place.file, place.line)),
            Some(Origin::Default) | None => None,
        };
        let near = environment.place(setting.unwrap_or_default());
        Self { setting: setting.map(str::to_owned), line, near: format!("{}:{}", near.file, near.line) }
    }
}

/// The parameters that an update changes, apart from the release and how it is deployed. `kept` are those that keep
/// their value; what is neither in `wanted` nor in `kept` gets the template's default.
pub(crate) fn differing(
    stack: &Stack,
    environment: &Environment,
    wanted: &Parameters,
    kept: &[&str],
    standing: &Standing,
) -> Vec<Differing> {
    let counts = |name: &str| !OF_GOAL.contains(&name) && !OF_POLICY.contains(&name) && !kept.contains(&name);
    let defaults = stack.defaults.iter().filter(|(name, _)| !wanted.contains_key(*name));
    let all = defaults.chain(wanted).filter(|(name, value)| counts(name) && standing.parameter(name) != Some(value));
    let one = |(name, value): (&String, &String)| {
        let Source { setting, line, near } = Source::of(name, stack, environment);
        let from = standing.parameter(name).map(str::to_owned);
        Differing { setting, parameter: name.clone(), from, to: value.clone(), line, near }
    };
    all.map(one).collect()
}

/// The parameters in `kept` that keep their value although fleet.yaml says otherwise.
pub(crate) fn kept(stack: &Stack, environment: &Environment, wanted: &Parameters, kept: &[&str], standing: &Standing) -> Vec<Kept> {
    let one = |name: &&str| {
        let (stays, says) = (standing.parameter(name)?, wanted.get(*name)?);
        let Source { setting, line, .. } = Source::of(name, stack, environment);
        let kept = Kept { setting, parameter: (*name).to_owned(), stays: stays.to_owned(), says: says.clone(), line };
        (stays != says).then_some(kept)
    };
    kept.iter().filter_map(one).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fleet::{Tier, read};
    use crate::stack::OF_CREATION;
    use crate::stack::document::Document;
    use crate::stack::known::Known;
    use crate::stack::parameters;
    use crate::stack::template::Template;

    /// `more` are further settings of the environment, from line 11 on.
    pub(crate) fn environment(tier: &str, more: &str) -> Environment {
        let text = format!(
            "version: 1\napplication: shop\nreleases: s3://shop-releases/\nenvironments:\n  prod:\n    tier: {tier}\n    \
             image: ami-0123456789abcdef0\n    network: {{ vpc: vpc-0a1b, subnets: [subnet-0a1b, subnet-0c2d] }}\n    \
             document: boot.yaml\n    instances: {{ types: [m7g.large] }}\n{more}"
        );
        let read = read("fleet.yaml", &text);
        assert_eq!(read.mistakes, []);
        read.fleet.environments.into_iter().next().unwrap()
    }

    pub(crate) fn stack(environment: &Environment) -> Stack {
        let template = Template::of(environment.tier);
        let fleet = read("fleet.yaml", "version: 1\napplication: shop\nreleases: s3://shop-releases/\nenvironments: {}\n").fleet;
        let known = Known { application: "shop", releases: &fleet.releases, environment, document: "0", longest: None, drain: None };
        let written = ingot::desk::Layer { name: "boot.yaml".into(), content: Vec::new() };
        let properties = ingot::desk::Node { place: environment.key.place.clone(), value: ingot::desk::Value::Null };
        Stack {
            name: "shop-prod".into(),
            template: template.name,
            body: template.text,
            defaults: template.defaults(),
            parameters: parameters::of(&known, &template),
            contents: Vec::new(),
            document: Document { written, properties, content: String::new(), sha256: String::new() },
            user_data: String::new(),
            obstacle: None,
        }
    }

    /// The parameters that the stack of an environment gets.
    pub(crate) fn wanted(stack: &Stack) -> Parameters {
        let pair = |parameter: &crate::stack::Parameter| (parameter.name.to_owned(), parameter.given.stand_in().to_owned());
        stack.parameters.iter().map(pair).collect()
    }

    /// A stack as it was deployed.
    pub(crate) fn standing(stack: &Stack) -> Standing {
        let mut parameters = stack.defaults.clone();
        parameters.extend(wanted(stack));
        Standing { parameters, status: "UPDATE_COMPLETE".into(), ..Standing::default() }
    }

    const DATABASE: &str = "    database: { class: db.t4g.micro }\n";

    #[test]
    fn settings_are_told_by_their_name_and_line() {
        let before = standing(&stack(&environment("web", "")));
        let after = environment("web", "    alarms: { error_percent: 7 }\n    metadata_hops: 2\n");
        let found = differing(&stack(&after), &after, &wanted(&stack(&after)), &[], &before);
        let told = |one: &Differing| (one.setting.clone().unwrap(), one.from.clone().unwrap(), one.to.clone(), one.line.clone().unwrap());
        let expected = [("alarms.error_percent", "5", "7", "fleet.yaml:11"), ("metadata_hops", "1", "2", "fleet.yaml:12")]
            .map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
        assert_eq!(found.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_refresh_is_a_schedule_of_the_stack() {
        let before = standing(&stack(&environment("web", "")));
        for (word, schedule) in [("daily", "cron(0 3 * * ? *)"), ("weekly", "cron(0 3 ? * TUE *)"), ("monthly", "cron(0 3 1 * ? *)")] {
            let after = environment("web", &format!("    refresh: {word}\n"));
            let found = differing(&stack(&after), &after, &wanted(&stack(&after)), &[], &before);
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((one.setting.as_deref(), one.from.as_deref(), one.to.as_str()), (Some("refresh"), Some(""), schedule));
            let without = environment("web", "");
            let found = differing(&stack(&without), &without, &wanted(&stack(&without)), &[], &standing(&stack(&after)));
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((one.from.as_deref(), one.to.as_str(), one.near.as_str()), (Some(schedule), "", "fleet.yaml:5"));
        }
    }

    #[test]
    fn what_is_gone_from_fleet_yaml_has_its_default_again() {
        let before = standing(&stack(&environment("web", DATABASE)));
        let after = environment("web", "");
        let found = differing(&stack(&after), &after, &wanted(&stack(&after)), &OF_CREATION, &before);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.setting.as_deref(), one.from.as_deref(), one.to.as_str()), (Some("database.class"), Some("db.t4g.micro"), ""));
        assert_eq!((one.line.as_deref(), one.near.as_str()), (None, "fleet.yaml:5"));
    }

    #[test]
    fn release_policy_and_sizes_are_told_elsewhere() {
        let prod = environment("web", "");
        let mut before = standing(&stack(&prod));
        for name in ["Release", "Image", "Document", "Deployment", "Policy", "Capacity", "BatchSize", "PauseTime"] {
            before.parameters.insert(name.into(), "another".into());
        }
        assert_eq!(differing(&stack(&prod), &prod, &wanted(&stack(&prod)), &[], &before), []);
        // A stack of an older template, or one made by hand, may lack a parameter.
        before.parameters.remove("MetadataHops");
        let found = differing(&stack(&prod), &prod, &wanted(&stack(&prod)), &[], &before);
        assert_eq!(found.iter().map(|one| one.from.clone()).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_counts_at_creation_is_told_where_it_stays() {
        let before = standing(&stack(&environment("web", DATABASE)));
        let after = environment("web", "    database: { class: db.t4g.micro, engine: mysql }\n");
        let found = kept(&stack(&after), &after, &wanted(&stack(&after)), &OF_CREATION, &before);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.setting.as_deref(), one.stays.as_str(), one.says.as_str()), (Some("database.engine"), "postgres", "mysql"));
        assert_eq!(one.line.as_deref(), Some("fleet.yaml:11"));
        assert_eq!(differing(&stack(&after), &after, &wanted(&stack(&after)), &OF_CREATION, &before), []);
    }

    /// Every parameter of a template comes from a minimal environment, or is listed here.
    #[test]
    fn no_parameter_is_without_its_setting() {
        for tier in ["web", "worker"] {
            let prod = environment(tier, "");
            let (of_stack, template) = (stack(&prod), Template::of(if tier == "web" { Tier::Web } else { Tier::Worker }));
            let known: BTreeSet<&str> =
                of_stack.parameters.iter().map(|parameter| parameter.name).chain(LEFT_OUT.map(|(parameter, _)| parameter)).collect();
            let missing: Vec<String> = template.defaults().into_keys().filter(|name| !known.contains(name.as_str())).collect();
            assert!(missing.is_empty(), "{tier}: {missing:?}");
        }
    }
}
