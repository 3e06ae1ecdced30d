//! The instances of an environment, read again and again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::operator::Operator;
use crate::aws::groups::Group;
use crate::aws::instances::{self, Known};
use crate::failure::Failure;
use crate::story::{Instance, Target};

/// Reads the instances. If EC2 does not answer, its previous answer counts: only a deployment in place changes tags.
#[derive(Debug)]
pub(super) struct Members<'a> {
    operator: &'a Operator,
    known: RefCell<BTreeMap<String, Known>>,
}

/// The state of an environment's groups and instances now.
#[derive(Debug, Default)]
pub(super) struct Now {
    /// Without their members.
    pub(super) groups: Vec<Group>,
    pub(super) instances: Vec<Instance>,
    /// Why EC2 did not say what they were launched with.
    pub(super) untold: Option<Failure>,
    /// Why a load balancer did not report their health. Then only the groups report it.
    pub(super) unchecked: Vec<Failure>,
}

impl<'a> Members<'a> {
    pub(super) fn new(operator: &'a Operator) -> Self {
        Self { operator, known: RefCell::default() }
    }

    pub(super) async fn now(&self) -> Result<Now, Failure> {
        let groups = self.operator.groups.of(&self.operator.place.application, self.operator.name()).await?;
        let mut now = Now { untold: self.learn(&groups).await.err(), ..Now::default() };
        for mut group in groups {
            let found = match &group.targets {
                Some(targets) => self.operator.groups.health(targets).await.map(Some),
                None => Ok(None),
            };
            let found = found.unwrap_or_else(|failure| {
                now.unchecked.push(failure);
                None
            });
            let is_balanced = found.is_some();
            let mut health = found.unwrap_or_default();
            for member in std::mem::take(&mut group.members) {
                let target = health.remove(&member.id);
                now.instances.push(self.instance(member.id, member.zone, target, is_balanced, (member.state, member.is_healthy)));
            }
            now.groups.push(group);
        }
        now.instances.sort_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id)));
        Ok(now)
    }

    fn instance(
        &self,
        id: String,
        zone: String,
        target: Option<Target>,
        is_balanced: bool,
        (lifecycle, is_healthy): (String, bool),
    ) -> Instance {
        let known = self.known.borrow();
        let known = known.get(&id);
        let tag = |key: &str| known.and_then(|known| known.tags.get(&format!("ingot:{key}")));
        Instance {
            release: tag("release").cloned(),
            deployment: tag("deployment").and_then(|number| number.parse().ok()),
            image: known.map(|known| known.image.clone()),
            launched: known.and_then(|known| known.launched),
            id,
            zone,
            lifecycle,
            is_healthy,
            is_balanced,
            target,
        }
    }

    async fn learn(&self, groups: &[Group]) -> Result<(), Failure> {
        let all: BTreeSet<&str> = groups.iter().flat_map(|group| &group.members).map(|member| member.id.as_str()).collect();
        let ids: Vec<&str> = all.iter().copied().collect();
        let found = if ids.is_empty() { Vec::new() } else { instances::instances(&self.operator.aws, &ids).await? };
        let mut known = self.known.borrow_mut();
        known.retain(|id, _| all.contains(id.as_str()));
        known.extend(found.into_iter().map(|one| (one.id.clone(), one)));
        Ok(())
    }
}
