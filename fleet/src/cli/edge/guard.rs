//! What an edge requires of the environments in its slots: none is deleted or replaced while clients still use it.

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

/// For how many minutes an idle slot must have had no requests before its environment is deleted.
const QUIET: i64 = 5;

/// How late CloudWatch may report a request, in minutes.
const LATE: i64 = 1;

/// A slot of an edge, and the state of the edge.
struct Place<'a> {
    operator: &'a Operator,
    edge: &'a str,
    slot: Slot,
    standing: Standing,
    weights: Weights,
}

impl<'a> Place<'a> {
    /// `None` for an environment without an edge, and if the edge is gone.
    async fn of(operator: &'a Operator, environment: &'a Standing) -> Result<Option<Self>, Failure> {
        let Some((edge, slot)) = Slot::of(environment) else { return Ok(None) };
        let Some(standing) = operator.stacks.standing(&stack_of(&operator.place.application, edge)).await? else { return Ok(None) };
        Ok(Weights::of(&standing).map(|weights| Self { operator, edge, slot, standing, weights }))
    }

    /// When the last effective swap ended, and until when clients may stay with the slot although the other one serves.
    async fn kept_until(&self) -> Result<Option<(Timestamp, Timestamp)>, Failure> {
        let swaps = Swaps::new(&self.operator.bucket, &self.operator.place, self.edge);
        let Some(swap) = swaps.newest_effective().await? else { return Ok(None) };
        if swap.state == State::UnderWay {
            return Err(Failure::new(Exit::Failed, format!("a swap of the edge {} is under way", self.edge))
                .why(swap.told())
                .hint(format!("complete it with `ingot-fleet swap {}`, and run the same command again", self.edge)));
        }
        let stickiness = self.standing.parameter("Stickiness").and_then(|seconds| seconds.parse::<i64>().ok()).unwrap_or(0);
        let ended = swap.ended.filter(|_| swap.to != self.slot && stickiness > 0);
        Ok(ended.and_then(|ended| Some((ended, ended.checked_add(SignedDuration::from_secs(stickiness)).ok()?))))
    }

    fn told(&self) -> String {
        format!("slot {} of the edge {}", self.slot, self.edge)
    }
}

/// Refuses to delete an environment that receives requests from its edge, and waits until no client can come back to
/// it. `despite_traffic` skips both checks.
pub(crate) async fn may_be_emptied(operator: &Operator, environment: &Standing, despite_traffic: bool) -> Result<(), Failure> {
    let (name, anyway) = (operator.name(), "or drop its requests with --despite-traffic");
    if despite_traffic {
        return Ok(());
    }
    loop {
        let Some(place) = Place::of(operator, environment).await? else { return Ok(()) };
        if place.weights.of_slot(place.slot) > 0 {
            let percent = place.weights.percent(place.slot);
            return Err(Failure::new(Exit::Failed, format!("cannot delete {name} while it serves"))
                .why(format!("{} gets {percent} % of the requests", place.told()))
                .hint(format!("move the traffic first with `ingot-fleet swap {}`, {anyway}", place.edge)));
        }
        let Some((ended, until)) = place.kept_until().await? else { return Ok(()) };
        let rest = until.duration_since(Timestamp::now());
        if let Ok(rest) = Duration::try_from(rest)
            && !rest.is_zero()
        {
            talk(&format!(
                "cookies may keep clients on {} until {until:.0}: waiting until then (--despite-traffic skips this)",
                place.told()
            ));
            sleep(rest).await;
            // The edge may have been swapped back in the meantime.
            continue;
        }
        let minutes = (Timestamp::now().duration_since(ended).as_mins() - LATE).min(QUIET);
        let Some(label) = place.standing.output(place.slot.label()).filter(|_| minutes > 0) else { return Ok(()) };
        return match traffic::requests(&operator.aws, label, minutes).await? {
            0 => Ok(()),
            count => Err(Failure::new(Exit::Failed, format!("cannot delete {name} while it serves"))
                .why(format!("{} got {count} requests in the last {minutes} minutes", place.told()))
                .hint(format!("run the same command again when the sessions there have ended, {anyway}"))),
        };
    }
}

/// Refuses to deploy to an idle slot while clients of its present release may come back to it.
pub(crate) async fn may_be_replaced(operator: &Operator, environment: &Standing) -> Result<(), Failure> {
    let Some(place) = Place::of(operator, environment).await?.filter(|place| place.weights.of_slot(place.slot) == 0) else {
        return Ok(());
    };
    let until = place.kept_until().await?.map(|(_, until)| until).filter(|until| *until > Timestamp::now());
    until.map_or(Ok(()), |until| {
        Err(Failure::new(Exit::Failed, format!("cannot deploy to {} yet", operator.name()))
            .why(format!("cookies may keep clients of its present release on {} until {until:.0}", place.told()))
            .hint("run the same command again after that time"))
    })
}

/// Checks that the edge of an environment to be created exists, and that its slot is free.
pub(crate) async fn may_join(operator: &Operator) -> Result<(), Failure> {
    let Some((edge, slot)) = operator.environment().joined() else { return Ok(()) };
    let (name, application) = (operator.name(), &operator.place.application);
    let stack = stack_of(application, edge);
    let refused = |why: String, hint: String| Err(Failure::new(Exit::Failed, format!("cannot create {name}")).why(why).hint(hint));
    match operator.stacks.standing(&stack).await? {
        Some(standing) => {
            let hint = match standing.phase() {
                Phase::Ready | Phase::WentBack if Weights::of(&standing).is_some() => None,
                // While an edge is being created or deleted, there is nothing to import from its stack.
                Phase::Busy if standing.status.starts_with("UPDATE_") => None,
                Phase::Busy => Some("run the same command again when that operation has finished".to_owned()),
                _ => Some(format!("run `ingot-fleet edge {edge}`")),
            };
            if let Some(hint) = hint {
                return refused(format!("the stack {stack} of its edge is in {}", standing.status), hint);
            }
        }
        None => return refused(format!("its edge {edge} has not been created yet"), format!("run `ingot-fleet edge {edge}`")),
    }
    let mut others = tenants(&operator.stacks, application, edge).await?;
    others.retain(|one| one.environment != name);
    if others.iter().any(|one| one.slot == slot) {
        let why = format!("slot {slot} of the edge {edge} is taken by {}", names(&others, slot));
        return refused(why, format!("set `slot: {}`, or delete the other environment first", slot.other()));
    }
    Ok(())
}
