//! The terms of a deployment: all that its updates set besides its [goal](super::record::Goal). They are kept beside the
//! record as `documents/SHA256.json`, so that whoever goes on with a deployment does what the one who began it would have
//! done, whatever its own fleet.yaml and its own templates say. Pure.

use serde::{Deserialize, Serialize};

use super::course::{OF_GOAL, Parameters};
use super::record::{Goal, Policy};
use crate::digest::Sha256;

/// What this version writes and reads.
const SCHEMA: u32 = 1;

/// Parameters that depend on the policy of a deployment and on how many instances run, besides the goal.
const OF_SIZES: [&str; 4] = ["Policy", "Capacity", "BatchSize", "MinInService"];

/// What a deployment sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    schema: u32,
    /// All parameters of the stack. Those of the goal and of the sizes are empty here.
    parameters: Parameters,
    pub(crate) fixed: Fixed,
}

/// What of it is the same for every number of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixed {
    /// The template; `None` keeps that of the stack.
    pub(crate) template: Option<String>,
    pub(crate) batch: Batch,
    pub(crate) watch: Watch,
    pub(crate) tags: Parameters,
    /// The role of CloudFormation.
    pub(crate) role: String,
    /// How a new stack is guarded: its policy, and whether it may be deleted.
    pub(crate) stack_policy: String,
    pub(crate) is_protected: bool,
    /// The change of fleet.yaml that is deployed.
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
    /// How many that are of `capacity`: a share is rounded down, and is one at least.
    pub(crate) fn of(self, capacity: u32) -> u32 {
        match self {
            Self::Instances(count) => count,
            Self::Percent(percent) => (capacity * percent / 100).max(1),
        }
    }
}

/// What CloudFormation watches during an update and after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Watch {
    pub(crate) alarms: Vec<Trigger>,
    pub(crate) minutes: i32,
}

/// An alarm that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    pub(crate) arn: String,
    pub(crate) is_composite: bool,
}

/// A change of fleet.yaml, which is taken back if its deployment does not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edited {
    pub(crate) former: String,
    /// The digest of the text that took its place.
    pub(crate) new: Sha256,
}

impl Terms {
    /// `parameters` are all that the stack is to have; what the record says is left out of them.
    pub(crate) fn new(mut parameters: Parameters, fixed: Fixed) -> Self {
        let of_record = OF_GOAL.iter().chain(&OF_SIZES);
        of_record.for_each(|name| set(&mut parameters, name, String::new()));
        Self { schema: SCHEMA, parameters, fixed }
    }

    /// All parameters of the stack, for a goal.
    pub(crate) fn parameters(&self, goal: &Goal, number: u64) -> Parameters {
        let mut all = self.parameters.clone();
        let desired = goal.capacity.desired.max(1);
        fill(&mut all, goal, number, self.fixed.batch.of(desired).clamp(1, desired));
        all
    }

    /// Whether an environment is the same by these as by others, whatever its goal is.
    pub(crate) fn comes_to(&self, other: &Self) -> bool {
        (&self.fixed.template, &self.parameters) == (&other.fixed.template, &other.parameters)
    }

    /// `None` if they are not what this version writes.
    pub(crate) fn read(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|terms: &Self| terms.schema == SCHEMA)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("they have only strings for keys");
        content.push(b'\n');
        content
    }
}

/// Sets what a goal says of the parameters of a stack. `batch` instances are replaced at a time.
pub(crate) fn fill(parameters: &mut Parameters, goal: &Goal, number: u64, batch: u32) {
    let Goal { release, image, document, policy, capacity } = goal;
    let desired = capacity.desired.max(1);
    let in_service = match policy {
        // One fewer than MaxSize is the most that CloudFormation keeps.
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

/// A tier has the parameters of its template.
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
    fn what_differs_is_what_an_environment_comes_to() {
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
