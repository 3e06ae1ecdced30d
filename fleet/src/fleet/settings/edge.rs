//! `edges:` — load balancers that two environments share, so that one can replace the other.
//!
//! ```yaml
//! edges:
//!   main: { load_balancer: { certificate: arn:… }, stickiness: 1h }
//! ```
//!
//! `network`, `load_balancer`, `alarms` and `protect` are taken from `defaults:` unless the edge overrides them. An
//! environment chooses its slot with `load_balancer: { edge: main, slot: a }`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;
use crate::fleet::site::Site;
use crate::fleet::words::{Certificate, Cidr, Email, HealthPath, Link, Subnet, Vpc, Whole, Word};

/// Settings of `defaults:` that apply to edges; all others apply only to environments.
pub(in crate::fleet) const OF_DEFAULTS: [(&str, &[&str]); 4] = [
    ("network", &["vpc", "subnets", "load_balancer_subnets", "clients"]),
    ("load_balancer", &["certificate", "public", "health_check", "deregistration", "port"]),
    ("alarms", &["email", "runbook", "error_percent"]),
    ("protect", &[]),
];

/// Settings of an edge.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeSettings {
    /// Network of the edge and of its environments. Required.
    pub(crate) network: EdgeNetwork,
    /// Load balancer of the edge.
    pub(crate) load_balancer: EdgeBalancer,
    /// How long a cookie keeps a client on its slot and instance, even after a swap: 1s to 7d. Default: not at all.
    pub(crate) stickiness: Option<Length>,
    /// IPv4 range of clients that may choose a slot with the header `X-Ingot-Slot`. Default: 0.0.0.0/0.
    pub(crate) trial: Option<Word<Cidr>>,
    /// Recipient and thresholds of its alarms.
    pub(crate) alarms: EdgeAlarms,
    /// Whether its stack is protected from deletion. Default: false.
    pub(crate) protect: bool,
}

/// Network of an edge.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeNetwork {
    /// VPC, the same as its environments'. Required.
    pub(crate) vpc: Option<Word<Vpc>>,
    /// Subnets of the load balancer if `load_balancer_subnets` is empty.
    pub(crate) subnets: Vec<Word<Subnet>>,
    /// Subnets of the load balancer, in at least two zones. Default: `subnets`.
    pub(crate) load_balancer_subnets: Vec<Word<Subnet>>,
    /// IPv4 range of the clients. Default: 0.0.0.0/0.
    pub(crate) clients: Option<Word<Cidr>>,
}

/// Load balancer of an edge.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeBalancer {
    /// ARN of the certificate in ACM, with which HTTP is redirected to HTTPS. Default: HTTP without TLS.
    pub(crate) certificate: Option<Word<Certificate>>,
    /// Whether it is reachable from the internet. Takes effect only at creation. Default: true.
    pub(crate) public: Option<bool>,
    /// Path that the load balancer requests from each instance; status 200 means healthy. Default: /health.
    pub(crate) health_check: Option<Word<HealthPath>>,
    /// How long requests may take to finish when an instance is removed, 1s to 1h. Default: 30s.
    pub(crate) deregistration: Option<Length>,
    /// Port of the instances. Takes effect only at creation. Default: 80.
    pub(crate) port: Option<Whole<1, 65535>>,
}

/// Alarms of an edge.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EdgeAlarms {
    /// Address that alarms are sent to. Default: none, until you subscribe to the topic of the stack.
    pub(crate) email: Option<Word<Email>>,
    /// URL or path of your copy of the runbook, to which alarms link. Default: docs/runbook.md.
    pub(crate) runbook: Option<Word<Link>>,
    /// Percentage of requests with a 5xx status that raises the alarm. Default: 5.
    pub(crate) error_percent: Option<Whole<1, 100>>,
}

impl EdgeSettings {
    /// Returns the subnets of the load balancer, and the setting that they come from.
    pub(crate) fn subnets(&self) -> (&'static str, &[Word<Subnet>]) {
        let EdgeNetwork { subnets, load_balancer_subnets, .. } = &self.network;
        match load_balancer_subnets.is_empty() {
            true => ("network.subnets", subnets),
            false => ("network.load_balancer_subnets", load_balancer_subnets),
        }
    }

    /// Adds the mistakes that only show once every field is readable.
    pub(in crate::fleet) fn check(&self, site: &mut Site<'_>) {
        if self.network.vpc.is_none() {
            site.missing("network.vpc", "add `vpc: vpc-…` to `network:`");
        }
        let (path, subnets) = self.subnets();
        let is_readable = site.is_readable(&["network.subnets", "network.load_balancer_subnets"]);
        match subnets.len() {
            0 if is_readable => site.missing(path, "add `subnets: [subnet-…, subnet-…]` to `network:`"),
            1 if is_readable => site.wrong(
                path,
                "a load balancer needs subnets in two zones, but only one subnet is listed",
                "add a subnet in another zone",
            ),
            _ => {}
        }
        let mut seen = BTreeSet::new();
        for (at, subnet) in subnets.iter().enumerate() {
            if !seen.insert(subnet.as_str()) {
                site.wrong(&format!("{path}.{at}"), format!("{} is listed twice", subnet.as_str()), "remove one of the two");
            }
        }
        let (least, hour, week) = (Length::seconds(1), Length::hours(1), Length::hours(7 * 24));
        let why = "a target group waits for at most an hour";
        site.within("load_balancer.deregistration", self.load_balancer.deregistration, least, hour, why);
        site.within("stickiness", self.stickiness, least, week, "a load balancer's cookie is valid for at most 7 days");
    }

    /// Fills in the defaults, so that each setting can be shown.
    pub(in crate::fleet) fn complete(&mut self) {
        let anywhere = || Word::parse("0.0.0.0/0").expect("it is a range");
        self.network.clients.get_or_insert_with(anywhere);
        self.trial.get_or_insert_with(anywhere);
        let balancer = &mut self.load_balancer;
        balancer.public.get_or_insert(true);
        balancer.health_check.get_or_insert_with(|| Word::parse("/health").expect("it is a path"));
        balancer.deregistration.get_or_insert(Length::seconds(30));
        balancer.port.get_or_insert(Whole(80));
        self.alarms.runbook.get_or_insert_with(|| Word::parse("docs/runbook.md").expect("it is a path"));
        self.alarms.error_percent.get_or_insert(Whole(5));
    }
}
