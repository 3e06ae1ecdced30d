//! One swap of an edge: its record, and its next step given the state of the stack. Pure.
//!
//! The record is `environments/edge-NAME/deployments/swap-N.json`, next to those of environments, so the right to
//! deploy includes the right to swap. If an operator is killed, the next one continues the swap.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::course::{Phase, Standing, Stuck, Tokens};
use super::record::State;
use super::slot::{Slot, Weights};

/// Schema that this version writes and reads.
const SCHEMA: u32 = 1;

/// A swap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Swap {
    schema: u32,
    pub(crate) edge: String,
    pub(crate) number: u64,
    /// Unique per attempt.
    pub(crate) attempt: String,
    /// The slot that gets every request.
    pub(crate) to: Slot,
    pub(crate) by: String,
    pub(crate) began: Timestamp,
    pub(crate) state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
    /// Why it failed or was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Request the update of the weights. Its token never changes, so CloudFormation accepts it only once.
    Order,
    Wait,
    /// Another operation is running on the stack.
    WaitForOthers,
    Good,
    /// Nothing has changed.
    Failed,
    Gone,
    Stuck(Stuck),
}

impl Swap {
    pub(crate) fn begin(edge: &str, number: u64, to: Slot, by: &str, at: Timestamp) -> Self {
        let attempt = format!("{:016x}", fastrand::u64(..));
        let (edge, by) = (edge.to_owned(), by.to_owned());
        Self { schema: SCHEMA, edge, number, attempt, to, by, began: at, state: State::UnderWay, ended: None, cause: None }
    }

    /// Records the end of the swap.
    pub(crate) fn end(&self, state: State, at: Timestamp, cause: Option<String>) -> Self {
        Self { state, ended: Some(at), cause, ..self.clone() }
    }

    /// Returns the token of its update.
    pub(crate) fn token(&self) -> String {
        format!("ingot-swap-{}-{}", self.number, self.attempt)
    }

    /// Returns `None` if it is not the record of this swap in this version's format.
    pub(crate) fn read(content: &[u8], edge: &str, number: u64) -> Option<Self> {
        let found: Self = serde_json::from_slice(content).ok()?;
        let is_whole = (found.state == State::UnderWay) == found.ended.is_none();
        Some(found).filter(|found| is_whole && (found.schema, found.edge.as_str(), found.number) == (SCHEMA, edge, number))
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("it has only strings for keys");
        content.push(b'\n');
        content
    }

    /// Describes the swap in one line.
    pub(crate) fn told(&self) -> String {
        let Self { edge, number, to, state, by, .. } = self;
        let began = self.began;
        match self.ended {
            None => format!("swap {number} of the edge {edge} (to slot {to}) is {state}: started {began:.0} by {by}"),
            Some(ended) => format!("swap {number} of the edge {edge} (to slot {to}) is {state}: started by {by}, finished {ended:.0}"),
        }
    }

    /// Decides its next step. `begun` holds the tokens of all operations since it began.
    pub(crate) fn next(&self, standing: Option<&Standing>, begun: &Tokens) -> Next {
        let Some(standing) = standing else { return Next::Gone };
        let token = self.token();
        let is_ours = standing.token.as_ref() == Some(&token);
        match standing.phase() {
            Phase::Busy if is_ours => Next::Wait,
            Phase::Busy => Next::WaitForOthers,
            Phase::Stuck(stuck) => Next::Stuck(stuck),
            Phase::Ready | Phase::WentBack if Weights::of(standing).and_then(Weights::serving) == Some(self.to) => Next::Good,
            // The update was rolled back, or other weights were set since.
            Phase::Ready | Phase::WentBack if is_ours || begun.contains(&token) => Next::Failed,
            Phase::Ready | Phase::WentBack => Next::Order,
        }
    }
}

/// Returns what is wrong with a stack that needs manual intervention, and the way out.
pub(crate) fn way_out(stuck: Stuck, stack: &str, edge: &str) -> (&'static str, String) {
    let reason = format!("`aws cloudformation describe-stack-events --stack-name {stack}`");
    match stuck {
        Stuck::NeverCreated => {
            ("its creation failed", format!("check {reason}, remove it with `ingot-fleet edge {edge} --delete`, then create it again"))
        }
        Stuck::OnlyReviewed => (
            "it contains only a change set that was never executed",
            format!("remove it with `aws cloudformation delete-stack --stack-name {stack}`, then run `ingot-fleet edge {edge}`"),
        ),
        Stuck::Halfway => (
            "an update failed with rollback disabled",
            format!("roll it back with `aws cloudformation rollback-stack --stack-name {stack}`; then it can be updated"),
        ),
        Stuck::NotBack | Stuck::NotImported => (
            "an update failed, and so did its rollback",
            format!(
                "fix the cause that {reason} shows, then continue the rollback with `aws cloudformation continue-update-rollback \
                --stack-name {stack}`; after that, it can be updated"
            ),
        ),
        Stuck::HalfDeleted => (
            "its deletion failed, and part of it is left",
            format!("fix the cause that {reason} shows, then run `ingot-fleet edge {edge} --delete` again"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swap() -> Swap {
        Swap { attempt: "x".into(), ..Swap::begin("main", 3, Slot::B, "ann", "2026-11-30T23:00:00Z".parse().unwrap()) }
    }

    fn standing(status: &str, serving: Slot, token: &str) -> Standing {
        Standing { status: status.into(), parameters: serving.parameters(), token: Some(token.into()), ..Standing::default() }
    }

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let ended = swap().end(State::Good, "2026-11-30T23:01:00Z".parse().unwrap(), None);
        for swap in [swap(), ended] {
            assert_eq!(Swap::read(&swap.write(), "main", 3), Some(swap));
        }
        let text = String::from_utf8(swap().write()).unwrap();
        for other in [text.replace("\"schema\": 1", "\"schema\": 2"), text.replace("under_way", "good"), text.replace("\"b\"", "\"c\"")] {
            assert_eq!(Swap::read(other.as_bytes(), "main", 3), None, "{other}");
        }
        assert_eq!((Swap::read(text.as_bytes(), "other", 3), Swap::read(text.as_bytes(), "main", 4)), (None, None));
        assert_eq!(swap().told(), "swap 3 of the edge main (to slot b) is under way: started 2026-11-30T23:00:00Z by ann");
    }

    #[test]
    fn the_weights_are_set_once() {
        let (ours, none) = (swap().token(), Tokens::new());
        let next = |status, serving, token: &str, begun: &Tokens| swap().next(Some(&standing(status, serving, token)), begun);
        assert_eq!(next("UPDATE_COMPLETE", Slot::A, "t", &none), Next::Order);
        assert_eq!(next("UPDATE_ROLLBACK_COMPLETE", Slot::A, "t", &none), Next::Order, "of an update before");
        assert_eq!(next("UPDATE_IN_PROGRESS", Slot::A, &ours, &none), Next::Wait);
        assert_eq!(next("UPDATE_IN_PROGRESS", Slot::A, "t", &none), Next::WaitForOthers);
        assert_eq!(next("UPDATE_COMPLETE", Slot::B, &ours, &none), Next::Good);
        assert_eq!(next("UPDATE_COMPLETE", Slot::B, "t", &none), Next::Good, "somebody else has set them");
        assert_eq!(next("UPDATE_ROLLBACK_COMPLETE", Slot::A, &ours, &none), Next::Failed);
        assert_eq!(next("UPDATE_COMPLETE", Slot::A, "t", &Tokens::from([ours.clone()])), Next::Failed, "somebody has set them back");
        assert_eq!(next("UPDATE_ROLLBACK_FAILED", Slot::A, &ours, &none), Next::Stuck(Stuck::NotBack));
        assert_eq!(swap().next(None, &none), Next::Gone);
    }

    #[test]
    fn every_stuck_stack_has_a_way_out() {
        let all = [Stuck::NeverCreated, Stuck::OnlyReviewed, Stuck::Halfway, Stuck::NotBack, Stuck::NotImported, Stuck::HalfDeleted];
        for stuck in all {
            let (what, hint) = way_out(stuck, "shop-edge-main", "main");
            assert!(!what.is_empty() && hint.contains('`') && (hint.contains("shop-edge-main") || hint.contains("edge main")), "{hint}");
        }
    }
}
