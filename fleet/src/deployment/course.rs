//! What a deployment does next, by how its stack stands. Pure.
//!
//! A deployment is two updates of the stack: the first sets the policy and the sizes, the second the release. When an update
//! fails, CloudFormation goes back by the policy and to the capacity from before it, which the first has set. Where a
//! deployment is, is read off the stack: its parameters, and the token of its last operation. So whoever takes over a
//! deployment, a process that was killed included, goes on where it is.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Goal, Record};
use crate::place::Place;

/// Parameters of a stack, by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Tokens of operations.
pub(crate) type Tokens = BTreeSet<String>;

/// Those that say what runs, and by which deployment.
pub(crate) const OF_GOAL: [&str; 5] = ["Deployment", "Release", "ReleaseSha256", "Image", "Document"];

/// Those that the first update sets.
pub(crate) const OF_POLICY: [&str; 5] = ["Policy", "BatchSize", "MinInService", "PauseTime", "Capacity"];

/// How a stack stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// StackStatus, such as `UPDATE_COMPLETE`.
    pub(crate) status: String,
    pub(crate) parameters: Parameters,
    pub(crate) outputs: Parameters,
    pub(crate) tags: Parameters,
    /// ClientRequestToken of its last operation, where that had one.
    pub(crate) token: Option<String>,
    /// Whether it may be deleted.
    pub(crate) is_protected: bool,
}

/// What kind of status it is.
///
/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// An operation goes on.
    Busy,
    /// It can be updated.
    Ready,
    /// The last update has failed, and everything is as before. It can be updated.
    WentBack,
    /// It needs a hand.
    Stuck(Stuck),
}

/// What kind of hand a stack needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Its creation failed: nothing of it serves.
    NeverCreated,
    /// A change set was made of it, and never executed.
    OnlyReviewed,
    /// An update failed, and somebody has switched going back off.
    Halfway,
    /// Going back failed.
    NotBack,
    /// Somebody has tried to import a resource, and going back from that failed.
    NotImported,
    /// Deleting it failed: a part of it is left.
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

    /// Whether an operation goes on.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase() == Phase::Busy
    }

    fn has(&self, wanted: &Parameters) -> bool {
        wanted.iter().all(|(name, value)| self.parameters.get(name) == Some(value))
    }

    /// Whether this is the stack of an environment. Names do not tell: `shop-eu-prod` is `eu-prod` of `shop`, or `prod` of
    /// `shop-eu`. Of a change set alone there is nothing yet, no parameters either.
    pub(crate) fn is_of(&self, application: &str, environment: &str) -> bool {
        self.phase() == Phase::Stuck(Stuck::OnlyReviewed)
            || (self.parameter("Application"), self.parameter("Environment")) == (Some(application), Some(environment))
    }

    /// Where the releases and records of its application are, as its parameters say.
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
    /// The token by which it is known again: events have it.
    pub(crate) fn token(self, record: &Record) -> String {
        let word = match self {
            Self::Create => "create",
            Self::SetPolicy => "policy",
            Self::SetRelease => "release",
        };
        format!("ingot-{}-{word}-{}", record.number, record.attempt)
    }

    /// Whether a token is that of an operation of this deployment.
    pub(crate) fn is_of(token: &str, record: &Record) -> bool {
        [Self::Create, Self::SetRelease].iter().any(|operation| operation.token(record) == token) || Self::is_policy_of(token, record)
    }

    /// Whether it is that of an update that sets the policy, for however many instances.
    fn is_policy_of(token: &str, record: &Record) -> bool {
        token.strip_prefix(&Self::SetPolicy.token(record)).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Begin(Operation),
    /// An operation of this deployment goes on.
    Wait,
    /// An operation of somebody else goes on.
    WaitForOthers,
    /// Every instance in service runs what was asked for.
    Good,
    /// It has failed, and everything is as before.
    Failed,
    /// The stack needs a hand first.
    Stuck(Stuck),
}

/// What a deployment sets: all parameters of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted(Parameters);

impl Wanted {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self(parameters)
    }

    /// What a record says alone, without the settings of its environment: enough to see how it stands.
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

    /// The token of an operation that sets this. Where there are other numbers of instances than when the deployment began, the
    /// policy is set another time.
    pub(crate) fn token(&self, operation: Operation, record: &Record) -> String {
        let token = operation.token(record);
        match self.0.get("Capacity") {
            Some(now) if operation == Operation::SetPolicy && *now != record.goal.capacity.desired.max(1).to_string() => {
                format!("{token}-{now}")
            }
            _ => token,
        }
    }

    /// Those of the first update.
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

/// What a deployment does next. `standing` is `None` where there is no stack; `begun` are the tokens of all operations since
/// the deployment began, whoever has begun them.
pub(crate) fn next(record: &Record, wanted: &Wanted, standing: Option<&Standing>, begun: &Tokens) -> Next {
    let Some(standing) = standing else { return Next::Begin(Operation::Create) };
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
        // Each is begun once. It has gone back, or somebody has changed the stack after it.
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetRelease) => Next::Failed,
        Phase::Ready | Phase::WentBack if is_set => Next::Begin(Operation::SetRelease),
        // Somebody who follows it as well has counted other instances.
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetPolicy) && has_another() => Next::Begin(Operation::SetRelease),
        Phase::Ready | Phase::WentBack if has_begun(Operation::SetPolicy) => Next::Failed,
        Phase::Ready | Phase::WentBack => Next::Begin(Operation::SetPolicy),
    }
}

impl Stuck {
    /// What the stack is in, and the way out.
    pub(crate) fn way_out(self, stack: &str, environment: &str) -> (&'static str, String) {
        match self {
            Self::NeverCreated => (
                "its creation has failed, and nothing of it serves",
                format!(
                    "look at `ingot-fleet events {environment}`; `ingot-fleet terminate {environment}` removes it, then create it again"
                ),
            ),
            Self::OnlyReviewed => (
                "there is only a change set that was never executed",
                format!("remove it with `ingot-fleet terminate {environment}`, then create it"),
            ),
            Self::Halfway => (
                "an update has failed, and somebody has told CloudFormation not to go back",
                format!("let it go back: `aws cloudformation rollback-stack --stack-name {stack}`; it can be updated after that"),
            ),
            Self::NotBack => (
                "an update has failed, and so has going back",
                format!(
                    "remove the reason that `ingot-fleet events {environment}` shows, and go on: \
                     `aws cloudformation continue-update-rollback --stack-name {stack}`; it can be updated after that"
                ),
            ),
            Self::NotImported => (
                "somebody has tried to import a resource, that has failed, and so has going back",
                format!(
                    "ask AWS Support, as AWS documents no way on; the instances go on serving. \
                     `ingot-fleet events {environment} --since 7d` shows what happened"
                ),
            ),
            Self::HalfDeleted => (
                "deleting it has failed, and a part of it is left",
                format!(
                    "remove the reason that `ingot-fleet events {environment}` shows, and run `ingot-fleet terminate {environment}` again"
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
