//! Follows a swap of an edge to its end, and requests its update unless another process has.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::late::{LATE, SKEW};
use crate::aws::objects::Objects;
use crate::aws::stacks::{Order, Stacks};
use crate::aws::swaps::{KeptSwap, Swaps};
use crate::deployment::course::{Standing, Tokens};
use crate::deployment::record::State;
use crate::deployment::slot::Slot;
use crate::deployment::swap::{Next, Swap, way_out};
use crate::deployment::terms::Watch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::story::{BY_SOMEBODY, Event, plain};

/// Polling interval of the stack.
const PAUSE: Duration = Duration::from_secs(1);

/// How long AWS may fail to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long an update that CloudFormation has accepted may stay invisible.
const SETTLED: Duration = Duration::from_secs(60);

/// Health of the slots.
pub(crate) trait Health {
    /// Returns why a slot cannot serve, as a phrase for users, or `None` if it can.
    async fn ailment(&self, slot: Slot) -> Result<Option<String>, Failure>;
}

/// Carries out a swap.
#[derive(Debug)]
pub(crate) struct Swapper<'a, O, S, H> {
    pub(crate) swaps: Swaps<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) health: &'a H,
    pub(crate) stack: &'a str,
    /// The service role that CloudFormation assumes.
    pub(crate) role: &'a str,
    /// Whether this process began the swap.
    pub(crate) is_own: bool,
    pub(crate) tell: fn(&str),
}

impl<O: Objects, S: Stacks, H: Health> Swapper<'_, O, S, H> {
    /// Carries on a swap until it ends. Returns `None` if that is not before `until`.
    pub(crate) async fn run(&self, kept: KeptSwap, until: Option<Instant>) -> Result<Option<Swap>, Failure> {
        let (mut kept, mut answered, mut waits) = (kept, Instant::now(), false);
        loop {
            match self.step(&kept, &mut waits).await {
                Ok(Some(ended)) => return Ok(Some(ended)),
                Ok(None) => answered = Instant::now(),
                Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                    (self.tell)(&format!("{}; retrying", failure.sentence()));
                }
                Err(failure) => return Err(failure),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            sleep(PAUSE).await;
            // Another process may have recorded its end.
            match self.swaps.read(kept.swap.number).await {
                Ok(Some(found)) if found.swap.state != State::UnderWay => return Ok(Some(found.swap)),
                Ok(Some(found)) => kept = found,
                Ok(None) => {
                    return Err(Failure::new(
                        Exit::Failed,
                        format!("the record of swap {} of the edge {} is gone", kept.swap.number, kept.swap.edge),
                    ));
                }
                // The next round reads it again.
                Err(failure) if failure.may_pass() => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Takes the next step. Returns the swap if it has ended.
    async fn step(&self, kept: &KeptSwap, waits: &mut bool) -> Result<Option<Swap>, Failure> {
        let swap = &kept.swap;
        let standing = self.stacks.standing(self.stack).await?;
        let begun = self.begun(swap).await?;
        let next = swap.next(standing.as_ref(), &begun);
        // The slot may have become unhealthy since the swap began.
        if next == Next::Order
            && let Some(why) = self.health.ailment(swap.to).await?
        {
            return self.give_up(kept, why).await.map(Some);
        }
        match (next, standing) {
            (Next::Order, Some(standing)) => match self.order(swap, &standing).await {
                Ok(()) => Ok(None),
                // The operator who began the swap may have the permission.
                Err(failure) if failure.may_pass() || failure.is_of_rights() && !self.is_own => Err(failure),
                // Another update has begun since the last look.
                Err(failure) if failure.sentence().contains("_IN_PROGRESS state and can not be updated") => Ok(None),
                Err(failure) => {
                    self.end(kept, State::Failed, Some(failure.sentence())).await?;
                    Err(failure)
                }
            },
            (Next::WaitForOthers, Some(standing)) => {
                if !std::mem::replace(waits, true) {
                    (self.tell)(&format!("waiting for another operation: the stack {} is in {}", self.stack, standing.status));
                }
                Ok(None)
            }
            (Next::Good, _) => self.end(kept, State::Good, None).await.map(Some),
            (Next::Failed, _) => {
                let why = self.why(swap).await?;
                self.end(kept, State::Failed, Some(why)).await.map(Some)
            }
            (Next::Stuck(stuck), Some(standing)) => {
                let (what, hint) = way_out(stuck, self.stack, &swap.edge);
                let failure = Failure::new(Exit::Failed, format!("the stack {} is in {}", self.stack, standing.status));
                Err(failure.why(what).hint(format!("{hint}; then run `ingot-fleet swap {}` to continue", swap.edge)))
            }
            (Next::Gone, _) | (_, None) => self.end(kept, State::Undone, Some("the edge was deleted".into())).await.map(Some),
            (Next::Wait, _) => Ok(None),
        }
    }

    /// Ends a swap whose update was not requested, unless the process that began it may be about to do so.
    async fn give_up(&self, kept: &KeptSwap, why: String) -> Result<Swap, Failure> {
        let is_old = SignedDuration::try_from(LATE).is_ok_and(|late| Timestamp::now().duration_since(kept.swap.began) > SKEW + late);
        if self.is_own || is_old {
            return self.end(kept, State::Failed, Some(why)).await;
        }
        Err(Failure::new(Exit::Failed, format!("{}, and cannot continue", kept.swap.told())).why(why).hint(format!(
            "run `ingot-fleet swap {}` when the slot is healthy; 17 minutes after the start, the same command cancels the swap if the slot \
             is still unhealthy",
            kept.swap.edge
        )))
    }

    async fn end(&self, kept: &KeptSwap, state: State, cause: Option<String>) -> Result<Swap, Failure> {
        let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        self.swaps.end(kept, kept.swap.end(state, at, cause)).await
    }

    /// Requests the update of the weights, which changes nothing else.
    async fn order(&self, swap: &Swap, standing: &Standing) -> Result<(), Failure> {
        let parameters = swap.to.parameters();
        let kept = standing.parameters.keys().filter(|name| !parameters.contains_key(*name)).map(String::as_str).collect();
        let tags = standing.tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
        let order = Order {
            stack: self.stack,
            token: swap.token(),
            template: None,
            kept,
            tags: tags.map(|(key, value)| (key.clone(), value.clone())).collect(),
            role: Some(self.role),
            watch: Watch::default(),
            parameters,
        };
        match self.stacks.update(&order).await? {
            true => self.arrived(&swap.token()).await,
            false => Ok(()),
        }
    }

    /// Waits until an accepted update shows on the stack, whose description may lag behind by seconds.
    async fn arrived(&self, token: &str) -> Result<(), Failure> {
        let since = Instant::now();
        while since.elapsed() < SETTLED {
            if self.stacks.standing(self.stack).await?.is_none_or(|standing| standing.token.as_deref() == Some(token)) {
                break;
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn events(&self, swap: &Swap) -> Result<Vec<Event>, Failure> {
        self.stacks.events(self.stack, swap.began.checked_sub(SKEW).unwrap_or(swap.began)).await
    }

    async fn begun(&self, swap: &Swap) -> Result<Tokens, Failure> {
        Ok(self.events(swap).await?.into_iter().filter_map(|event| event.token).collect())
    }

    /// Returns the first failure of the swap's update.
    async fn why(&self, swap: &Swap) -> Result<String, Failure> {
        let failed = failure_of(&self.events(swap).await?, &swap.token(), self.stack);
        Ok(failed.unwrap_or_else(|| "another operator has set other weights".to_owned()))
    }
}

/// Returns the cause of the failure of an operation on a stack: the first resource that failed, or else the stack
/// itself, whose reason usually only names resources.
pub(crate) fn failure_of(events: &[Event], token: &str, stack: &str) -> Option<String> {
    let own = || events.iter().filter(|event| event.token.as_deref() == Some(token));
    let failed = own().find(|event| event.status.ends_with("_FAILED") && event.resource != stack);
    let is_bad = |event: &&Event| event.status.ends_with("_FAILED") || event.status.contains("ROLLBACK");
    let event = failed.or_else(|| own().filter(is_bad).find(|event| event.reason.is_some()))?;
    if event.reason.as_deref() == Some(BY_SOMEBODY) {
        return Some("the update was canceled".to_owned());
    }
    Some(format!("{}: {}", event.resource, plain(event.reason.as_deref().unwrap_or_default())))
}

/// Waits until an operation begun on a stack has ended. Returns `None` if the stack is gone by then. `is_seen`: whether
/// AWS has shown the stack already, so that it is gone once it is no longer shown.
pub(crate) async fn at_rest(
    stacks: &impl Stacks,
    stack: &str,
    token: &str,
    mut is_seen: bool,
    tell: fn(&str),
) -> Result<Option<Standing>, Failure> {
    let begun = Instant::now();
    let mut answered = begun;
    loop {
        match stacks.standing(stack).await {
            Ok(None) if is_seen || begun.elapsed() > SETTLED => return Ok(None),
            // A new stack may not be visible yet.
            Ok(None) => answered = Instant::now(),
            Ok(Some(standing)) => {
                (answered, is_seen) = (Instant::now(), true);
                // The description may be stale for some seconds.
                if !standing.is_busy() && (standing.token.as_deref() == Some(token) || begun.elapsed() > SETTLED) {
                    return Ok(Some(standing));
                }
            }
            Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                tell(&format!("{}; retrying", failure.sentence()));
            }
            Err(failure) => return Err(failure),
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::Directory;
    use crate::aws::swaps::BegunSwap;
    use crate::conduct::fake::{Fake, Outcome};
    use crate::deployment::slot::Slot;
    use crate::place::Place;

    /// Reports the same health for every slot.
    struct Said(Option<&'static str>);

    impl Health for Said {
        async fn ailment(&self, _: Slot) -> Result<Option<String>, Failure> {
            Ok(self.0.map(str::to_owned))
        }
    }

    /// A swap to slot b of an edge on which slot a serves.
    async fn swapped(outcomes: &[Outcome], status: &str) -> (Fake, Result<Option<Swap>, Failure>) {
        let now = Timestamp::now();
        swapped_by(outcomes, status, (true, now), &Said(None)).await
    }

    /// The same, with its owner, its start and the health of slot b given.
    async fn swapped_by(
        outcomes: &[Outcome],
        status: &str,
        (is_own, began): (bool, Timestamp),
        health: &Said,
    ) -> (Fake, Result<Option<Swap>, Failure>) {
        let root = tempfile::tempdir().unwrap();
        let (objects, place, fake) = (Directory::new(root.path()), Place::of_shop(), Fake::with(outcomes));
        let standing = Standing { status: status.into(), parameters: Slot::A.parameters(), ..Standing::default() };
        *fake.stack.borrow_mut() = Some(standing);
        let swaps = Swaps::new(&objects, &place, "main");
        let BegunSwap::Mine(kept) = swaps.begin(Swap::begin("main", 1, Slot::B, "ann", began)).await.unwrap() else { panic!() };
        let swapper = Swapper { swaps, stacks: &fake, health, stack: "shop-edge-main", role: "arn:role", is_own, tell: |_| {} };
        let result = swapper.run(kept, None).await;
        (fake, result)
    }

    #[tokio::test(start_paused = true)]
    async fn one_update_sets_the_weights_and_keeps_everything_else() {
        let (fake, result) = swapped(&[Outcome::Complete], "UPDATE_COMPLETE").await;
        assert_eq!(result.unwrap().unwrap().state, State::Good);
        let orders = fake.orders.borrow();
        assert_eq!(orders.iter().map(|(_, parameters)| parameters.clone()).collect::<Vec<_>>(), [Slot::B.parameters()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rolled_back_update_has_a_cause() {
        let (_, result) = swapped(&[Outcome::GoesBack], "UPDATE_COMPLETE").await;
        let swap = result.unwrap().unwrap();
        assert_eq!((swap.state, swap.cause.as_deref()), (State::Failed, Some("Group: Received 1 FAILURE signal(s) out of 1")));
    }

    #[test]
    fn a_stack_may_fail_without_its_resources() {
        let event = |status: &str, resource: &str, reason: Option<&str>, token: &str| Event {
            at: Timestamp::UNIX_EPOCH,
            resource: resource.into(),
            status: status.into(),
            reason: reason.map(str::to_owned),
            token: Some(token.into()),
        };
        let begins = event("UPDATE_IN_PROGRESS", "shop-edge-main", Some("User Initiated"), "own");
        let refused = event("UPDATE_ROLLBACK_IN_PROGRESS", "shop-edge-main", Some("Export is in use"), "own");
        let listener = event("UPDATE_FAILED", "Http", Some("no such certificate"), "own");
        let other = event("UPDATE_FAILED", "Http", Some("throttled"), "other");
        let said = |events: &[&Event]| {
            let events: Vec<Event> = events.iter().map(|&event| event.clone()).collect();
            failure_of(&events, "own", "shop-edge-main")
        };
        assert_eq!(said(&[&begins, &other, &refused]).as_deref(), Some("shop-edge-main: Export is in use"));
        assert_eq!(said(&[&begins, &listener, &refused]).as_deref(), Some("Http: no such certificate"));
        assert_eq!(said(&[&begins, &other]), None);
        let canceled = event("UPDATE_ROLLBACK_IN_PROGRESS", "shop-edge-main", Some("User Initiated"), "own");
        assert_eq!(said(&[&begins, &canceled]).as_deref(), Some("the update was canceled"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unhealthy_slot_is_not_swapped_to() {
        let (sick, now) = (Said(Some("slot b has no healthy instance")), Timestamp::now());
        let long_ago = now - SignedDuration::from_mins(18);
        for whose in [(true, now), (false, long_ago)] {
            let (fake, result) = swapped_by(&[], "UPDATE_COMPLETE", whose, &sick).await;
            let swap = result.unwrap().unwrap();
            assert_eq!((swap.state, swap.cause.as_deref()), (State::Failed, sick.0));
            assert_eq!(*fake.orders.borrow(), []);
        }
        // The process that began it may be about to request the update.
        let (fake, result) = swapped_by(&[], "UPDATE_COMPLETE", (false, now), &sick).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("cannot continue: slot b has no healthy instance") && fake.orders.borrow().is_empty(), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_swap_ends() {
        let (_, result) = swapped(&[Outcome::Denied], "UPDATE_COMPLETE").await;
        assert!(result.unwrap_err().is_of_rights());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_other_updates_are_waited_for() {
        let (fake, result) = swapped(&[Outcome::Unanswered, Outcome::Busy, Outcome::Complete], "UPDATE_COMPLETE").await;
        assert_eq!(result.unwrap().unwrap().state, State::Good);
        let tokens: Vec<String> = fake.orders.borrow().iter().map(|(token, _)| token.clone()).collect();
        assert!(tokens.len() == 3 && tokens.windows(2).all(|two| two[0] == two[1]), "one operation, however often: {tokens:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_stack_is_reported_with_the_way_out() {
        let (_, result) = swapped(&[], "UPDATE_ROLLBACK_FAILED").await;
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("continue-update-rollback --stack-name shop-edge-main")
                && text.contains("then run `ingot-fleet swap main` to continue"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_stack_may_be_invisible_at_first() {
        let (fake, token) = (Fake::with(&[]), "ingot-edge-create");
        let standing = Standing { status: "CREATE_COMPLETE".into(), token: Some(token.into()), ..Standing::default() };
        let shows = async {
            sleep(3 * PAUSE).await;
            *fake.stack.borrow_mut() = Some(standing.clone());
        };
        let (found, ()) = tokio::join!(at_rest(&fake, "shop-edge-main", token, false, |_| {}), shows);
        assert_eq!(found.unwrap().map(|found| found.status), Some(standing.status.clone()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stack_that_stays_invisible_is_gone_and_a_known_one_at_once() {
        for (is_seen, least) in [(false, SETTLED), (true, Duration::ZERO)] {
            let (fake, begun) = (Fake::with(&[]), Instant::now());
            let found = at_rest(&fake, "shop-edge-main", "ingot-edge-create", is_seen, |_| {}).await.unwrap();
            assert!(found.is_none() && (least..least + 5 * PAUSE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        }
    }
}
