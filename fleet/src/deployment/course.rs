//! What a deployment does next, by how its stack stands. Pure.
//!
//! A deployment is two updates of the stack: the first sets the policy and the sizes, the second the release. When an update
//! fails, CloudFormation goes back by the policy and to the capacity from before it, which the first has set. Where a
//! deployment is, is read off the stack: its parameters, and the token of its last operation. So whoever takes over a
//! deployment, a process that was killed included, goes on where it is.

use std::collections::BTreeMap;

use super::record::Record;

/// Parameters of a stack, by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Those that the first update sets.
pub(crate) const OF_POLICY: [&str; 5] = ["Policy", "BatchSize", "MinInService", "PauseTime", "Capacity"];

/// How a stack stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// StackStatus, such as `UPDATE_COMPLETE`.
    pub(crate) status: String,
    pub(crate) parameters: Parameters,
    pub(crate) outputs: Parameters,
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
            "DELETE_FAILED" => Phase::Stuck(Stuck::HalfDeleted),
            "CREATE_FAILED" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" => Phase::Stuck(Stuck::NeverCreated),
            _ => Phase::Ready,
        }
    }

    fn has(&self, wanted: &Parameters) -> bool {
        wanted.iter().all(|(name, value)| self.parameters.get(name) == Some(value))
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

    pub(crate) fn all(&self) -> &Parameters {
        &self.0
    }

    /// Those of the first update.
    pub(crate) fn of_policy(&self) -> Parameters {
        self.0.iter().filter(|(name, _)| OF_POLICY.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What a deployment does next. `standing` is `None` where there is no stack.
pub(crate) fn next(record: &Record, wanted: &Wanted, standing: Option<&Standing>) -> Next {
    let Some(standing) = standing else { return Next::Begin(Operation::Create) };
    let is_last = |operation: Operation| standing.token.as_deref() == Some(operation.token(record).as_str());
    let is_ours = is_last(Operation::Create) || is_last(Operation::SetPolicy) || is_last(Operation::SetRelease);
    let is_in_force = standing.parameter("Deployment") == Some(record.number.to_string().as_str());
    match standing.phase() {
        Phase::Busy if is_ours => Next::Wait,
        Phase::Busy => Next::WaitForOthers,
        Phase::Stuck(Stuck::NeverCreated) if is_last(Operation::Create) => Next::Failed,
        Phase::Stuck(stuck) => Next::Stuck(stuck),
        Phase::Ready | Phase::WentBack if is_in_force => Next::Good,
        Phase::WentBack if is_ours => Next::Failed,
        Phase::Ready | Phase::WentBack if standing.has(&wanted.of_policy()) => Next::Begin(Operation::SetRelease),
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
                format!("let it go back: `aws cloudformation rollback-stack --stack-name {stack}`, then run this again"),
            ),
            Self::NotBack => (
                "an update has failed, and so has going back",
                format!(
                    "remove the reason that `ingot-fleet events {environment}` shows, and go on: \
                     `aws cloudformation continue-update-rollback --stack-name {stack}`, then run this again"
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
mod tests {
    use super::*;
    use crate::deployment::record::tests::{beginner, goal};

    fn record() -> Record {
        Record::begin("shop", "prod", 7, goal("v2"), beginner("ann"))
    }

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn wanted() -> Wanted {
        Wanted::new(parameters(&[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v2"), ("Deployment", "7")]))
    }

    fn standing(status: &str, given: &[(&str, &str)], last: Option<Operation>) -> Standing {
        let token = last.map(|operation| operation.token(&record()));
        Standing { status: status.into(), parameters: parameters(given), token, ..Standing::default() }
    }

    const BEFORE: &[(&str, &str)] = &[("Policy", "immutable"), ("Capacity", "2"), ("Release", "v1"), ("Deployment", "6")];
    const SET: &[(&str, &str)] = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v1"), ("Deployment", "6")];
    const DONE: &[(&str, &str)] = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v2"), ("Deployment", "7")];

    #[test]
    fn goes_from_one_update_to_the_next() {
        use Operation::{Create, SetPolicy, SetRelease};
        assert_eq!(next(&record(), &wanted(), None), Next::Begin(Create));
        for (status, given, last, expected) in [
            ("CREATE_IN_PROGRESS", BEFORE, Some(Create), Next::Wait),
            ("CREATE_COMPLETE", DONE, Some(Create), Next::Good),
            ("ROLLBACK_IN_PROGRESS", DONE, Some(Create), Next::Wait),
            ("ROLLBACK_COMPLETE", DONE, Some(Create), Next::Failed),
            ("ROLLBACK_COMPLETE", DONE, None, Next::Stuck(Stuck::NeverCreated)),
            ("CREATE_COMPLETE", BEFORE, None, Next::Begin(SetPolicy)),
            ("UPDATE_IN_PROGRESS", SET, Some(SetPolicy), Next::Wait),
            ("UPDATE_COMPLETE", SET, Some(SetPolicy), Next::Begin(SetRelease)),
            ("UPDATE_COMPLETE", SET, None, Next::Begin(SetRelease)),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", DONE, Some(SetRelease), Next::Wait),
            ("UPDATE_COMPLETE", DONE, Some(SetRelease), Next::Good),
            ("UPDATE_ROLLBACK_IN_PROGRESS", SET, Some(SetRelease), Next::Wait),
            ("UPDATE_ROLLBACK_COMPLETE", SET, Some(SetRelease), Next::Failed),
            ("UPDATE_ROLLBACK_COMPLETE", BEFORE, Some(SetPolicy), Next::Failed),
            // An update of somebody else had failed before.
            ("UPDATE_ROLLBACK_COMPLETE", BEFORE, None, Next::Begin(SetPolicy)),
            ("UPDATE_IN_PROGRESS", BEFORE, None, Next::WaitForOthers),
            ("DELETE_IN_PROGRESS", BEFORE, None, Next::WaitForOthers),
            ("UPDATE_ROLLBACK_FAILED", SET, Some(SetRelease), Next::Stuck(Stuck::NotBack)),
            ("UPDATE_FAILED", DONE, Some(SetRelease), Next::Stuck(Stuck::Halfway)),
            ("DELETE_FAILED", BEFORE, None, Next::Stuck(Stuck::HalfDeleted)),
            ("REVIEW_IN_PROGRESS", &[], None, Next::Stuck(Stuck::OnlyReviewed)),
        ] {
            let found = next(&record(), &wanted(), Some(&standing(status, given, last)));
            assert_eq!(found, expected, "{status} {given:?} after {last:?}");
        }
    }

    #[test]
    fn the_tokens_are_those_of_one_attempt() {
        let other = Record::begin("shop", "prod", 7, goal("v2"), beginner("bob"));
        assert_ne!(Operation::SetRelease.token(&record()), Operation::SetRelease.token(&other));
        assert_ne!(Operation::SetRelease.token(&record()), Operation::SetPolicy.token(&record()));
        // What CloudFormation takes: 128 characters of a-z, A-Z, 0-9 and -.
        let token = Operation::SetRelease.token(&record());
        assert!(token.len() <= 128 && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{token}");
    }

    #[test]
    fn every_state_has_a_way_out() {
        for stuck in [Stuck::NeverCreated, Stuck::OnlyReviewed, Stuck::Halfway, Stuck::NotBack, Stuck::HalfDeleted] {
            let (what, hint) = stuck.way_out("shop-prod", "prod");
            assert!(!what.is_empty() && hint.contains("prod"), "{stuck:?}");
        }
    }
}
