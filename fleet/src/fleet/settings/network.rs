//! `network:` — VPC and subnets of an environment.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::site::Site;
use crate::fleet::words::{Cidr, SecurityGroup, Subnet, Vpc, Word};

/// Network of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// VPC. Required.
    pub(crate) vpc: Option<Word<Vpc>>,
    /// Subnets of instances, database and cache, with a route to AWS. `highly_available` needs at least two in
    /// different zones; a single web instance needs public ones. Required.
    pub(crate) subnets: Vec<Word<Subnet>>,
    /// Subnets of the load balancer, in at least two zones. Default: those of the instances.
    pub(crate) load_balancer_subnets: Vec<Word<Subnet>>,
    /// Additional security groups of the instances. Without any, instances can reach only port 443, database and cache.
    /// Default: none.
    pub(crate) security_groups: Vec<Word<SecurityGroup>>,
    /// IPv4 range of the clients of a web environment. Default: 0.0.0.0/0.
    pub(crate) clients: Option<Word<Cidr>>,
}

impl Network {
    /// Adds mistakes. `zones` names what else needs two zones.
    pub(super) fn check(&self, zones: Option<&str>, site: &mut Site<'_>) {
        if self.vpc.is_none() {
            site.missing("network.vpc", "add `vpc: vpc-…` to `network:`");
        }
        if self.subnets.is_empty() {
            site.missing("network.subnets", "add `subnets: [subnet-…, subnet-…]` to `network:`");
        } else if self.subnets.len() < 2 && !site.is_broken("network.subnets") {
            if site.is_group() {
                let hint = "add a subnet in another zone, or set `mode: single_instance`";
                site.wrong(
                    "network.subnets",
                    "a highly available environment needs subnets in two zones, but only one subnet is listed",
                    hint,
                );
            } else if let Some(what) = zones {
                let message = format!("{what} needs subnets in two zones, but only one subnet is listed");
                site.wrong("network.subnets", message, "add a subnet in another zone");
            }
        }
        let is_one = self.load_balancer_subnets.len() == 1 && !site.is_broken("network.load_balancer_subnets");
        if site.is_balanced() && is_one {
            let message = "a load balancer needs subnets in two zones, but only one subnet is listed";
            site.wrong("network.load_balancer_subnets", message, "add a subnet in another zone");
        }
        for (path, subnets) in [("network.subnets", &self.subnets), ("network.load_balancer_subnets", &self.load_balancer_subnets)] {
            let mut seen = BTreeSet::new();
            for (at, subnet) in subnets.iter().enumerate() {
                if !seen.insert(subnet.as_str()) {
                    site.wrong(&format!("{path}.{at}"), format!("{} is listed twice", subnet.as_str()), "remove one of the two");
                }
            }
        }
    }

    pub(super) fn complete(&mut self) {
        self.clients.get_or_insert_with(|| Word::parse("0.0.0.0/0").expect("it is a range"));
    }
}
