//! `ingot-fleet edge`: creates, updates or deletes the load balancer that two environments share.

mod desk;
mod ground;
pub(super) mod guard;
pub(super) mod listing;
pub(super) mod slots;
pub(super) mod trial;

use std::path::Path;

use serde_json::json;

pub(super) use self::desk::EdgeDesk;
use super::consent::Consent;
use super::output::{self, talk};
use crate::aws::stacks::{Guard, Order, Stacks as _};
use crate::conduct::{at_rest, failure_of};
use crate::deployment::course::{Phase, Standing};
use crate::deployment::slot::Slot;
use crate::deployment::swap::way_out;
use crate::deployment::terms::Watch;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::stack::{self, EdgeStack, POLICY};

/// Create an edge, or update it to what fleet.yaml says
///
/// An edge is a load balancer that two environments share, each in one of its slots: `swap` moves the requests from one
/// to the other. Create it before its environments, and delete it after them. Needs permission for
/// cloudformation:CreateStack, UpdateStack, UpdateTerminationProtection, DescribeStacks, DescribeStackEvents, GetTemplate and ListStacks,
/// iam:PassRole, sts:GetCallerIdentity, ec2:DescribeSubnets and DescribeSecurityGroups,
/// elasticloadbalancing:DescribeLoadBalancers and DescribeTargetGroups, servicequotas:GetServiceQuota and
/// GetAWSDefaultServiceQuota, acm:DescribeCertificate; with --delete for cloudformation:DeleteStack.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Edge, as fleet.yaml names it
    #[arg(value_name = "EDGE")]
    edge: String,
    /// Delete the edge. Delete its environments first
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(args: &Args, file: &Path, as_json: bool) -> Result<(), Failure> {
    let desk = EdgeDesk::of(file, &args.edge).await?;
    let state = match (args.delete, desk.standing().await?) {
        (true, standing) => delete(&desk, args.consent, standing).await?,
        (false, None) => create(&desk, args.consent).await?,
        (false, Some(standing)) => update(&desk, args.consent, &standing).await?,
    };
    if as_json {
        output::json(&json!({ "version": 1, "edge": desk.name(), "stack": desk.stack(), "state": state }));
    }
    Ok(())
}

async fn create(desk: &EdgeDesk, consent: Consent) -> Result<&'static str, Failure> {
    let (stack, planned) = (desk.stack(), stack::edge(&desk.place.application, desk.edge()));
    let (account, _) = desk.account().await?;
    ground::holds(desk, None, &account).await?;
    consent.ask(&format!("create {stack}, a load balancer for two environments, with slot a serving"))?;
    let token = token("create");
    let mut order = order(&stack, &token, &planned, &account.service_role);
    order.parameters = planned.parameters.clone();
    order.parameters.extend(Slot::A.parameters());
    order.tags = [("ingot:application", desk.place.application.as_str()), ("ingot:edge", desk.name())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let guard = Guard { policy: POLICY, is_protected: desk.edge().settings.protect };
    desk.stacks.create(&order, guard).await?;
    talk(&format!("creating {stack}, which takes a few minutes"));
    ended(desk, &token, "CREATE_COMPLETE").await?;
    talk(&format!("the edge {} is ready: create its environments now", desk.name()));
    Ok("created")
}

/// What creation and update have in common.
fn order<'a>(stack: &'a str, token: &str, planned: &EdgeStack, role: &'a str) -> Order<'a> {
    Order {
        stack,
        token: token.to_owned(),
        template: Some(planned.body),
        parameters: Default::default(),
        kept: Vec::new(),
        tags: Default::default(),
        role: Some(role),
        watch: Watch::default(),
    }
}

fn token(what: &str) -> String {
    format!("ingot-edge-{what}-{:016x}", fastrand::u64(..))
}

async fn update(desk: &EdgeDesk, consent: Consent, standing: &Standing) -> Result<&'static str, Failure> {
    let (stack, planned) = (desk.stack(), stack::edge(&desk.place.application, desk.edge()));
    sound(desk, standing)?;
    for (setting, stays, says) in planned.staying(standing) {
        let (stays, place) = (stays.unwrap_or_default(), desk.edge().place(&setting));
        talk(&format!(
            "note: {setting} takes effect only when an edge is created: it stays {stays}, although {}:{} says {says}",
            place.file, place.line
        ));
    }
    let mut changes: Vec<String> = planned.differing(standing).iter().map(change).collect();
    if !planned.is_template(&desk.stacks.template(&stack).await?) {
        changes.push("the template".to_owned());
    }
    let account = match changes.is_empty() {
        true => None,
        false => Some(desk.account().await?.0),
    };
    if let Some(account) = &account {
        ground::holds(desk, Some(standing), account).await?;
    }
    let protect = desk.edge().settings.protect;
    let is_guarded = standing.is_protected == protect;
    if !is_guarded {
        changes.push(format!("protection from deletion, {}", if protect { "on" } else { "off" }));
    }
    if changes.is_empty() {
        talk(&format!("the edge {} already matches fleet.yaml: nothing to change", desk.name()));
        return Ok("unchanged");
    }
    if consent.ask(&format!("change {stack}: {}", changes.join(", ")))? {
        unchanged_since(desk, standing).await?;
    }
    // An update that fails leaves it protected.
    if protect && !is_guarded {
        guard(desk, true).await?;
    }
    if let Some(account) = &account {
        let token = token("update");
        let (parameters, kept) = planned.update(standing);
        let tags = standing.tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
        let tags = tags.map(|(key, value)| (key.clone(), value.clone())).collect();
        let order = Order { parameters, kept, tags, ..order(&stack, &token, &planned, &account.service_role) };
        if desk.stacks.update(&order).await? {
            ended(desk, &token, "UPDATE_COMPLETE").await?;
        }
    }
    if !protect && !is_guarded {
        guard(desk, false).await?;
    }
    talk(&format!("the edge {} now matches fleet.yaml", desk.name()));
    Ok("updated")
}

/// Looks at the stack again after a question, which may have been open for long: a swap may have changed the weights.
async fn unchanged_since(desk: &EdgeDesk, then: &Standing) -> Result<(), Failure> {
    let now = desk.standing().await?.ok_or_else(|| desk.not_there())?;
    sound(desk, &now)?;
    if (&now.token, &now.parameters) == (&then.token, &then.parameters) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("the edge {} was not changed", desk.name()))
        .why("another operation has changed it in the meantime")
        .hint("run the same command again to plan for the present state"))
}

/// Turns the stack's protection from deletion on or off.
async fn guard(desk: &EdgeDesk, protect: bool) -> Result<(), Failure> {
    let stack = desk.stack();
    desk.stacks.protect(&stack, protect).await?;
    talk(&format!("{stack} is {} deletion", if protect { "now protected from" } else { "no longer protected from" }));
    Ok(())
}

fn change((setting, before, now): &(String, Option<String>, String)) -> String {
    let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    format!("{setting} from {} to {}", before.as_deref().map_or_else(|| "nothing".to_owned(), shown), shown(now))
}

/// Refuses a stack that cannot be updated in its present state.
fn sound(desk: &EdgeDesk, standing: &Standing) -> Result<(), Failure> {
    let (stack, failure) = (desk.stack(), Failure::new(Exit::Failed, format!("the edge {} was not changed", desk.name())));
    match standing.phase() {
        Phase::Ready | Phase::WentBack => Ok(()),
        Phase::Busy => Err(failure
            .why(format!("the stack {stack} is in {}", standing.status))
            .hint("run the same command again when that operation has finished")),
        Phase::Stuck(stuck) => {
            let (what, hint) = way_out(stuck, &stack, desk.name());
            Err(failure.why(format!("the stack {stack} is in {}: {what}", standing.status)).hint(hint))
        }
    }
}

/// Waits for an operation to end, and expects the stack to be in this status then.
async fn ended(desk: &EdgeDesk, token: &str, wanted: &str) -> Result<(), Failure> {
    let stack = desk.stack();
    let standing = at_rest(&desk.stacks, &stack, token, false, talk).await?;
    if standing.as_ref().is_some_and(|standing| standing.status == wanted) {
        return Ok(());
    }
    let Some(standing) = standing else {
        let failure = Failure::new(Exit::Failed, format!("{stack} no longer exists")).why("another operation has deleted it");
        return Err(failure.hint("run the same command again to create it"));
    };
    let why = match desk.stacks.events(&stack, jiff::Timestamp::UNIX_EPOCH).await {
        Ok(events) => failure_of(&events, token, &stack).unwrap_or_else(|| "another operation is changing it".to_owned()),
        Err(failure) => format!("its events could not be read: {}", failure.sentence()),
    };
    let failure = Failure::new(Exit::Failed, format!("{stack} is in {}", standing.status)).why(why);
    Err(match standing.phase() {
        Phase::Stuck(stuck) => failure.hint(way_out(stuck, &stack, desk.name()).1),
        _ => failure.hint("fix the cause, and run the same command again"),
    })
}

async fn delete(desk: &EdgeDesk, consent: Consent, standing: Option<Standing>) -> Result<&'static str, Failure> {
    let (name, stack) = (desk.name(), desk.stack());
    let Some(standing) = standing else {
        talk(&format!("there is no stack {stack}: nothing to delete"));
        return Ok("unchanged");
    };
    may_go(desk, &standing).await?;
    if consent.ask(&format!("delete {stack}, the load balancer of the edge {name}"))? {
        let now = desk.standing().await?.ok_or_else(|| desk.not_there())?;
        may_go(desk, &now).await?;
    }
    let token = token("delete");
    // Deleting does not need the stack ingot-account: CloudFormation then uses the role that the edge's stack was
    // created with.
    let role = desk.account().await.ok().map(|(account, _)| account.service_role);
    desk.stacks.delete(&stack, &token, role.as_deref()).await?;
    match at_rest(&desk.stacks, &stack, &token, true, talk).await? {
        None => {
            talk(&format!("deleted {stack}"));
            Ok("deleted")
        }
        Some(standing) => {
            let failure = Failure::new(Exit::Failed, format!("{stack} was not deleted")).why(format!("it is in {}", standing.status));
            Err(failure.hint(format!(
                "find the cause with `aws cloudformation describe-stack-events --stack-name {stack}`, and run the same command again"
            )))
        }
    }
}

/// Refuses to delete an edge that has environments: they would no longer be reachable.
async fn may_go(desk: &EdgeDesk, standing: &Standing) -> Result<(), Failure> {
    let (name, stack) = (desk.name(), desk.stack());
    let refused = || Failure::new(Exit::Failed, format!("the edge {name} was not deleted"));
    if standing.phase() == Phase::Busy {
        return Err(refused()
            .why(format!("{stack} is in {}", standing.status))
            .hint("run the same command again when that operation has finished"));
    }
    if standing.is_protected {
        let protected = refused().why(format!("{stack} is protected from deletion"));
        return Err(match standing.phase() {
            // It cannot be updated.
            Phase::Stuck(_) => protected.hint(format!(
                "remove the protection with `aws cloudformation update-termination-protection \
                 --no-enable-termination-protection --stack-name {stack}`"
            )),
            _ => protected.hint(format!("set `protect: false` for the edge in fleet.yaml, and run `ingot-fleet edge {name}` first")),
        });
    }
    let tenants = slots::tenants(&desk.stacks, &desk.place.application, name).await?;
    match tenants.first() {
        None => Ok(()),
        Some(one) => {
            let all: Vec<&str> = tenants.iter().map(|one| one.environment.as_str()).collect();
            let hint = format!("delete them first: `ingot-fleet terminate {} --despite-traffic`", one.environment);
            Err(refused().why(format!("it still has the environments {}", all.join(" and "))).hint(hint))
        }
    }
}
