//! The instances of an environment, for a deployment in place.

use super::operator::Operator;
use super::output::talk;
use crate::aws::boots::{self, Boot, Instances, Sent};
use crate::aws::instances;
use crate::deployment::in_place::{Standee, beyond};
use crate::deployment::record::{Kind, Policy, Release};
use crate::exit::Exit;
use crate::failure::Failure;

/// The policy of a deployment that changes the parameters `changed` of the stack; `None` if there is no stack.
/// `obstacle`: why requests would be lost. `asked`: the policy of the command line.
///
/// # Errors
///
/// If requests would be lost, or if instances that stay would not get what changes. In the second case, a rollback
/// replaces them instead, unless the command line names the policy.
pub(super) fn fitting(
    operator: &Operator,
    policy: Policy,
    (changed, obstacle): (Option<&[String]>, Option<&str>),
    kind: Kind,
    asked: Option<Policy>,
) -> Result<Policy, Failure> {
    let beyond = changed.map(beyond).unwrap_or_default();
    if policy != Policy::InPlace || changed.is_none() {
        return Ok(policy);
    }
    let refused = |why: String| {
        Failure::new(Exit::Document, format!("cannot deploy {} in place", operator.name()))
            .why(why)
            .hint("deploy this once with another policy, such as `--policy rolling_with_batch`")
    };
    if let Some(obstacle) = obstacle {
        return Err(refused(format!("requests would be lost: {obstacle}")));
    }
    if beyond.is_empty() {
        return Ok(policy);
    }
    let what = format!("instances that stay get another release and nothing else, but other parameters change: {}", beyond.join(", "));
    if kind == Kind::Rollback && asked.is_none() {
        talk(&format!("note: {what}; they are replaced instead, with the policy rolling_with_batch"));
        return Ok(Policy::RollingWithBatch);
    }
    Err(refused(what))
}

impl Instances for Operator {
    async fn standees(&self) -> Result<Vec<Standee>, Failure> {
        let groups = self.groups.of(&self.place.application, self.name()).await?;
        let members: Vec<_> = groups.iter().flat_map(|group| &group.members).collect();
        let ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        let known = if ids.is_empty() { Vec::new() } else { instances::instances(&self.aws, &ids).await? };
        let standee = |(id, lifecycle): (&str, &str)| {
            let tags = known.iter().find(|known| known.id == id).map(|known| &known.tags);
            let tag = |name: &str| tags.and_then(|tags| tags.get(&format!("ingot:{name}")));
            let (deployment, release) =
                (tag("deployment").and_then(|tag| tag.parse().ok()), tag("release").and_then(|tag| tag.parse().ok()));
            Standee { id: id.to_owned(), lifecycle: lifecycle.to_owned(), deployment, release }
        };
        Ok(members.iter().map(|member| standee((&member.id, &member.state))).collect())
    }

    async fn mark(&self, ids: &[String], deployment: u64, release: Option<&Release>) -> Result<(), Failure> {
        let mut tags = vec![("ingot:deployment", deployment.to_string())];
        tags.extend(release.map(|release| ("ingot:release", release.name.to_string())));
        instances::tag(&self.aws, ids, &tags).await
    }

    async fn send(&self, release: &Release, ids: &[String], comment: &str) -> Result<Sent, Failure> {
        boots::send(&self.aws, &format!("{}@sha256:{}", release.name, release.sha256), ids, comment).await
    }

    async fn look(&self, command: &str, ids: &[String]) -> Result<Vec<(String, Boot)>, Failure> {
        boots::look(&self.aws, command, ids).await
    }

    async fn was_sent(&self, id: &str, comment: &str) -> Result<bool, Failure> {
        boots::was_sent(&self.aws, id, comment).await
    }

    async fn replace(&self, id: &str) -> Result<(), Failure> {
        self.groups.replace(id).await
    }
}
