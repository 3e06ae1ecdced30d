//! What an update changes of the parameters of a stack, in words of fleet.yaml.

use serde::Serialize;

use crate::deployment::course::{OF_GOAL, OF_POLICY, Parameters, Standing};
use crate::fleet::Environment;
use crate::fleet::origin::{Origin, origin};
use crate::stack::Stack;

/// Parameters that have their default where fleet.yaml leaves a setting out, and the setting.
const LEFT_OUT: [(&str, &str); 25] = [
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
    ("RequestsPerTarget", "instances.scale_on"),
    ("RootDevice", "instances.root_device"),
    ("SecondInstanceType", "instances.types.1"),
    ("SecondSchedule", "schedule.1.cron"),
    ("SecondScheduleMinSize", "schedule.1.min"),
];

/// A parameter that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Differing {
    /// The setting of fleet.yaml that it comes from.
    pub(crate) setting: Option<String>,
    pub(crate) parameter: String,
    /// `None` where the stack does not have it yet.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    /// The line that says so; `None` where fleet.yaml says nothing.
    pub(crate) line: Option<String>,
    /// The line with the setting, or with what it would be part of.
    #[serde(skip)]
    pub(crate) near: String,
}

/// A parameter that counts at creation only, and stays what it is.
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

/// The parameters that an update changes, but for the release and for how it is deployed. `kept` are those that keep their
/// value; what is neither in `wanted` nor in these gets the default of the template.
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

/// The parameters that stay, though fleet.yaml says otherwise: of all that are wanted, those in `kept`.
pub(crate) fn kept(stack: &Stack, environment: &Environment, wanted: &Parameters, kept: &[&str], standing: &Standing) -> Vec<Kept> {
    let one = |name: &&str| {
        let (stays, says) = (standing.parameter(name)?, wanted.get(*name)?);
        let Source { setting, line, .. } = Source::of(name, stack, environment);
        let kept = Kept { setting, parameter: (*name).to_owned(), stays: stays.to_owned(), says: says.clone(), line };
        (stays != says).then_some(kept)
    };
    kept.iter().filter_map(one).collect()
}
