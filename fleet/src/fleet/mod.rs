//! fleet.yaml: one application and its environments.
//!
//! ```yaml
//! version: 1
//! application: shop
//! releases: s3://shop-releases/
//! defaults: { image: ssm:/golden/shop/arm64, instances: { types: [m7g.large] } }
//! environments:
//!   prod: { tier: web, network: { vpc: vpc-…, subnets: [subnet-…, subnet-…] }, document: boot/prod.yaml }
//! ```
//!
//! All mistakes are found offline in one pass, each with its place. [`stack`](crate::stack) reads the documents.

mod applies;
mod edge;
mod edit;
mod joining;
mod length;
mod names;
pub(crate) mod origin;
mod reading;
pub(crate) mod schema;
mod secretive;
mod settings;
mod site;
#[cfg(test)]
mod tests;
mod words;

use ingot::desk::{Key, Node, Place};

pub(crate) use self::edge::Edge;
pub(crate) use self::edit::{Changes, edited};
pub(crate) use self::length::Length;
pub(crate) use self::names::Releases;
pub(crate) use self::reading::{Read, read};
pub(crate) use self::secretive::looks_secret;
pub(crate) use self::settings::{EdgeSettings, Policy, Refresh, Settings};
pub(crate) use self::site::{Mode, Site, Tier};
pub(crate) use self::words::has_form;
use crate::deployment::slot::Slot;

/// A fleet.yaml.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// A placeholder if it could not be read, so that the rest can be checked. The same holds for `releases`.
    pub(crate) application: String,
    pub(crate) releases: Releases,
    /// Environments whose settings could be read.
    pub(crate) environments: Vec<Environment>,
    /// Edges whose settings could be read.
    pub(crate) edges: Vec<Edge>,
}

/// One environment.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Its name and where it is written.
    pub(crate) key: Key,
    /// Its name, or a placeholder for an invalid one.
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) mode: Mode,
    /// Settings, including the defaults of `defaults:` and of the format.
    pub(crate) settings: Settings,
    /// `defaults:` and the environment, merged.
    pub(crate) node: Node,
    /// What the environment itself sets.
    pub(crate) own: Node,
    /// Whether its settings have no mistakes.
    pub(crate) is_sound: bool,
}

impl Environment {
    /// Returns where a setting is written, or else where it would belong.
    pub(crate) fn place(&self, path: &str) -> &Place {
        site::key_place(&self.node, path).unwrap_or(&self.key.place)
    }

    /// Returns where the value of a setting such as `deployment.alarms.0` is written, or else where it would belong.
    pub(crate) fn value_place(&self, path: &str) -> &Place {
        site::place(&self.node, path).unwrap_or(&self.key.place)
    }

    /// Returns the edge whose load balancer serves it, and its slot there.
    pub(crate) fn joined(&self) -> Option<(&str, Slot)> {
        let balancer = &self.settings.load_balancer;
        Some((balancer.edge.as_ref()?.as_str(), balancer.slot?))
    }

    pub(crate) fn site(&self) -> Site<'_> {
        Site {
            tier: self.tier,
            mode: self.mode,
            key: &self.key,
            node: &self.node,
            understood: &self.node,
            broken: &[],
            mistakes: Vec::new(),
        }
    }
}
