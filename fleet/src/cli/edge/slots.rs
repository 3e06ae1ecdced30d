//! The environments in the slots of an edge, and their health.

use serde::Serialize;

use super::desk::stack_of;
use crate::aws::groups::Groups;
use crate::aws::stacks::{CloudFormation, Stacks as _};
use crate::deployment::course::Standing;
use crate::deployment::slot::{Slot, Weights};
use crate::failure::Failure;

/// An environment in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) environment: String,
    pub(crate) slot: Slot,
    pub(crate) release: Option<String>,
    /// Status of its stack, while its instances are launched, ended or replaced.
    pub(crate) changes: Option<String>,
}

/// The environments of an edge, by the stacks of its application.
pub(crate) async fn tenants(stacks: &CloudFormation, application: &str, edge: &str) -> Result<Vec<Tenant>, Failure> {
    Ok(among(&stacks.of_application(application).await?, edge))
}

/// The same, among stacks that are already known.
pub(crate) fn among(stacks: &[(String, Standing)], edge: &str) -> Vec<Tenant> {
    let tenant = |(_, standing): &(String, Standing)| {
        let (_, slot) = Slot::of(standing).filter(|(of, _)| *of == edge)?;
        let text = |name: &str| standing.parameter(name).map(str::to_owned);
        // During the cleanup, the instances in service no longer change: the deployment is over by then.
        let changes = Some(&standing.status).filter(|status| standing.is_busy() && !status.contains("CLEANUP")).cloned();
        Some(Tenant { environment: text("Environment")?, slot, release: text("Release"), changes })
    };
    stacks.iter().filter_map(tenant).collect()
}

/// The names of the environments in a slot.
pub(crate) fn names(tenants: &[Tenant], slot: Slot) -> String {
    let names: Vec<&str> = tenants.iter().filter(|one| one.slot == slot).map(|one| one.environment.as_str()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") }
}

/// The slot of an environment, and its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Position {
    pub(crate) edge: String,
    pub(crate) slot: Slot,
    pub(crate) percent: u32,
}

impl Position {
    pub(crate) fn told(&self) -> String {
        let Self { edge, slot, percent } = self;
        format!("slot {slot} of the edge {edge}: {percent} % of the requests")
    }

    /// The alarms of the edge that are about this slot.
    pub(crate) fn alarms(&self, application: &str) -> Vec<String> {
        let stack = stack_of(application, &self.edge);
        let errors = (self.percent > 0).then(|| format!("{stack}-5xx"));
        errors.into_iter().chain([format!("{stack}-{}-unhealthy", self.slot)]).collect()
    }
}

/// The position of an environment. `None` without an edge, and if the edge is gone.
pub(crate) async fn position(stacks: &CloudFormation, application: &str, environment: &Standing) -> Result<Option<Position>, Failure> {
    let Some((edge, slot)) = Slot::of(environment) else { return Ok(None) };
    let weights = stacks.standing(&stack_of(application, edge)).await?.as_ref().and_then(Weights::of);
    Ok(weights.map(|weights| Position { edge: edge.to_owned(), slot, percent: weights.percent(slot) }))
}

/// How many targets a slot has, and how many of them are healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fitness {
    pub(crate) healthy: usize,
    pub(crate) all: usize,
    /// Why one of the others is not healthy.
    pub(crate) why: Option<String>,
}

/// Asks the load balancer for the health of a slot. `edge` is the edge's stack.
pub(crate) async fn fitness(groups: &Groups, edge: &Standing, slot: Slot) -> Result<Fitness, Failure> {
    let Some(targets) = edge.output(slot.targets()) else { return Ok(Fitness { healthy: 0, all: 0, why: None }) };
    let targets = groups.health(targets).await?;
    let mut others = targets.iter().filter(|(_, target)| target.state != "healthy" && target.state != "draining");
    let why = others.next().map(|(id, target)| {
        let why = target.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{id} is {}{why}", target.state)
    });
    let count = |state: &str| targets.values().filter(|target| target.state == state).count();
    Ok(Fitness { healthy: count("healthy"), all: targets.len() - count("draining"), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(environment: &str, slot: &str) -> (String, Standing) {
        let pairs = [("Environment", environment), ("Slot", slot), ("Release", "v1")];
        let parameters = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        (format!("shop-{environment}"), Standing { parameters, ..Standing::default() })
    }

    #[test]
    fn environments_are_known_by_their_slots() {
        let stacks = [stack("blue", "main-a"), stack("green", "main-b"), stack("prod", ""), stack("other", "second-a")];
        let tenants = among(&stacks, "main");
        assert_eq!((names(&tenants, Slot::A), names(&tenants, Slot::B)), ("blue".to_owned(), "green".to_owned()));
        assert_eq!(names(&among(&stacks, "second"), Slot::B), "nothing");
    }

    #[test]
    fn what_is_created_replaced_or_deleted_changes() {
        let changes = |status: &str| {
            let (name, standing) = stack("green", "main-b");
            among(&[(name, Standing { status: status.into(), ..standing })], "main")[0].changes.clone()
        };
        for status in ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "DELETE_IN_PROGRESS"] {
            assert_eq!(changes(status).as_deref(), Some(status));
        }
        for status in ["CREATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE", "DELETE_FAILED"] {
            assert_eq!(changes(status), None, "{status}");
        }
    }
}
