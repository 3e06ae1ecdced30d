//! The parameters of a stack in a deployment: those of the environment, completed by what only AWS and the deployment
//! know.

use crate::deployment::course::Parameters;
use crate::deployment::record::Goal;
use crate::deployment::terms::fill;
use crate::fleet::Environment;
use crate::stack::parameters::{Given, Parameter};

/// Where environments are: the outputs of the stack `ingot-account`, and the account itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// `aws`, or the partition of China or of GovCloud.
    pub(crate) partition: String,
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) service_role: String,
    pub(crate) boundary: String,
    pub(crate) evidence: String,
    /// Whether the service role may create schedules. Older ones may not.
    pub(crate) has_schedules: bool,
}

/// Parameters that take effect only when the stack is created, and keep their value in updates.
pub(crate) const OF_CREATION: [&str; 5] = ["DatabaseSnapshot", "DatabaseEngine", "DatabaseName", "DatabaseUser", "Fifo"];

/// All parameters of a deployment.
pub(crate) fn filled(parameters: &[Parameter], environment: &Environment, goal: &Goal, number: u64, account: &Account) -> Parameters {
    let mut filled: Parameters = parameters
        .iter()
        .map(|parameter| {
            let value = match &parameter.given {
                Given::Known(value) => value.clone(),
                // Names that become ARNs once the account and the region are known.
                Given::Later { what, .. } => what
                    .replace("arn:aws:", &format!("arn:{}:", account.partition))
                    .replace(":REGION:", &format!(":{}:", account.region))
                    .replace(":ACCOUNT:", &format!(":{}:", account.id)),
            };
            (parameter.name.to_owned(), value)
        })
        .collect();
    let desired = goal.capacity.desired.max(1);
    let batch = environment.settings.deployment.batch().of(desired).min(desired);
    for (name, value) in [("EvidenceBucket", &account.evidence), ("PermissionsBoundary", &account.boundary)] {
        // Each tier has only the parameters of its template.
        filled.entry(name.to_owned()).and_modify(|parameter| parameter.clone_from(value));
    }
    fill(&mut filled, goal, number, batch);
    filled
}

/// All parameters of a deployment that changes only what its goal says, from those that a stack has.
pub(crate) fn refilled(has: &Parameters, goal: &Goal, number: u64) -> Parameters {
    let mut filled = has.clone();
    fill(&mut filled, goal, number, batch_of(has).clamp(1, goal.capacity.desired.max(1)));
    filled
}

/// How many instances are replaced at a time, according to the parameters of a stack.
pub(crate) fn batch_of(has: &Parameters) -> u32 {
    has.get("BatchSize").and_then(|size| size.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::goal;

    #[test]
    fn without_fleet_yaml_all_else_stays() {
        let has =
            [("Release", "v3"), ("Vpc", "vpc-1"), ("BatchSize", "3"), ("Capacity", "9"), ("MinInService", "6"), ("Policy", "rolling")];
        let has: Parameters = has.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let filled = refilled(&has, &goal("v1"), 8);
        let of = |name: &str| filled[name].as_str();
        assert_eq!((of("Release"), of("Vpc"), of("Policy")), ("v1", "vpc-1", "rolling_with_batch"));
        assert_eq!((of("Capacity"), of("BatchSize"), of("MinInService")), ("4", "3", "1"), "for what runs now");
        assert!(!filled.contains_key("Deployment"), "the template has no such parameter");
    }
}
