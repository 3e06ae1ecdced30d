//! The requests that a deployment sends to CloudFormation.

use crate::aws::stacks::{Guard, Order};
use crate::deployment::course::{OF_POLICY, Operation, Parameters, Standing, Wanted};
use crate::deployment::record::{Policy, Record};
use crate::deployment::terms::{Fixed, Terms, Watch};
use crate::stack::OF_CREATION;

/// What a deployment is to set on its stack.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) stack: String,
    /// `None` keeps the stack's template.
    pub(crate) template: Option<&'a str>,
    pub(crate) wanted: Wanted,
    tags: &'a Parameters,
    role: &'a str,
    watch: &'a Watch,
    pub(super) guard: Guard<'a>,
    /// Whether this process began the deployment.
    pub(super) is_own: bool,
}

impl<'a> Plan<'a> {
    /// Derives from its terms what a deployment sets on its stack.
    pub(crate) fn of(stack: String, terms: &'a Terms, record: &Record) -> Self {
        let wanted = Wanted::new(terms.parameters(&record.goal, record.number));
        let Fixed { template, watch, tags, role, stack_policy, is_protected, .. } = &terms.fixed;
        let guard = Guard { policy: stack_policy, is_protected: *is_protected };
        Self { stack, template: template.as_deref(), wanted, tags, role, watch, guard, is_own: true }
    }

    /// Marks the deployment as begun by another process, or by this command before it was interrupted.
    pub(crate) fn taken_up(self) -> Self {
        Self { is_own: false, ..self }
    }

    pub(super) fn is_in_place(&self) -> bool {
        self.wanted.all().get("Policy").is_some_and(|policy| policy == Policy::InPlace.word())
    }

    /// Builds the request for one operation. `standing` is the state of the stack, if it exists.
    pub(crate) fn order<'o>(&'o self, operation: Operation, record: &Record, standing: Option<&'o Standing>) -> Order<'o> {
        let has = standing.map(|standing| &standing.parameters);
        let has_database = standing.is_some_and(|standing| standing.parameter("DatabaseClass").is_some_and(|class| !class.is_empty()));
        let is_kept = |name: &&str| match operation {
            Operation::Create => false,
            Operation::SetPolicy => !OF_POLICY.contains(name),
            // A database that is only created now has no previous values to keep.
            Operation::SetRelease => OF_CREATION.contains(name) && (!name.starts_with("Database") || has_database),
        };
        let kept: Vec<&str> = has.into_iter().flatten().map(|(name, _)| name.as_str()).filter(is_kept).collect();
        let parameters = match operation {
            Operation::SetPolicy => self.wanted.of_policy(),
            Operation::Create | Operation::SetRelease => self
                .wanted
                .all()
                .iter()
                .filter(|(name, _)| !kept.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        };
        // CloudFormation removes tags that an update omits, and other tools' tags must stay.
        let of_others = standing.into_iter().flat_map(|standing| &standing.tags).filter(|(key, _)| !key.starts_with("aws:"));
        let mut tags: Parameters = of_others.map(|(key, value)| (key.clone(), value.clone())).collect();
        tags.extend(self.tags.clone());
        Order {
            stack: &self.stack,
            token: self.wanted.token(operation, record),
            template: self.template.filter(|_| operation != Operation::SetPolicy),
            parameters,
            kept,
            tags,
            role: Some(self.role),
            watch: if operation == Operation::SetRelease { self.watch.clone() } else { Watch::default() },
        }
    }
}
