//! The terms of a deployment: everything its updates set apart from its [goal](super::record::Goal). They are stored as
//! `documents/SHA256.json`, so that a process that takes over a deployment acts exactly like the one that began it,
//! whatever its own fleet.yaml and templates say. Pure.

use serde::{Deserialize, Serialize};

use super::course::{OF_GOAL, Parameters};
use super::record::{Goal, Policy};
use crate::digest::Sha256;

/// Schema that this version writes and reads.
const SCHEMA: u32 = 1;

/// Parameters that depend on the policy and on the number of running instances, apart from the goal.
const OF_SIZES: [&str; 4] = ["Policy", "Capacity", "BatchSize", "MinInService"];

/// What a deployment sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    schema: u32,
    /// All parameters of the stack. Those of the goal and of the sizes are empty.
    parameters: Parameters,
    pub(crate) fixed: Fixed,
}

/// The part of the terms that does not depend on the number of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixed {
    /// The template; `None` keeps the stack's template.
    pub(crate) template: Option<String>,
    pub(crate) batch: Batch,
    pub(crate) watch: Watch,
    pub(crate) tags: Parameters,
    /// The service role that CloudFormation assumes.
    pub(crate) role: String,
    /// Protection of a new stack: its stack policy, and its termination protection.
    pub(crate) stack_policy: String,
    pub(crate) is_protected: bool,
    /// The edit of fleet.yaml that is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<Edited>,
}

/// How many instances are replaced at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Batch {
    Instances(u32),
    Percent(u32),
}

impl Batch {
    /// Returns the number of instances out of `capacity`: a share is rounded down to at least one.
    pub(crate) fn of(self, capacity: u32) -> u32 {
        match self {
            Self::Instances(count) => count,
            Self::Percent(percent) => (capacity * percent / 100).max(1),
        }
    }
}

/// The alarms that CloudFormation watches during and after an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    pub(crate) alarms: Vec<Trigger>,
    pub(crate) minutes: i32,
}

/// A watched alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    pub(crate) arn: String,
    pub(crate) is_composite: bool,
}

/// An edit of fleet.yaml, which is reverted if its deployment fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edited {
    pub(crate) former: String,
    /// The digest of the text that replaced it.
    pub(crate) new: Sha256,
}

impl Terms {
    /// Makes terms of all `parameters` of the stack, blanking those that the record holds.
    pub(crate) fn new(mut parameters: Parameters, fixed: Fixed) -> Self {
        let of_record = OF_GOAL.iter().chain(&OF_SIZES);
        of_record.for_each(|name| set(&mut parameters, name, String::new()));
        Self { schema: SCHEMA, parameters, fixed }
    }

    /// Returns all parameters of the stack for a goal.
    pub(crate) fn parameters(&self, goal: &Goal, number: u64) -> Parameters {
        let mut all = self.parameters.clone();
        let desired = goal.capacity.desired.max(1);
        fill(&mut all, goal, number, self.fixed.batch.of(desired).clamp(1, desired));
        all
    }

    /// Returns whether these terms give an environment the same settings as others do, apart from the goal.
    pub(crate) fn comes_to(&self, other: &Self) -> bool {
        (&self.fixed.template, &self.parameters) == (&other.fixed.template, &other.parameters)
    }

    /// Returns `None` if the content is not in this version's format.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|terms: &Self| terms.schema == SCHEMA)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("they have only strings for keys");
        content.push(b'\n');
        content
    }
}

/// Fills in the stack parameters that a goal determines. `batch` instances are replaced at a time.
pub(crate) fn fill(parameters: &mut Parameters, goal: &Goal, number: u64, batch: u32) {
    let Goal { release, image, document, policy, capacity } = goal;
    let desired = capacity.desired.max(1);
    let in_service = match policy {
        // CloudFormation requires MinInstancesInService to be below MaxSize.
        Policy::Rolling => (desired - batch).min(capacity.max.saturating_sub(1)),
        _ => desired - batch,
    };
    for (name, value) in [
        ("Release", release.name.to_string()),
        ("ReleaseSha256", release.sha256.to_string()),
        ("Image", image.clone()),
        ("Document", document.sha256.to_string()),
        ("Deployment", number.to_string()),
        ("Policy", policy.word().to_owned()),
        ("Capacity", desired.to_string()),
        ("BatchSize", batch.to_string()),
        ("MinInService", in_service.to_string()),
    ] {
        set(parameters, name, value);
    }
}

/// Sets a parameter if the template of the tier has it.
fn set(parameters: &mut Parameters, name: &str, value: String) {
    if let Some(parameter) = parameters.get_mut(name) {
        *parameter = value;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::deployment::record::tests::goal;

    pub(crate) fn terms(parameters: &[(&str, &str)]) -> Terms {
        let tags = [("ingot:application".to_owned(), "shop".to_owned())].into();
        let fixed = Fixed {
            template: Some(String::new()),
            batch: Batch::Percent(50),
            watch: Watch::default(),
            tags,
            role: String::new(),
            stack_policy: String::new(),
            is_protected: false,
            edit: None,
        };
        Terms::new(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), fixed)
    }

    const GIVEN: [(&str, &str); 6] =
        [("Release", "v9"), ("Vpc", "vpc-1"), ("BatchSize", "3"), ("Capacity", "9"), ("MinInService", "6"), ("Policy", "rolling")];

    #[test]
    fn the_goal_and_the_sizes_are_those_of_the_record() {
        let filled = terms(&GIVEN).parameters(&goal("v1"), 8);
        let of = |name: &str| filled[name].as_str();
        assert_eq!((of("Release"), of("Vpc"), of("Policy")), ("v1", "vpc-1", "rolling_with_batch"));
        assert_eq!((of("Capacity"), of("BatchSize"), of("MinInService")), ("4", "2", "2"));
        assert!(!filled.contains_key("Deployment"), "the template has no such parameter");
    }

    #[test]
    fn terms_differ_by_settings_and_not_by_goal() {
        let (one, mut other) = (terms(&GIVEN), terms(&[("Release", "v1"), ("Capacity", "1"), ("Policy", "immutable")]));
        assert!(!one.comes_to(&other));
        other.parameters = one.parameters.clone();
        other.fixed.batch = Batch::Instances(1);
        assert!(one.comes_to(&other), "it is the same once both have ended");
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let terms = terms(&GIVEN);
        assert_eq!(Terms::read(&terms.write()), Some(terms.clone()));
        let text = String::from_utf8(terms.write()).unwrap();
        for other in [text.replace("\"schema\": 1", "\"schema\": 2"), text.replacen('{', "{\"more\": 1,", 1), "{}".to_owned()] {
            assert_eq!(Terms::read(other.as_bytes()), None, "{other}");
        }
    }
}
