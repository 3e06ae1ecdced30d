//! `ingot-fleet swap`: moves the requests of an edge to its other slot.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::consent::Consent;
use super::edge::slots::{Fitness, Tenant, fitness, names, tenants};
use super::edge::{EdgeDesk, trial};
use super::output::{self, talk};
use super::patience::length;
use crate::aws::swaps::{BegunSwap, KeptSwap};
use crate::conduct::{Health, Swapper};
use crate::deployment::course::{Phase, Standing};
use crate::deployment::record::State;
use crate::deployment::slot::Slot;
use crate::deployment::swap::{Swap, way_out};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::Length;

/// Move the requests of an edge to its other environment; another swap moves them back
///
/// One update of the edge's stack changes the weights; instances stay as they are. A swap begins only if the other slot
/// has healthy instances and passes its checks. Asks for confirmation. An interrupted swap is continued, and that of
/// another operator is followed. Needs permission for cloudformation:UpdateStack, DescribeStacks, DescribeStackEvents
/// and ListStacks, elasticloadbalancing:DescribeTargetHealth, s3:ListBucket, GetObject and PutObject,
/// sts:GetCallerIdentity.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Edge, as fleet.yaml names it
    #[arg(value_name = "EDGE")]
    edge: String,
    /// Slot that should serve, a or b: if it already does, nothing changes [default: the other one]
    #[arg(long, value_name = "SLOT", value_parser = slot)]
    to: Option<Slot>,
    /// URL of the edge to request from the slot, about once per instance: every answer must have a 2xx status. Can be
    /// repeated
    #[arg(long, value_name = "URL", value_parser = url)]
    check: Vec<String>,
    #[command(flatten)]
    consent: Consent,
    /// How long to wait, such as 5m. After that, the exit code is 4, and the swap continues
    #[arg(long, value_name = "TIME", value_parser = length)]
    timeout: Option<Length>,
}

fn slot(text: &str) -> Result<Slot, String> {
    Slot::BOTH.into_iter().find(|slot| slot.word() == text).ok_or_else(|| "expected a or b".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    let is_url = ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if is_url { Ok(text.to_owned()) } else { Err("expected a URL of the edge, such as https://shop.example.com/health".to_owned()) }
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let desk = EdgeDesk::of(file, &args.edge).await?;
    let (kept, is_own) = match desk.swaps().newest().await? {
        Some(kept) if kept.swap.state == State::UnderWay => (kept, false),
        newest => match begun(&desk, args, newest).await? {
            Some(begun) => begun,
            None => {
                if as_json {
                    output::json(&json!({ "version": 1, "edge": desk.name(), "state": "unchanged" }));
                }
                return Ok(());
            }
        },
    };
    if !is_own {
        talk(&format!("{}: completing it instead of beginning another one", kept.swap.told()));
    }
    let followed = kept.swap.clone();
    let (account, _) = desk.account().await?;
    let (stack, until) = (desk.stack(), args.timeout.map(|length| Instant::now() + Duration::from_secs(length.0)));
    let (swaps, stacks, role) = (desk.swaps(), &desk.stacks, account.service_role.as_str());
    let swapper = Swapper { swaps, stacks, health: &desk, stack: &stack, role, is_own, tell: talk };
    let ended = swapper.run(kept, until).await?;
    if as_json {
        said(&followed, ended.as_ref());
    }
    match ended {
        Some(swap) => told(&desk, args, &swap).await,
        None => Err(Failure::new(Exit::UnderWay, followed.told()).hint(format!("complete it with `ingot-fleet swap {}`", desk.name()))),
    }
}

fn said(followed: &Swap, ended: Option<&Swap>) {
    let swap = ended.unwrap_or(followed);
    output::json(&json!({
        "version": 1, "edge": swap.edge, "swap": swap.number, "to": swap.to, "state": swap.state, "by": swap.by, "cause": swap.cause,
    }));
}

/// Reports how a swap has ended.
async fn told(desk: &EdgeDesk, args: &Args, swap: &Swap) -> Result<(), Failure> {
    let name = desk.name();
    if swap.state != State::Good {
        let failure = Failure::new(Exit::Failed, swap.told()).why(swap.cause.clone().unwrap_or_else(|| "its cause is unknown".into()));
        return Err(failure.hint(format!("slot {} serves as before; fix the cause, and run the same command again", swap.to.other())));
    }
    talk(&swap.told());
    let stickiness = desk.standing().await?.and_then(|standing| standing.parameter("Stickiness")?.parse::<i64>().ok()).unwrap_or(0);
    let until = swap.ended.and_then(|ended| ended.checked_add(jiff::SignedDuration::from_secs(stickiness)).ok());
    if let Some(until) = until.filter(|_| stickiness > 0) {
        talk(&format!("cookies may keep clients on slot {} until {until:.0}", swap.to.other()));
    }
    talk(&format!("run `ingot-fleet swap {name}` to swap back"));
    match args.to {
        Some(to) if to != swap.to => Err(Failure::new(Exit::Failed, format!("slot {} serves, not slot {to}", swap.to))
            .why("another swap was already under way")
            .hint("run the same command again")),
        _ => Ok(()),
    }
}

/// Begins a swap, if there is something to change. Returns whether the swap is its own, or one that another operator
/// began first.
async fn begun(desk: &EdgeDesk, args: &Args, newest: Option<KeptSwap>) -> Result<Option<(KeptSwap, bool)>, Failure> {
    let (standing, weights) = desk.standing_with_weights().await?;
    sound(desk, &standing)?;
    let to = match (args.to, weights.serving()) {
        (Some(to), Some(serving)) if to == serving => {
            talk(&format!("slot {to} of the edge {} already serves: nothing to change", desk.name()));
            return Ok(None);
        }
        (Some(to), _) => to,
        (None, Some(serving)) => serving.other(),
        (None, None) => {
            let failure = Failure::new(Exit::Usage, format!("both slots of the edge {} get requests", desk.name()));
            return Err(failure.hint("name the one that should serve with --to a or --to b"));
        }
    };
    let all = tenants(&desk.stacks, &desk.place.application, desk.name()).await?;
    let fit = fit(desk, &standing, to, &all).await?;
    trial::tried(desk, &args.check, to, fit.healthy).await?;
    if args.consent.ask(&question(desk.name(), to, &all, &fit))? {
        let (now, _) = desk.standing_with_weights().await?;
        if (&now.parameters, &now.status) != (&standing.parameters, &standing.status) || desk.swaps().newest().await? != newest {
            return Err(
                Failure::new(Exit::Failed, "nothing was changed: the edge has changed in the meantime").hint("run the same command again")
            );
        }
        let all = tenants(&desk.stacks, &desk.place.application, desk.name()).await?;
        self::fit(desk, &standing, to, &all).await?;
    }
    let (_, caller) = desk.account().await?;
    let at = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let number = newest.map_or(0, |kept| kept.swap.number) + 1;
    Ok(Some(match desk.swaps().begin(Swap::begin(desk.name(), number, to, &caller, at)).await? {
        BegunSwap::Mine(kept) => {
            talk(&format!("swap {number} of the edge {}: to slot {to}", desk.name()));
            (kept, true)
        }
        BegunSwap::Taken(kept) => (kept, false),
    }))
}

/// Refuses an edge that cannot be updated in its present state.
fn sound(desk: &EdgeDesk, standing: &Standing) -> Result<(), Failure> {
    let (stack, failure) =
        (desk.stack(), Failure::new(Exit::Failed, format!("nothing was changed: the edge {} cannot be swapped", desk.name())));
    let failure = failure.why(format!("the stack {stack} is in {}", standing.status));
    match standing.phase() {
        Phase::Ready | Phase::WentBack => Ok(()),
        Phase::Busy => Err(failure.hint("run the same command again when that operation has finished")),
        Phase::Stuck(stuck) => Err(failure.hint(way_out(stuck, &stack, desk.name()).1)),
    }
}

/// Checks the health of the slot that is going to serve: its instances must be healthy, and must not be changing.
async fn fit(desk: &EdgeDesk, edge: &Standing, to: Slot, all: &[Tenant]) -> Result<Fitness, Failure> {
    if let Some((one, status)) = all.iter().filter(|one| one.slot == to).find_map(|one| Some((one, one.changes.as_ref()?))) {
        let failure =
            format!("nothing was changed: the instances in slot {to} of the edge {} are being launched, ended or replaced", desk.name());
        let hint =
            format!("run the same command again when that operation has finished: `ingot-fleet status {}` shows it", one.environment);
        return Err(Failure::new(Exit::Failed, failure).why(format!("the stack of {} is in {status}", one.environment)).hint(hint));
    }
    let fit = fitness(&desk.groups, edge, to).await?;
    if fit.healthy == 0 {
        let failure =
            Failure::new(Exit::Failed, format!("nothing was changed: slot {to} of the edge {} has no healthy instance", desk.name()));
        let first = all.iter().find(|one| one.slot == to);
        let hint = match first {
            Some(one) => format!("find the cause with `ingot-fleet status {}`", one.environment),
            None => "create an environment in this slot".to_owned(),
        };
        let why = fit
            .why
            .unwrap_or_else(|| if first.is_some() { "no instance is registered there" } else { "there is no environment in it" }.into());
        return Err(failure.why(why).hint(hint));
    }
    let other = fitness(&desk.groups, edge, to.other()).await?;
    if fit.healthy < other.healthy {
        talk(&format!("note: slot {to} has {} healthy instances, but slot {} has {}", fit.healthy, to.other(), other.healthy));
    }
    Ok(fit)
}

impl Health for EdgeDesk {
    async fn ailment(&self, slot: Slot) -> Result<Option<String>, Failure> {
        let Some(edge) = self.standing().await? else { return Ok(None) };
        let Fitness { healthy, why, .. } = fitness(&self.groups, &edge, slot).await?;
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Ok((healthy == 0).then(|| format!("slot {slot} has no healthy instance{why}")))
    }
}

fn question(edge: &str, to: Slot, all: &[Tenant], fit: &Fitness) -> String {
    let one = |slot: Slot| {
        let release = all.iter().find(|one| one.slot == slot).and_then(|one| one.release.as_deref());
        let release = release.map(|release| format!(" with {release}")).unwrap_or_default();
        format!("slot {slot} ({}{release})", names(all, slot))
    };
    let Fitness { healthy, all: count, .. } = fit;
    format!(
        "move the requests of the edge {edge} from {} to {}, where {healthy} of {count} instances are healthy",
        one(to.other()),
        one(to)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_both_sides() {
        let tenant = |environment: &str, slot, release: &str| Tenant {
            environment: environment.into(),
            slot,
            release: Some(release.into()),
            changes: None,
        };
        let all = [tenant("blue", Slot::A, "v1"), tenant("green", Slot::B, "v2")];
        let fit = Fitness { healthy: 2, all: 3, why: None };
        assert_eq!(
            question("main", Slot::B, &all, &fit),
            "move the requests of the edge main from slot a (blue with v1) to slot b (green with v2), where 2 of 3 instances are healthy"
        );
        assert!(question("main", Slot::A, &all[1..], &fit).contains("to slot a (nothing), where"));
    }

    #[test]
    fn slots_and_urls_are_told_from_other_words() {
        assert_eq!((slot("a"), slot("b")), (Ok(Slot::A), Ok(Slot::B)));
        assert!(slot("c").is_err() && slot("A").is_err());
        assert!(url("https://shop.example.com/health").is_ok() && url("http://10.0.0.1").is_ok());
        assert!(url("/health").is_err() && url("https://").is_err() && url("shop.example.com").is_err());
    }
}
