//! What an edge asks of the environments in its slots: nothing is emptied or replaced that clients still use.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::desk::stack_of;
use super::slots::{names, tenants};
use crate::aws::stacks::Stacks as _;
use crate::aws::swaps::Swaps;
use crate::aws::traffic;
use crate::cli::operator::Operator;
use crate::cli::output::talk;
use crate::deployment::course::{Phase, Standing};
use crate::deployment::record::State;
use crate::deployment::slot::{Slot, Weights};
use crate::exit::Exit;
use crate::failure::Failure;

/// For so many minutes, an idle slot must have had no request before it is emptied.
const QUIET: i64 = 5;

/// How late CloudWatch may know of a request, in minutes.
const LATE: i64 = 1;

/// A slot of an edge, and how the edge stands.
struct Place<'a> {
    operator: &'a Operator,
    edge: &'a str,
    slot: Slot,
    standing: Standing,
    weights: Weights,
}

impl<'a> Place<'a> {
    /// `None` of an environment without an edge, and where the edge is gone.
    async fn of(operator: &'a Operator, environment: &'a Standing) -> Result<Option<Self>, Failure> {
        let Some((edge, slot)) = Slot::of(environment) else { return Ok(None) };
        let Some(standing) = operator.stacks.standing(&stack_of(&operator.place.application, edge)).await? else { return Ok(None) };
        Ok(Weights::of(&standing).map(|weights| Self { operator, edge, slot, standing, weights }))
    }

    /// Until when clients may stay with the slot although another one serves, by the last swap that went well.
    async fn kept_until(&self) -> Result<Option<(Timestamp, Timestamp)>, Failure> {
        let swaps = Swaps::new(&self.operator.bucket, &self.operator.place, self.edge);
        let Some(swap) = swaps.newest_effective().await? else { return Ok(None) };
        if swap.state == State::UnderWay {
            return Err(Failure::new(Exit::Failed, format!("a swap of the edge {} goes on", self.edge))
                .why(swap.told())
                .hint(format!("see it through with `ingot-fleet swap {}`, and run this again", self.edge)));
        }
        let stickiness = self.standing.parameter("Stickiness").and_then(|seconds| seconds.parse::<i64>().ok()).unwrap_or(0);
        let ended = swap.ended.filter(|_| swap.to != self.slot && stickiness > 0);
        Ok(ended.and_then(|ended| Some((ended, ended.checked_add(SignedDuration::from_secs(stickiness)).ok()?))))
    }

    fn told(&self) -> String {
        format!("slot {} of the edge {}", self.slot, self.edge)
    }
}

/// Refuses to delete an environment that its edge sends requests to, and waits until no client is to come back to it.
/// `despite_traffic` is what the user says to both.
pub(crate) async fn may_be_emptied(operator: &Operator, environment: &Standing, despite_traffic: bool) -> Result<(), Failure> {
    let (name, anyway) = (operator.name(), "or give its requests up with --despite-traffic");
    if despite_traffic {
        return Ok(());
    }
    loop {
        let Some(place) = Place::of(operator, environment).await? else { return Ok(()) };
        if place.weights.of_slot(place.slot) > 0 {
            let percent = place.weights.percent(place.slot);
            return Err(Failure::new(Exit::Failed, format!("{name} is not deleted while it serves"))
                .why(format!("{} gets {percent} % of the requests", place.told()))
                .hint(format!("move the traffic first: `ingot-fleet swap {}`, {anyway}", place.edge)));
        }
        let Some((ended, until)) = place.kept_until().await? else { return Ok(()) };
        let rest = until.duration_since(Timestamp::now());
        if let Ok(rest) = Duration::try_from(rest)
            && !rest.is_zero()
        {
            talk(&format!("clients may stay with {} until {until:.0}, by their cookies: that is waited for, {anyway}", place.told()));
            sleep(rest).await;
            // Somebody may have swapped back meanwhile.
            continue;
        }
        let minutes = (Timestamp::now().duration_since(ended).as_mins() - LATE).min(QUIET);
        let Some(label) = place.standing.output(place.slot.label()).filter(|_| minutes > 0) else { return Ok(()) };
        return match traffic::requests(&operator.aws, label, minutes).await? {
            0 => Ok(()),
            count => Err(Failure::new(Exit::Failed, format!("{name} is not deleted while it serves"))
                .why(format!("{} got {count} requests in the last {minutes} minutes", place.told()))
                .hint(format!("run it again when sessions there have ended, {anyway}"))),
        };
    }
}

/// Refuses to deploy to an idle slot while clients of the former release may come back to it.
pub(crate) async fn may_be_replaced(operator: &Operator, environment: &Standing) -> Result<(), Failure> {
    let Some(place) = Place::of(operator, environment).await?.filter(|place| place.weights.of_slot(place.slot) == 0) else {
        return Ok(());
    };
    let until = place.kept_until().await?.map(|(_, until)| until).filter(|until| *until > Timestamp::now());
    until.map_or(Ok(()), |until| {
        Err(Failure::new(Exit::Failed, format!("nothing is deployed to {} yet", operator.name()))
            .why(format!("clients of what it runs may stay with {} until {until:.0}, by their cookies", place.told()))
            .hint("run it again after that"))
    })
}

/// Whether the edge of an environment that is to be created is there, and its slot free.
pub(crate) async fn may_join(operator: &Operator) -> Result<(), Failure> {
    let Some((edge, slot)) = operator.environment().joined() else { return Ok(()) };
    let (name, application) = (operator.name(), &operator.place.application);
    let stack = stack_of(application, edge);
    let refused = |why: String, hint: String| Err(Failure::new(Exit::Failed, format!("{name} is not created")).why(why).hint(hint));
    match operator.stacks.standing(&stack).await? {
        Some(standing) if Weights::of(&standing).is_some() && matches!(standing.phase(), Phase::Ready | Phase::WentBack | Phase::Busy) => {}
        Some(standing) => {
            return refused(format!("the stack {stack} of its edge is in {}", standing.status), format!("run `ingot-fleet edge {edge}`"));
        }
        None => return refused(format!("its edge {edge} was not created yet"), format!("run `ingot-fleet edge {edge}`")),
    }
    let mut others = tenants(&operator.stacks, application, edge).await?;
    others.retain(|one| one.environment != name);
    if others.iter().any(|one| one.slot == slot) {
        let why = format!("slot {slot} of the edge {edge} is that of {}", names(&others, slot));
        return refused(why, format!("write `slot: {}`, or delete the other environment first", slot.other()));
    }
    Ok(())
}
