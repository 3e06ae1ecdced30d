//! Checks that the rest of what a stack creates fits into the quotas of the account: the stack itself, its security
//! groups and role, a database, a cache. Counts only what does not exist yet.
//!
//! Rules of security groups are not counted: the templates' groups have at most three in each direction, and the quota
//! is 60 at least. <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>

use std::collections::BTreeMap;

use super::applicant::Applicant;
use super::kind::{Kind, SECURITY_GROUPS, STACKS, UNKNOWN};
use crate::aws::counted::{self, Share};
use crate::aws::quotas::{Quota, quota};
use crate::cli::advice::advised;
use crate::cli::operator::Operator;
use crate::deployment::course::Standing;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fleet::{Environment, Mode, Tier};

/// The quota of security groups for each network interface, and its minimum in any account: it can be raised,
/// but not lowered.
///
/// Source: <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>
const OF_AN_INTERFACE: (&str, &str) = ("vpc", "L-2AFB9258");
const OF_AN_INTERFACE_AT_LEAST: u64 = 5;

/// Source: <https://docs.aws.amazon.com/general/latest/gr/iam-service.html>
const ROLES: Kind = Kind { plural: "roles", service: "iam", code: "L-FE177D64", less: "delete a role that nothing uses" };

/// Source: <https://docs.aws.amazon.com/general/latest/gr/elasticache-service.html>
const CACHE_NODES: Kind = Kind {
    plural: "cache nodes",
    service: "elasticache",
    code: "L-DFE45DF3",
    less: "lower `cache.replicas` in fleet.yaml, leave `cache` out, or delete a cache that nothing uses",
};

/// The names of RDS and of Service Quotas.
///
/// Source: <https://docs.aws.amazon.com/general/latest/gr/rds-service.html>
const OF_DATABASES: [(&str, &str, Kind); 3] = [
    (
        "DBInstances",
        "DB instances",
        Kind {
            plural: "databases",
            service: "rds",
            code: "L-7B6409FD",
            less: "leave `database` out of fleet.yaml, or delete a database that nothing uses",
        },
    ),
    (
        "DBSubnetGroups",
        "DB subnet groups",
        Kind {
            plural: "DB subnet groups",
            service: "rds",
            code: "L-48C6BF61",
            less: "leave `database` out of fleet.yaml, or delete a DB subnet group that nothing uses",
        },
    ),
    (
        "AllocatedStorage",
        "Total storage for all DB instances",
        Kind { plural: "GiB of databases", service: "rds", code: "L-7ADDB58A", less: "lower `database.storage_gib` in fleet.yaml" },
    ),
];

pub(super) async fn suffices(operator: &Operator, standing: Option<&Standing>) -> Result<(), Failure> {
    let environment = operator.environment();
    let needs = Needs::of(environment, standing);
    let Operator { aws, stacks, .. } = operator;
    let applicant = Applicant::of(operator);
    let (stacks, groups, nodes, interface, roles, databases) = tokio::join!(
        STACKS.fits(applicant, needs.stacks, stacks.count()),
        SECURITY_GROUPS.fits(applicant, needs.security_groups, counted::security_groups(aws)),
        CACHE_NODES.fits(applicant, needs.cache_nodes, counted::cache_nodes(aws)),
        of_an_interface(applicant, needs.of_an_instance),
        roles(applicant, needs.roles),
        databases(applicant, &needs),
    );
    stacks.and(groups).and(nodes).and(interface).and(roles).and(databases)
}

/// Checks how many security groups each instance has.
async fn of_an_interface(applicant: Applicant<'_>, count: u64) -> Result<(), Failure> {
    if count <= OF_AN_INTERFACE_AT_LEAST {
        return Ok(());
    }
    let (service, code) = OF_AN_INTERFACE;
    let Some(quota) = advised(UNKNOWN, quota(applicant.aws, service, code)).await? else { return Ok(()) };
    too_many_on_an_interface(applicant.name, &applicant.aws.region, &quota, count).map_or(Ok(()), Err)
}

fn too_many_on_an_interface(name: &str, region: &str, quota: &Quota, count: u64) -> Option<Failure> {
    (count > quota.value).then(|| {
        Failure::new(Exit::Document, format!("each instance of {name} would have {count} security groups, one of them from its stack"))
            .why(format!("the quota \"{}\" is {} in {region}", quota.name, quota.value))
            .hint(format!("list fewer `network.security_groups` in fleet.yaml, or raise the quota {} in Service Quotas", quota.code))
    })
}

async fn roles(applicant: Applicant<'_>, more: u64) -> Result<(), Failure> {
    if more == 0 {
        return Ok(());
    }
    let Some(Some(Share { used, most })) = advised(UNKNOWN, counted::roles(applicant.aws)).await? else { return Ok(()) };
    ROLES.lack(applicant, more, &ROLES.quota("Roles per account", most), used).map_or(Ok(()), Err)
}

async fn databases(applicant: Applicant<'_>, needs: &Needs) -> Result<(), Failure> {
    if needs.databases == 0 && needs.storage_gib == 0 {
        return Ok(());
    }
    let Some(found) = advised(UNKNOWN, counted::databases(applicant.aws)).await? else { return Ok(()) };
    match needs.of_databases(&found) {
        Some((kind, more, quota, used)) => kind.lack(applicant, more, &quota, used).map_or(Ok(()), Err),
        None => Ok(()),
    }
}

/// What an environment needs and does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Needs {
    stacks: u64,
    security_groups: u64,
    /// Security groups of each instance.
    of_an_instance: u64,
    roles: u64,
    databases: u64,
    storage_gib: u64,
    cache_nodes: u64,
}

impl Needs {
    fn of(environment: &Environment, standing: Option<&Standing>) -> Self {
        // A running operation has created some of its resources, which cannot be told apart from those of others.
        if standing.is_some_and(Standing::is_busy) {
            return Self::default();
        }
        let settings = &environment.settings;
        let output = |name: &str| standing.and_then(|standing| standing.output(name));
        let is_new = output("Group").is_none();
        let is_balanced =
            (environment.tier, environment.mode) == (Tier::Web, Mode::HighlyAvailable) && settings.load_balancer.edge.is_none();
        let database = settings.database.as_ref().filter(|_| output("Database").is_none());
        let cache = settings.cache.as_ref().filter(|_| output("Cache").is_none());
        let count = |is_needed: bool| u64::from(is_needed);
        let is_refreshed = settings.refresh.is_some();
        let has_refreshed = !is_new && standing.and_then(|standing| standing.parameter("Refresh")).is_some_and(|at| !at.is_empty());
        let storage = settings.database.as_ref().and_then(|database| database.storage_gib).map_or(0, |gib| u64::from(gib.0));
        let stored = standing.filter(|_| database.is_none()).and_then(|standing| standing.parameter("DatabaseStorageGib"));
        Self {
            stacks: count(standing.is_none()),
            security_groups: count(is_new) + count(is_new && is_balanced) + count(database.is_some()) + count(cache.is_some()),
            of_an_instance: 1 + settings.network.security_groups.len() as u64,
            roles: count(is_new) + count(is_refreshed && !has_refreshed),
            databases: count(database.is_some()),
            storage_gib: storage.saturating_sub(stored.and_then(|gib| gib.parse().ok()).unwrap_or(0)),
            cache_nodes: cache.map_or(0, |cache| 1 + cache.replicas.map_or(0, |replicas| u64::from(replicas.0))),
        }
    }

    /// Returns the first quota of RDS that is too small: its kind, how much more is needed, the quota, and what is
    /// used.
    fn of_databases(&self, found: &BTreeMap<String, Share>) -> Option<(&'static Kind, u64, Quota, u64)> {
        let more = [self.databases, self.databases, self.storage_gib];
        let told = OF_DATABASES.iter().zip(more).filter(|(_, more)| *more > 0);
        told.filter_map(|((name, words, kind), more)| {
            let Share { used, most } = *found.get(*name)?;
            (used + more > most).then(|| (kind, more, kind.quota(words, most), used))
        })
        .next()
    }
}

#[cfg(test)]
mod tests;
