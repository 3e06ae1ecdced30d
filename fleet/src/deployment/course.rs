//! What a deployment does next, given the state of its stack. Pure.
//!
//! A deployment is two updates of the stack: the first sets the policy and the sizes, the second the release. When the
//! second fails, CloudFormation rolls back with the policy and the capacity that the first has set. The progress of a
//! deployment is derived from the stack: its parameters, and the token of its last operation. So any process can take
//! over a deployment, even after a kill, and continue where it stands.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Goal, Record};
use crate::place::Place;

/// Parameters of a stack, by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Tokens of operations.
pub(crate) type Tokens = BTreeSet<String>;

/// Parameters that say what runs, and by which deployment.
pub(crate) const OF_GOAL: [&str; 5] = ["Deployment", "Release", "ReleaseSha256", "Image", "Document"];

/// Parameters that the first update sets.
pub(crate) const OF_POLICY: [&str; 5] = ["Policy", "BatchSize", "MinInService", "PauseTime", "Capacity"];

/// The state of a stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// StackStatus, such as `UPDATE_COMPLETE`.
    pub(crate) status: String,
    pub(crate) parameters: Parameters,
    pub(crate) outputs: Parameters,
    pub(crate) tags: Parameters,
    /// ClientRequestToken of its last operation, if it had one.
    pub(crate) token: Option<String>,
    /// Whether the stack is protected from deletion.
    pub(crate) is_protected: bool,
}

/// Class of a status.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An operation is running.
    Busy,
    /// It can be updated.
    Ready,
    /// The last update was rolled back. The stack can be updated.
    WentBack,
    /// It needs manual intervention.
    Stuck(Stuck),
}

/// Why a stack needs manual intervention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Its creation failed, and nothing in it serves.
    NeverCreated,
    /// It contains only a change set that was never executed.
    OnlyReviewed,
    /// An update failed with rollback disabled.
    Halfway,
    /// A rollback failed.
    NotBack,
    /// The rollback of a resource import failed.
    NotImported,
    /// Its deletion failed, and part of it is left.
    HalfDeleted,
}

impl Standing {
    pub(crate) fn phase(&self) -> Phase {
        match self.status.as_str() {
            "REVIEW_IN_PROGRESS" => Phase::Stuck(Stuck::OnlyReviewed),
            status if status.ends_with("_IN_PROGRESS") => Phase::Busy,
            "UPDATE_ROLLBACK_COMPLETE" => Phase::WentBack,
            "UPDATE_FAILED" => Phase::Stuck(Stuck::Halfway),
            "UPDATE_ROLLBACK_FAILED" => Phase::Stuck(Stuck::NotBack),
            "IMPORT_ROLLBACK_FAILED" => Phase::Stuck(Stuck::NotImported),
            "DELETE_FAILED" => Phase::Stuck(Stuck::HalfDeleted),
            "CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" => Phase::Stuck(Stuck::NeverCreated),
            _ => Phase::Ready,
        }
    }

    /// Returns whether an operation is running.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase() == Phase::Busy
    }

    fn has(&self, wanted: &Parameters) -> bool {
        wanted.iter().all(|(name, value)| self.parameters.get(name) == Some(value))
    }

    /// Returns whether this is the stack of an environment. The name is ambiguous: `shop-eu-prod` is `eu-prod` of
    /// `shop`, or `prod` of `shop-eu`. A stack with only a change set has no parameters yet and is accepted.
    pub(crate) fn is_of(&self, application: &str, environment: &str) -> bool {
        self.phase() == Phase::Stuck(Stuck::OnlyReviewed)
            || (self.parameter("Application"), self.parameter("Environment")) == (Some(application), Some(environment))
    }

    /// Returns where its parameters place the releases and records of its application.
    pub(crate) fn place(&self, application: &str) -> Option<Place> {
        let bucket = self.parameter("ReleasesBucket")?.to_owned();
        let prefix = self.parameter("ReleasesPrefix").unwrap_or_default().to_owned();
        Some(Place { application: application.to_owned(), bucket, prefix })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    pub(crate) fn output(&self, name: &str) -> Option<&str> {
        self.outputs.get(name).map(String::as_str)
    }
}

/// One operation of a deployment on its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    SetPolicy,
    SetRelease,
}

impl Operation {
    /// Returns the token that identifies the operation in events.
    pub(crate) fn token(self, record: &Record) -> String {
        let word = match self {
            Self::Create => "create",
            Self::SetPolicy => "policy",
            Self::SetRelease => "release",
        };
        format!("ingot-{}-{word}-{}", record.number, record.attempt)
    }

    /// Returns whether a token belongs to an operation of this deployment.
    pub(crate) fn is_of(token: &str, record: &Record) -> bool {
        [Self::Create, Self::SetRelease].iter().any(|operation| operation.token(record) == token) || Self::is_policy_of(token, record)
    }

    /// Returns whether it belongs to an update that sets the policy, for any number of instances.
    fn is_policy_of(token: &str, record: &Record) -> bool {
        token.strip_prefix(&Self::SetPolicy.token(record)).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Begin(Operation),
    /// An operation of this deployment is running.
    Wait,
    /// Another operation is running.
    WaitForOthers,
    /// Every instance in service runs what was requested.
    Good,
    /// It failed, and everything is as before.
    Failed,
    /// The environment no longer exists.
    Gone,
    /// The stack needs manual intervention first.
    Stuck(Stuck),
}

/// The stack parameters that a deployment sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted(Parameters);

impl Wanted {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self(parameters)
    }

    /// Derives them from a record alone, without the settings of its environment. That suffices to determine its state.
    pub(crate) fn of(record: &Record) -> Self {
        let Goal { release, image, document, .. } = &record.goal;
        let pairs = [
            ("Deployment", record.number.to_string()),
            ("Release", release.name.to_string()),
            ("ReleaseSha256", release.sha256.to_string()),
            ("Image", image.clone()),
            ("Document", document.sha256.to_string()),
        ];
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    pub(crate) fn all(&self) -> &Parameters {
        &self.0
    }

    /// Returns the token of an operation that sets these parameters. If the number of instances has changed since the
    /// deployment began, the token differs, so that the policy is set again.
    pub(crate) fn token(&self, operation: Operation, record: &Record) -> String {
        let token = operation.token(record);
        match self.0.get("Capacity") {
            Some(now) if operation == Operation::SetPolicy && *now != record.goal.capacity.desired.max(1).to_string() => {
                format!("{token}-{now}")
            }
            _ => token,
        }
    }

    /// Returns the parameters of the first update.
    pub(crate) fn of_policy(&self) -> Parameters {
        self.among(&OF_POLICY)
    }

    fn of_goal(&self) -> Parameters {
        self.among(&OF_GOAL)
    }

    fn among(&self, names: &[&str]) -> Parameters {
        self.0.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Decides what a deployment does next. `standing` is `None` if there is no stack. `begun` holds the tokens of all
/// operations since the deployment began, no matter who began them.
pub(crate) fn next(record: &Record, wanted: &Wanted, standing: Option<&Standing>, begun: &Tokens) -> Next {
    let Some(standing) = standing else {
        return if record.may_create() { Next::Begin(Operation::Create) } else { Next::Gone };
    };
    let token = |operation: Operation| wanted.token(operation, record);
    let is_ours = standing.token.as_deref().is_some_and(|token| Operation::is_of(token, record));
    let has_begun = |operation: Operation| standing.token.as_ref() == Some(&token(operation)) || begun.contains(&token(operation));
    let has_another = || begun.iter().any(|begun| *begun != token(Operation::SetPolicy) && Operation::is_policy_of(begun, record));
    let is_set = standing.has(&wanted.of_policy());
    match standing.phase() {
        Phase::Busy if is_ours => Next::Wait,
        Phase::Busy => Next::WaitForOthers,
        Phase::Stuck(Stuck::NeverCreated) if has_begun(Operation::Create) => Next::Failed,
        Phase::Stuck(stuck) => Next::Stuck(stuck),
        Phase::Ready | Phase::WentBack if standing.has(&wanted.of_goal()) => Next::Good,
        Phase::WentBack if is_ours => Next::Failed,
        // Each operation is begun once. It was rolled back, or the stack was changed after it.
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetRelease) => Next::Failed,
        Phase::Ready | Phase::WentBack if is_set => Next::Begin(Operation::SetRelease),
        // Another follower has counted a different number of instances.
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetPolicy) && has_another() => Next::Begin(Operation::SetRelease),
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetPolicy) => Next::Failed,
        Phase::Ready | Phase::WentBack => Next::Begin(Operation::SetPolicy),
    }
}

impl Stuck {
    /// Returns what is wrong with the stack, and the way out.
    pub(crate) fn way_out(self, stack: &str, environment: &str) -> (&'static str, String) {
        match self {
            Self::NeverCreated => (
                "its creation failed, and nothing in it serves",
                format!(
                    "check `ingot-fleet events {environment}`, remove it with `ingot-fleet terminate {environment}`, then create it again"
                ),
            ),
            Self::OnlyReviewed => (
                "it contains only a change set that was never executed",
                format!("remove it with `ingot-fleet terminate {environment}`, then create it"),
            ),
            Self::Halfway => (
                "an update failed with rollback disabled",
                format!("roll it back with `aws cloudformation rollback-stack --stack-name {stack}`; then it can be updated"),
            ),
            Self::NotBack => (
                "an update failed, and so did its rollback",
                format!(
                    "fix the cause that `ingot-fleet events {environment}` shows, then continue the rollback with \
                    `aws cloudformation continue-update-rollback --stack-name {stack}`; after that, it can be updated"
                ),
            ),
            Self::NotImported => (
                "an import of a resource failed, and so did its rollback",
                format!(
                    "ask AWS Support, since AWS documents no way to continue; the instances keep serving. \
                     `ingot-fleet events {environment} --since 7d` shows what happened"
                ),
            ),
            Self::HalfDeleted => (
                "its deletion failed, and part of it is left",
                format!(
                    "fix the cause that `ingot-fleet events {environment}` shows, then run `ingot-fleet terminate {environment}` again"
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
