//! What a deployment does next, by how its stack stands. Pure.
//!
//! A deployment is two updates of the stack: the first sets the policy and the sizes, the second the release. When an update
//! fails, CloudFormation goes back by the policy and to the capacity from before it, which the first has set. Where a
//! deployment is, is read off the stack: its parameters, and the token of its last operation. So whoever takes over a
//! deployment, a process that was killed included, goes on where it is.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Goal, Record};

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
    let is_last = |operation: Operation| standing.token.as_deref() == Some(operation.token(record).as_str());
    let is_ours = is_last(Operation::Create) || is_last(Operation::SetPolicy) || is_last(Operation::SetRelease);
    let has_begun = |operation: Operation| is_last(operation) || begun.contains(&operation.token(record));
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
        assert_eq!(next(&record(), &wanted(), None, &Tokens::new()), Next::Begin(Create));
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
            let found = next(&record(), &wanted(), Some(&standing(status, given, last)), &Tokens::new());
            assert_eq!(found, expected, "{status} {given:?} after {last:?}");
        }
    }

    #[test]
    fn no_operation_is_begun_twice() {
        use Operation::{SetPolicy, SetRelease};
        // The last operation is of somebody else: an update, or the way back with a token of its own.
        for (status, given, begun, expected) in [
            ("UPDATE_ROLLBACK_COMPLETE", SET, SetRelease, Next::Failed),
            ("UPDATE_COMPLETE", SET, SetRelease, Next::Failed),
            ("UPDATE_COMPLETE", DONE, SetRelease, Next::Good),
            ("UPDATE_COMPLETE", SET, SetPolicy, Next::Begin(SetRelease)),
            ("UPDATE_COMPLETE", BEFORE, SetPolicy, Next::Failed),
        ] {
            let found = next(&record(), &wanted(), Some(&standing(status, given, None)), &[begun.token(&record())].into());
            assert_eq!(found, expected, "{status} {given:?} after {begun:?}");
        }
    }

    #[test]
    fn a_number_alone_is_no_deployment() {
        let given = &[("Policy", "rolling"), ("Capacity", "4"), ("Release", "v1"), ("Deployment", "7")];
        let found = next(&record(), &wanted(), Some(&standing("CREATE_COMPLETE", given, None)), &Tokens::new());
        assert_eq!(found, Next::Begin(Operation::SetRelease), "the stack was made by hand, with the same number");
    }

    #[test]
    fn a_name_alone_is_no_environment() {
        let made = |given: &[(&str, &str)], status: &str| standing(status, given, None).is_of("shop", "eu-prod");
        assert!(made(&[("Application", "shop"), ("Environment", "eu-prod")], "CREATE_COMPLETE"));
        assert!(!made(&[("Application", "shop-eu"), ("Environment", "prod")], "CREATE_COMPLETE"));
        assert!(!made(&[], "ROLLBACK_COMPLETE") && made(&[], "REVIEW_IN_PROGRESS"));
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
