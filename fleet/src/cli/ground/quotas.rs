//! Checks that an environment and its deployment fit into the quotas of the account: vCPUs, elastic IP addresses, load
//! balancers, target groups and their targets, Auto Scaling groups. Counts the minimum that is needed, so that nothing
//! is refused that would fit.

use std::collections::BTreeMap;

use super::kind::{BALANCERS, TARGET_GROUPS, UNKNOWN};
use crate::aws::quotas::{Quota, quota};
use crate::aws::vcpus::{self, Market, Running, quota_of};
use crate::aws::{Aws, ec2};
use crate::cli::advice::advised;
use crate::cli::operator::Operator;
use crate::deployment::course::Standing;
use crate::deployment::record::{Goal, Policy};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Environment, Mode, Tier};

/// Source of codes: <https://docs.aws.amazon.com/general/latest/gr/ec2-service.html> and
/// <https://docs.aws.amazon.com/general/latest/gr/as.html>
const ADDRESSES: (&str, &str) = ("ec2", "L-0263D0A3");
const GROUPS: &str = "L-CDE20ADC";

/// Per load balancer, and per target group.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
const TARGETS: [(&str, &str); 2] = [("elasticloadbalancing", "L-7E6692B2"), ("elasticloadbalancing", "L-A0D0B863")];

/// The minimum of both quotas in any account: they can be raised, but not lowered. Source: the pages of their codes.
const TARGETS_AT_LEAST: u64 = 1000;

pub(super) async fn hold(operator: &Operator, goal: &Goal, standing: Option<&Standing>) -> Result<(), Failure> {
    let environment = operator.environment();
    let is_new = is_new(standing);
    let demand = Demand::of(environment, goal, is_new);
    let (made, targets) = tokio::join!(of_what_is_made(operator, environment, &demand), of_targets(operator, environment, &demand));
    made.and(targets)?;
    let types: Vec<&str> = environment.settings.instances.types.iter().map(|name| name.as_str()).collect();
    let asked = vcpus::of_types(&operator.aws, &types);
    let Some(sizes) = advised("instance types were not checked", asked).await? else { return Ok(()) };
    let has = standing.and_then(|standing| standing.parameter("InstanceType"));
    if demand.more == 0 && has == types.first().copied() {
        return Ok(());
    }
    let Some(running) = advised(UNKNOWN, vcpus::running(&operator.aws)).await? else { return Ok(()) };
    let mut refusal = None;
    for name in types {
        let one = One { name, vcpus: sizes[name], application: &operator.place.application, environment };
        match one.fits(&operator.aws, &demand, &running, &sizes).await? {
            // If the first type has no room, Auto Scaling launches the second one.
            None => return Ok(()),
            Some(failure) => drop(refusal.get_or_insert(failure)),
        }
    }
    refusal.map_or(Ok(()), Err)
}

/// Whether the stack still has to create everything. A creation under way has already created a part of it.
fn is_new(standing: Option<&Standing>) -> bool {
    standing.is_none_or(|standing| standing.output("Group").is_none() && !standing.is_busy())
}

/// Checks what the stack creates once, and the group that each immutable deployment creates.
async fn of_what_is_made(operator: &Operator, environment: &Environment, demand: &Demand) -> Result<(), Failure> {
    let Operator { aws, groups, .. } = operator;
    let name = &environment.key.name;
    let is_balanced = environment.mode == Mode::HighlyAvailable && environment.settings.load_balancer.edge.is_none();
    let mut made = Vec::new();
    if demand.is_new && environment.tier == Tier::Web && environment.mode == Mode::SingleInstance {
        let hint = "release one that nothing uses, or set `mode: highly_available` in fleet.yaml";
        made.push(("elastic IP address", ADDRESSES, advised(UNKNOWN, ec2::addresses(aws)).await?, hint));
    } else if demand.is_new && environment.tier == Tier::Web && is_balanced {
        let (balancers, targets) = tokio::join!(advised(UNKNOWN, groups.balancers()), advised(UNKNOWN, groups.target_groups()));
        let hint = "delete one that nothing uses, or set `mode: single_instance` in fleet.yaml";
        made.push(("load balancer", BALANCERS, balancers?, hint));
        made.push(("target group", TARGET_GROUPS, targets?, hint));
    }
    for (what, (service, code), used, hint) in made {
        let (Some(used), Some(quota)) = (used, advised(UNKNOWN, quota(aws, service, code)).await?) else { continue };
        if used >= quota.value {
            return Err(one_too_many(name, what, &quota, used, &aws.region, hint));
        }
    }
    if demand.is_new || demand.policy == Policy::Immutable {
        let Some((value, used)) = advised(UNKNOWN, groups.most()).await? else { return Ok(()) };
        if used >= value {
            let quota = Quota { code: GROUPS.to_owned(), name: "Auto Scaling groups per region".to_owned(), value };
            let hint = if demand.is_new { "delete one that nothing uses" } else { "deploy with `--policy rolling`, which keeps the group" };
            return Err(one_too_many(name, "Auto Scaling group", &quota, used, &aws.region, hint));
        }
    }
    Ok(())
}

fn one_too_many(name: &str, what: &str, quota: &Quota, used: u64, region: &str, hint: &str) -> Failure {
    Failure::new(Exit::Document, format!("{name} needs one more {what} than the account may have"))
        .why(format!("the quota \"{}\" is {} in {region}, and there are {used}", quota.name, quota.value))
        .hint(format!("{hint}, or raise the quota {} in Service Quotas", quota.code))
}

/// Checks the targets of a load balancer, if there may be too many.
async fn of_targets(operator: &Operator, environment: &Environment, demand: &Demand) -> Result<(), Failure> {
    let most = u64::from(demand.desired.max(demand.runs + demand.more));
    if (environment.tier, environment.mode) != (Tier::Web, Mode::HighlyAvailable) || most <= TARGETS_AT_LEAST {
        return Ok(());
    }
    for (service, code) in TARGETS {
        let Some(quota) = advised(UNKNOWN, quota(&operator.aws, service, code)).await? else { continue };
        if let Some(failure) = too_many_targets(environment, demand, &quota, most, &operator.aws.region) {
            return Err(failure);
        }
    }
    Ok(())
}

fn too_many_targets(environment: &Environment, demand: &Demand, quota: &Quota, most: u64, region: &str) -> Option<Failure> {
    (most > quota.value).then(|| {
        Failure::new(Exit::Document, format!("{} needs more targets than a load balancer may have", environment.key.name))
            .why(format!("the quota \"{}\" is {} in {region}, and {most} instances serve at once", quota.name, quota.value))
            .hint(format!("{}, or raise the quota {} in Service Quotas", demand.less(), quota.code))
    })
}

/// How many instances a deployment needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Demand {
    /// How many run now, and after the deployment.
    runs: u32,
    desired: u32,
    /// How many are launched before any instance ends.
    more: u32,
    /// Percentage that are Spot Instances.
    spot: u32,
    policy: Policy,
    is_new: bool,
}

impl Demand {
    fn of(environment: &Environment, goal: &Goal, is_new: bool) -> Self {
        let Goal { policy, capacity, .. } = goal;
        let settings = &environment.settings;
        let desired = if is_new { capacity.desired.max(1) } else { capacity.desired };
        let batch = settings.deployment.batch().of(desired).min(desired);
        let more = match policy {
            _ if is_new => desired,
            // It launches only as many first as the group has room for.
            Policy::RollingWithBatch => batch.min(capacity.max.saturating_sub(desired)),
            Policy::Immutable => desired,
            Policy::AllAtOnce | Policy::Rolling | Policy::InPlace | Policy::TrafficSplitting => 0,
        };
        let spot = settings.instances.spot.map_or(0, |spot| spot.0);
        Self { runs: if is_new { 0 } else { desired }, desired, more, spot, policy: *policy, is_new }
    }

    /// The minimum number of these in one market, Spot or On-Demand: Auto Scaling rounds one of the two up.
    fn share(&self, instances: u32, market: Market) -> u64 {
        let percent = if market == Market::Spot { self.spot } else { 100 - self.spot };
        u64::from(instances) * u64::from(percent) / 100
    }

    /// The most vCPUs that run at once, if `own` run now.
    fn peak(&self, market: Market, own: u64, vcpus: u64) -> u64 {
        (own + self.share(self.more, market) * vcpus).max(self.share(self.desired, market) * vcpus)
    }

    /// Advice that reduces the demand.
    fn less(&self) -> &'static str {
        match self.policy {
            _ if self.is_new => "lower `instances.min` or choose smaller `instances.types` in fleet.yaml",
            Policy::Immutable => "deploy with `--policy rolling`, which does not launch additional instances",
            Policy::RollingWithBatch if self.more > 0 => "lower `deployment.batch` in fleet.yaml, or deploy with `--policy rolling`",
            _ => "choose smaller `instances.types` in fleet.yaml",
        }
    }
}

/// vCPUs in use of the types that one quota counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    own: u64,
    others: u64,
}

/// An instance type that an environment may have.
struct One<'a> {
    name: &'a str,
    vcpus: u64,
    application: &'a str,
    environment: &'a Environment,
}

impl One<'_> {
    /// Why a deployment with instances of this type does not fit.
    async fn fits(
        &self,
        aws: &Aws,
        demand: &Demand,
        running: &[Running],
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Option<Failure>, Failure> {
        for market in [Market::OnDemand, Market::Spot] {
            let Some(code) = quota_of(self.name, market) else { continue };
            let counted = self.count(running, (code, market), sizes);
            let peak = demand.peak(market, counted.own, self.vcpus);
            if peak <= counted.own {
                continue;
            }
            let Some(quota) = advised(UNKNOWN, quota(aws, "ec2", code)).await? else { continue };
            if let Some(failure) = self.judge(demand, &quota, counted, peak, &aws.region) {
                return Ok(Some(failure));
            }
        }
        Ok(None)
    }

    fn count(&self, running: &[Running], (code, market): (&str, Market), sizes: &BTreeMap<String, u64>) -> Counted {
        let mut counted = Counted::default();
        for one in running.iter().filter(|one| one.market == market && quota_of(&one.name, market) == Some(code)) {
            let vcpus = one.vcpus.or_else(|| sizes.get(&one.name).copied()).unwrap_or(0);
            let is_own = one.application.as_deref() == Some(self.application)
                && one.environment.as_deref() == Some(self.environment.key.name.as_str());
            *(if is_own { &mut counted.own } else { &mut counted.others }) += vcpus;
        }
        counted
    }

    fn judge(&self, demand: &Demand, quota: &Quota, counted: Counted, peak: u64, region: &str) -> Option<Failure> {
        let (Counted { own, others }, name) = (counted, &self.environment.key.name);
        if others + peak <= quota.value {
            return None;
        }
        let runs = if own > 0 { format!(", {own} by {name} now") } else { String::new() };
        let why = format!(
            "the quota \"{}\" is {} vCPUs in {region}; {others} are used by others{runs}, and {name} needs \
             {peak} at once, as {} of {} each",
            quota.name, quota.value, self.name, self.vcpus
        );
        let hint = format!("{}, or raise the quota {} in Service Quotas", demand.less(), quota.code);
        Some(Failure::new(Exit::Document, format!("{name} does not fit into the account's quota of vCPUs")).why(why).hint(hint))
    }
}

#[cfg(test)]
mod tests;
