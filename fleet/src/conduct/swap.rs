//! Follows a swap of an edge to its end, and orders its update where nobody else has.

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
use crate::story::{Event, plain};

/// How often the stack is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// How long AWS may give no answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long nothing may be seen of an update that CloudFormation has taken.
const SETTLED: Duration = Duration::from_secs(60);

/// Whoever knows how healthy a slot is.
pub(crate) trait Health {
    /// Why a slot cannot serve, in a sentence; `None` if it can.
    async fn ailment(&self, slot: Slot) -> Result<Option<String>, Failure>;
}

/// Whoever sees a swap through.
#[derive(Debug)]
pub(crate) struct Swapper<'a, O, S, H> {
    pub(crate) swaps: Swaps<'a, O>,
    pub(crate) stacks: &'a S,
    pub(crate) health: &'a H,
    pub(crate) stack: &'a str,
    /// The role of CloudFormation.
    pub(crate) role: &'a str,
    /// Whether it has begun the swap.
    pub(crate) is_own: bool,
    pub(crate) tell: fn(&str),
}

impl<O: Objects, S: Stacks, H: Health> Swapper<'_, O, S, H> {
    /// Goes on with a swap until it has ended. `None` if that was not before `until`.
    pub(crate) async fn run(&self, kept: KeptSwap, until: Option<Instant>) -> Result<Option<Swap>, Failure> {
        let (mut kept, mut answered, mut waits) = (kept, Instant::now(), false);
        loop {
            match self.step(&kept, &mut waits).await {
                Ok(Some(ended)) => return Ok(Some(ended)),
                Ok(None) => answered = Instant::now(),
                Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                    (self.tell)(&format!("{}; it is tried again", failure.sentence()));
                }
                Err(failure) => return Err(failure),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            sleep(PAUSE).await;
            // Somebody else may have seen its end.
            match self.swaps.read(kept.swap.number).await {
                Ok(Some(found)) if found.swap.state != State::UnderWay => return Ok(Some(found.swap)),
                Ok(Some(found)) => kept = found,
                Ok(None) => return Err(Failure::new(Exit::Failed, format!("the record of {} is gone", kept.swap.told()))),
                // It is asked for again.
                Err(failure) if failure.may_pass() => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Does what is to be done now. Returns the swap if it has ended.
    async fn step(&self, kept: &KeptSwap, waits: &mut bool) -> Result<Option<Swap>, Failure> {
        let swap = &kept.swap;
        let standing = self.stacks.standing(self.stack).await?;
        let begun = self.begun(swap).await?;
        let next = swap.next(standing.as_ref(), &begun);
        // It may have got sick since the swap was begun: that may be long ago.
        if next == Next::Order
            && let Some(why) = self.health.ailment(swap.to).await?
        {
            return self.give_up(kept, why).await.map(Some);
        }
        match (next, standing) {
            (Next::Order, Some(standing)) => match self.order(swap, &standing).await {
                Ok(()) => Ok(None),
                // Whoever has begun it may have the right to it.
                Err(failure) if failure.may_pass() || failure.is_of_rights() && !self.is_own => Err(failure),
                // Somebody else has begun an update since it was looked at.
                Err(failure) if failure.sentence().contains("_IN_PROGRESS state and can not be updated") => Ok(None),
                Err(failure) => {
                    self.end(kept, State::Failed, Some(failure.sentence())).await?;
                    Err(failure)
                }
            },
            (Next::WaitForOthers, Some(standing)) => {
                if !std::mem::replace(waits, true) {
                    (self.tell)(&format!("the stack {} is in {}: that is waited for", self.stack, standing.status));
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
                Err(failure.why(what).hint(format!("{hint}; `ingot-fleet swap {}` then goes on", swap.edge)))
            }
            (Next::Gone, _) | (_, None) => self.end(kept, State::Undone, Some("the edge was deleted".into())).await.map(Some),
            (Next::Wait, _) => Ok(None),
        }
    }

    /// Ends a swap of which nothing was ordered, unless whoever has begun it may be about to.
    async fn give_up(&self, kept: &KeptSwap, why: String) -> Result<Swap, Failure> {
        let is_old = SignedDuration::try_from(LATE).is_ok_and(|late| Timestamp::now().duration_since(kept.swap.began) > SKEW + late);
        if self.is_own || is_old {
            return self.end(kept, State::Failed, Some(why)).await;
        }
        Err(Failure::new(Exit::Failed, format!("{}, and is not gone on with", kept.swap.told())).why(why).hint(format!(
            "run `ingot-fleet swap {}` again when it is healthy; 17 minutes after its beginning, that ends it otherwise",
            kept.swap.edge
        )))
    }

    async fn end(&self, kept: &KeptSwap, state: State, cause: Option<String>) -> Result<Swap, Failure> {
        let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        self.swaps.end(kept, kept.swap.end(state, at, cause)).await
    }

    /// Orders the update of the weights: nothing else changes.
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

    /// Waits until an order that was taken is seen on the stack: a description may be some seconds old.
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

    /// The first failure of its update.
    async fn why(&self, swap: &Swap) -> Result<String, Failure> {
        let (token, events) = (swap.token(), self.events(swap).await?);
        let mut own = events.iter().filter(|event| event.token.as_ref() == Some(&token));
        let failed = own.find(|event| event.status.ends_with("_FAILED") && event.resource != self.stack);
        Ok(match failed {
            Some(event) => format!("{}: {}", event.resource, plain(event.reason.as_deref().unwrap_or_default())),
            None => "somebody has set other weights".to_owned(),
        })
    }
}

/// Waits until no operation goes on any more on a stack that one was begun on. `None` if it is gone by then.
pub(crate) async fn at_rest(stacks: &impl Stacks, stack: &str, token: &str, tell: fn(&str)) -> Result<Option<Standing>, Failure> {
    let begun = Instant::now();
    let mut answered = begun;
    loop {
        match stacks.standing(stack).await {
            Ok(None) => return Ok(None),
            Ok(Some(standing)) => {
                answered = Instant::now();
                // How it stood before may be described for some seconds.
                if !standing.is_busy() && (standing.token.as_deref() == Some(token) || begun.elapsed() > SETTLED) {
                    return Ok(Some(standing));
                }
            }
            Err(failure) if failure.may_pass() && answered.elapsed() < PATIENCE => {
                tell(&format!("{}; the stack is looked at again", failure.sentence()));
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

    /// Every slot is as healthy as it says.
    struct Said(Option<&'static str>);

    impl Health for Said {
        async fn ailment(&self, _: Slot) -> Result<Option<String>, Failure> {
            Ok(self.0.map(str::to_owned))
        }
    }

    /// A swap to slot b, of an edge whose slot a serves.
    async fn swapped(outcomes: &[Outcome], status: &str) -> (Fake, Result<Option<Swap>, Failure>) {
        let now = Timestamp::now();
        swapped_by(outcomes, status, (true, now), &Said(None)).await
    }

    /// The same, of which somebody says whether it is its own, when it began, and how healthy slot b is.
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
    async fn one_update_sets_the_weights_and_keeps_all_else() {
        let (fake, result) = swapped(&[Outcome::Complete], "UPDATE_COMPLETE").await;
        assert_eq!(result.unwrap().unwrap().state, State::Good);
        let orders = fake.orders.borrow();
        assert_eq!(orders.iter().map(|(_, parameters)| parameters.clone()).collect::<Vec<_>>(), [Slot::B.parameters()]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_that_goes_back_has_a_cause() {
        let (_, result) = swapped(&[Outcome::GoesBack], "UPDATE_COMPLETE").await;
        let swap = result.unwrap().unwrap();
        assert_eq!((swap.state, swap.cause.as_deref()), (State::Failed, Some("Group: Received 1 FAILURE signal(s) out of 1")));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ordered_to_a_slot_that_got_sick() {
        let (sick, now) = (Said(Some("slot b has no healthy instance")), Timestamp::now());
        let long_ago = now - SignedDuration::from_mins(18);
        for whose in [(true, now), (false, long_ago)] {
            let (fake, result) = swapped_by(&[], "UPDATE_COMPLETE", whose, &sick).await;
            let swap = result.unwrap().unwrap();
            assert_eq!((swap.state, swap.cause.as_deref()), (State::Failed, sick.0));
            assert_eq!(*fake.orders.borrow(), []);
        }
        // Whoever has begun it may be about to order it.
        let (fake, result) = swapped_by(&[], "UPDATE_COMPLETE", (false, now), &sick).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("is not gone on with: slot b has no healthy instance") && fake.orders.borrow().is_empty(), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_has_changed_nothing_and_ends() {
        let (_, result) = swapped(&[Outcome::Denied], "UPDATE_COMPLETE").await;
        assert!(result.unwrap_err().is_of_rights());
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_and_somebody_else_are_waited_for() {
        let (fake, result) = swapped(&[Outcome::Unanswered, Outcome::Busy, Outcome::Complete], "UPDATE_COMPLETE").await;
        assert_eq!(result.unwrap().unwrap().state, State::Good);
        let tokens: Vec<String> = fake.orders.borrow().iter().map(|(token, _)| token.clone()).collect();
        assert!(tokens.len() == 3 && tokens.windows(2).all(|two| two[0] == two[1]), "one operation, however often: {tokens:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stack_that_needs_a_hand_is_told_of_with_the_way_out() {
        let (_, result) = swapped(&[], "UPDATE_ROLLBACK_FAILED").await;
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("continue-update-rollback --stack-name shop-edge-main") && text.contains("swap main` then goes on"),
            "{text}"
        );
    }
}
