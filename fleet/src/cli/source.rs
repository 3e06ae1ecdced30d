//! What a deployment sets on a stack: what fleet.yaml describes, or, for a rollback, what the stack already has.

use super::operator::Operator;
use crate::aws::alarms::Alarms;
use crate::aws::groups::Group;
use crate::deployment::course::{OF_POLICY, Parameters, Standing};
use crate::deployment::record::{Capacity, Goal, Kind, Policy};
use crate::deployment::terms::{Batch, Edited, Fixed, Terms, Trigger, Watch};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet;
use crate::stack::{self, Account, OF_CREATION, POLICY, Stack};

/// Where the parameters come from.
#[derive(Debug)]
pub(super) enum Source {
    /// fleet.yaml, with its template and its document.
    File(Box<Stack>),
    /// The stack: everything stays as it is, except for what a rollback changes.
    Stack(Parameters),
}

impl Source {
    /// The digest of the boot document that the environment should have, if it is known.
    pub(super) fn document(&self) -> Option<&str> {
        match self {
            Self::File(stack) => Some(&stack.document.sha256),
            Self::Stack(_) => None,
        }
    }

    /// Why a deployment in place would lose requests, if it would. What the stack has was checked when it was deployed.
    pub(super) fn obstacle(&self) -> Option<&str> {
        match self {
            Self::File(stack) => stack.obstacle.as_deref(),
            Self::Stack(_) => None,
        }
    }

    /// The policy by which what runs is replaced.
    pub(super) fn policy(&self, operator: &Operator, asked: Option<Policy>, kind: Kind) -> Result<Policy, Failure> {
        let of_file = || of_file(operator.environment().settings.deployment.policy());
        let policy = match (asked, self) {
            (Some(policy), _) => return Ok(policy),
            (None, Self::File(_)) => of_file(),
            // A rollback is not refused because of what fleet.yaml says.
            (None, Self::Stack(has)) => {
                let chosen = if operator.has_file() { of_file() } else { of_stack(has) };
                // Whether releases may overlap was checked if the last deployment was in place, and is unknown
                // otherwise.
                let is_known = chosen != Policy::InPlace || of_stack(has) == chosen;
                return Ok(if chosen.has_engine() && is_known { chosen } else { Policy::RollingWithBatch });
            }
        };
        match policy {
            // At creation, there is nothing to replace.
            Policy::TrafficSplitting if kind == Kind::Create => Ok(Policy::RollingWithBatch),
            Policy::TrafficSplitting => {
                Err(Failure::new(Exit::Usage, format!("ingot-fleet does not support the policy {} yet", policy.word()))
                    .hint("choose another one for this deployment, such as `--policy rolling_with_batch`"))
            }
            policy => Ok(policy),
        }
    }

    /// The present size of the environment, or the initial size of a new one.
    pub(super) async fn capacity(&self, operator: &Operator) -> Result<Capacity, Failure> {
        let name = operator.name();
        let groups = operator.groups.of(&operator.place.application, name).await?;
        let (min, max) = match self {
            Self::File(_) => {
                let environment = operator.environment();
                let instances = &environment.settings.instances;
                (instances.min(environment.tier, environment.mode), instances.max(environment.mode))
            }
            Self::Stack(_) => groups.first().map_or((1, 1), |group| (group.capacity.min, group.capacity.max)),
        };
        let runs = running(&groups).unwrap_or(min);
        if runs > max {
            let message = format!("{name} has {runs} instances, more than its `max` of {max}");
            return Err(Failure::new(Exit::Document, message).hint(format!(
                "raise `instances.max` of {name} in fleet.yaml to {runs}, or terminate some first with `ingot-fleet scale {name} {max}`"
            )));
        }
        Ok(Capacity { min, desired: runs.max(min), max })
    }

    /// All parameters of the stack.
    pub(super) fn wanted(&self, operator: &Operator, goal: &Goal, number: u64, account: &Account) -> Parameters {
        match self {
            Self::File(stack) => stack::filled(&stack.parameters, operator.environment(), goal, number, account),
            Self::Stack(has) => stack::refilled(has, goal, number),
        }
    }

    /// Which parameters of the stack differ from the wanted ones, apart from those about how it is deployed.
    pub(super) fn changed(&self, standing: &Standing, wanted: &Parameters) -> Vec<String> {
        match self {
            Self::File(stack) => changed(standing, wanted, &stack.defaults),
            Self::Stack(_) => changed(standing, wanted, &Parameters::new()),
        }
    }

    /// What a deployment sets besides its goal. `alarms` are the names of the alarms that CloudFormation watches, and
    /// what was found about them.
    pub(super) fn terms(
        &self,
        operator: &Operator,
        account: &Account,
        kind: Kind,
        (alarms, found): (&[&str], &Alarms),
        goal: &Goal,
        edit: Option<Edited>,
    ) -> Terms {
        let Account { partition, region, id, service_role, .. } = account;
        let alarm = |name: &&str| Trigger {
            arn: format!("arn:{partition}:cloudwatch:{region}:{id}:alarm:{name}"),
            is_composite: found.get(*name).is_some_and(|alarm| alarm.is_composite),
        };
        let (template, bake, is_protected) = match self {
            Self::File(stack) => {
                let settings = &operator.environment().settings;
                (Some(stack.body.to_owned()), settings.deployment.bake, settings.protect)
            }
            Self::Stack(_) => (None, None, false),
        };
        let watch = match kind {
            Kind::Rollback => Watch::default(),
            Kind::Create | Kind::Deploy => Watch {
                alarms: alarms.iter().map(alarm).collect(),
                minutes: bake.map_or(0, |bake| i32::try_from(bake.0 / 60).unwrap_or(i32::MAX)),
            },
        };
        let tag = |key: &str, value: &str| (format!("ingot:{key}"), value.to_owned());
        let fixed = Fixed {
            template,
            batch: self.batch(operator),
            watch,
            tags: [tag("application", &operator.place.application), tag("environment", operator.name())].into(),
            role: service_role.clone(),
            stack_policy: POLICY.to_owned(),
            is_protected,
            edit,
        };
        Terms::new(self.wanted(operator, goal, 0, account), fixed)
    }

    fn batch(&self, operator: &Operator) -> Batch {
        match self {
            Self::Stack(has) if !operator.has_file() => Batch::Instances(stack::batch_of(has)),
            Self::File(_) | Self::Stack(_) => operator.environment().settings.deployment.batch().sized(),
        }
    }
}

/// The size for a deployment that has begun: the current number of instances, within the deployment's own bounds.
pub(super) async fn capacity_now(operator: &Operator, then: Capacity) -> Result<Capacity, Failure> {
    let groups = operator.groups.of(&operator.place.application, operator.name()).await?;
    let desired = running(&groups).map_or(then.desired, |runs| runs.min(then.max).max(then.min));
    Ok(Capacity { desired, ..then })
}

/// How many instances should run; while one group replaces another, those of the larger one.
fn running(groups: &[Group]) -> Option<u32> {
    groups.iter().map(|group| group.capacity.desired).max()
}

fn of_file(policy: fleet::Policy) -> Policy {
    match policy {
        fleet::Policy::AllAtOnce => Policy::AllAtOnce,
        fleet::Policy::Rolling => Policy::Rolling,
        fleet::Policy::RollingWithBatch => Policy::RollingWithBatch,
        fleet::Policy::Immutable => Policy::Immutable,
        fleet::Policy::TrafficSplitting => Policy::TrafficSplitting,
        fleet::Policy::InPlace => Policy::InPlace,
    }
}

/// The policy of the last deployment.
fn of_stack(has: &Parameters) -> Policy {
    let word = has.get("Policy").map_or("", String::as_str);
    serde_json::from_value(word.into()).unwrap_or(Policy::RollingWithBatch)
}

/// What the environment does not set has the default of the template.
fn changed(standing: &Standing, wanted: &Parameters, defaults: &Parameters) -> Vec<String> {
    let counts = |name: &str| name != "Deployment" && !OF_POLICY.contains(&name) && !OF_CREATION.contains(&name);
    let all = defaults.iter().filter(|(name, _)| !wanted.contains_key(*name)).chain(wanted);
    let differs = |(name, value): &(&String, &String)| counts(name) && standing.parameter(name) != Some(value);
    all.filter(differs).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_setting_that_returns_to_its_default_is_a_change() {
        let wanted: Parameters = pairs(&[("Release", "v1"), ("Deployment", "0"), ("Policy", "rolling")]);
        let defaults: Parameters = pairs(&[("CpuPercent", "60"), ("Release", "x"), ("Fifo", "false")]);
        let of = |given: &[(&str, &str)]| changed(&Standing { parameters: pairs(given), ..Standing::default() }, &wanted, &defaults);
        let none: [&str; 0] = [];
        assert_eq!(of(&[("Release", "v1"), ("Deployment", "7"), ("Policy", "immutable"), ("CpuPercent", "60"), ("Fifo", "true")]), none);
        assert_eq!(of(&[("Release", "v1"), ("CpuPercent", "80")]), ["CpuPercent"], "the setting is gone from fleet.yaml");
        assert_eq!(of(&[("Release", "v2"), ("CpuPercent", "60")]), ["Release"]);
        assert_eq!(of(&[("Release", "v1")]), ["CpuPercent"], "the template has one more parameter");
    }

    #[test]
    fn without_fleet_yaml_the_policy_is_that_of_the_stack() {
        assert_eq!(of_stack(&pairs(&[("Policy", "immutable")])), Policy::Immutable);
        assert_eq!(of_stack(&pairs(&[("Policy", "one of later")])), Policy::RollingWithBatch);
    }
}
