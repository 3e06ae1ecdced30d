//! `load_balancer:` — how clients reach a web environment that is highly available.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edge::EdgeBalancer;
use crate::deployment::slot::Slot;
use crate::fleet::length::Length;
use crate::fleet::site::Site;
use crate::fleet::words::{Certificate, Edge, HealthPath, Whole, Word};

/// Load balancer of an environment: its own, or an edge's.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadBalancer {
    /// ARN of the certificate in ACM. Default: HTTP without TLS.
    pub(crate) certificate: Option<Word<Certificate>>,
    /// Whether HTTP is redirected to HTTPS. Needs `certificate`. Default: true with a certificate.
    pub(crate) redirect_http: Option<bool>,
    /// Path that the load balancer requests from each instance; status 200 means healthy. Default: /health.
    pub(crate) health_check: Option<Word<HealthPath>>,
    /// How long requests may take to finish when an instance is removed, 1s to 1h. Default: 30s.
    pub(crate) deregistration: Option<Length>,
    /// Whether it is reachable from the internet. Default: true.
    pub(crate) public: Option<bool>,
    /// Port of the instances. Default: 80.
    pub(crate) port: Option<Whole<1, 65535>>,
    /// Edge whose load balancer serves this environment, instead of its own load balancer.
    pub(crate) edge: Option<Word<Edge>>,
    /// Slot of the edge that this environment takes.
    pub(crate) slot: Option<Slot>,
}

impl LoadBalancer {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        site.within(
            "load_balancer.deregistration",
            self.deregistration,
            Length::seconds(1),
            Length::hours(1),
            "a target group waits for at most an hour",
        );
        let is_broken = |name: &str| site.is_broken(&format!("load_balancer.{name}"));
        if ["edge", "slot", "certificate"].into_iter().any(is_broken) {
            return;
        }
        match (&self.edge, self.slot) {
            (Some(_), None) => site.missing("load_balancer.slot", "add `slot: a` or `slot: b`"),
            (None, Some(_)) => site.wrong("load_balancer.slot", "a slot needs an edge, but none is named", "add `edge: NAME`"),
            _ => {}
        }
        if self.redirect_http == Some(true) && self.certificate.is_none() {
            let message = "HTTP cannot be redirected to HTTPS without a certificate";
            site.wrong("load_balancer.redirect_http", message, "add `certificate: arn:…`, or remove `redirect_http`");
        }
    }

    /// Takes over the settings that the edge determines.
    pub(in crate::fleet) fn join(&mut self, of_edge: &EdgeBalancer) {
        self.health_check.clone_from(&of_edge.health_check);
        (self.deregistration, self.port) = (of_edge.deregistration, of_edge.port);
    }

    pub(super) fn complete(&mut self) {
        self.health_check.get_or_insert_with(|| Word::parse("/health").expect("it is a path"));
        self.deregistration.get_or_insert(Length::seconds(30));
        self.port.get_or_insert(Whole(80));
        if self.edge.is_none() {
            self.public.get_or_insert(true);
            if self.certificate.is_some() {
                self.redirect_http.get_or_insert(true);
            }
        }
    }
}
