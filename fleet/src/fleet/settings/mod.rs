//! What an environment may say: one file for each section, which holds its fields, its defaults and its rules.

mod alarms;
mod cache;
mod capacity;
mod database;
mod deployment;
mod edge;
mod health;
mod instances;
mod load_balancer;
mod network;
mod queue;
mod schedule;
mod secrets;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::alarms::Alarms;
pub(crate) use self::cache::Cache;
pub(crate) use self::capacity::WarmPool;
pub(crate) use self::database::Database;
pub(crate) use self::deployment::{Deployment, Policy};
pub(crate) use self::edge::EdgeSettings;
pub(super) use self::edge::OF_DEFAULTS;
pub(crate) use self::health::Health;
pub(crate) use self::instances::Instances;
pub(crate) use self::load_balancer::LoadBalancer;
pub(crate) use self::network::Network;
pub(crate) use self::queue::Queue;
pub(crate) use self::schedule::Schedule;
pub(crate) use self::secrets::OnRotation;
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::{Image, Key, Whole, Word};

/// What an environment says, or `defaults:` for all of them.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// What the environment takes in: requests (`web`) or the messages of a queue (`worker`). Required.
    pub(crate) tier: Option<Tier>,
    /// A group in several zones, or one instance. Default: highly_available.
    pub(crate) mode: Mode,
    /// Golden image: `ami-…`, or `ssm:/NAME` for the SSM parameter that holds one, which is read once for each
    /// deployment. Required.
    pub(crate) image: Option<Word<Image>>,
    /// Network of the environment. Required.
    pub(crate) network: Network,
    /// Boot document, a path from fleet.yaml. It comes on top of the layers of the image. Required.
    pub(crate) document: Option<String>,
    /// Layers that the image has, as paths from fleet.yaml: `check` reads them together with the document. `*` stands
    /// for any characters of a name. Default: none.
    pub(crate) layers: Vec<String>,
    /// Strings for the application: `{{values.properties.NAME}}` in documents, and the environment of its processes.
    /// Default: none.
    pub(crate) properties: BTreeMap<String, String>,
    /// Secrets that the instances may read, and nothing else: names in Secrets Manager, and with a leading `/` SSM
    /// parameters. One may end with `*`. Default: none.
    pub(crate) secrets: Vec<String>,
    /// ARNs of the KMS keys of secrets, parameters and buckets, where these are not AWS's own. Default: none.
    pub(crate) keys: Vec<Word<Key>>,
    /// How the load balancer of a `web` environment that is `highly_available` serves.
    pub(crate) load_balancer: LoadBalancer,
    /// What the instances are, and how many.
    pub(crate) instances: Instances,
    /// When `min` changes, at most two times. Default: never.
    pub(crate) schedule: Vec<Schedule>,
    /// Queue of a `worker` environment, with its dead-letter queue.
    pub(crate) queue: Queue,
    /// RDS database of the environment. Default: none.
    pub(crate) database: Option<Database>,
    /// ElastiCache cache of the environment, with TLS and a token. Default: none.
    pub(crate) cache: Option<Cache>,
    /// How a deployment replaces what runs.
    pub(crate) deployment: Deployment,
    /// Stopped instances that are started when the group grows. Default: none.
    pub(crate) warm_pool: Option<WarmPool>,
    /// How often instances are replaced without a deployment. Default: never.
    pub(crate) refresh: Option<Refresh>,
    /// What happens when a secret is rotated, by the name of the secret. Default: nothing.
    pub(crate) on_rotation: BTreeMap<String, OnRotation>,
    /// Hop limit of the metadata service: 2 only if containers use it. Default: 1.
    pub(crate) metadata_hops: Option<Whole<1, 2>>,
    /// Where alarms go, and what raises them.
    pub(crate) alarms: Alarms,
    /// From where on `status` finds that the environment is not well.
    pub(crate) health: Health,
    /// Whether the stack is protected from being deleted. Default: false.
    pub(crate) protect: bool,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Refresh {
    Daily,
    Weekly,
    Monthly,
}

impl Settings {
    /// Adds what is wrong with it, once each field could be read.
    pub(crate) fn check(&self, site: &mut Site<'_>) {
        if self.image.is_none() {
            site.missing("image", "add `image: ami-…`, or `image: ssm:/NAME`");
        }
        let has_replicas = self.cache.as_ref().and_then(|cache| cache.replicas).is_some_and(|replicas| replicas.0 > 0);
        let zones = self.database.as_ref().map(|_| "a database").or(has_replicas.then_some("a cache with replicas"));
        self.network.check(zones, site);
        secrets::check(&self.secrets, &self.on_rotation, site);
        for name in self.properties.keys() {
            let is_variable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if !name.bytes().all(is_variable) || name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
                let hint = "use letters, digits and _ only, and no digit first";
                site.wrong_key(&format!("properties.{name}"), format!("`{name}` is not the name of an environment variable"), hint);
            }
        }
        self.load_balancer.check(site);
        self.instances.check(self.image.as_ref(), site);
        capacity::check(&self.instances, &self.deployment, self.warm_pool.as_ref(), site);
        schedule::check(&self.schedule, self.instances.max(site.mode), site);
        self.queue.check(site);
        if let Some(database) = &self.database {
            database.check(site);
        }
        if let Some(cache) = &self.cache {
            cache.check(site);
        }
        self.deployment.check(site);
        self.alarms.check(site);
        self.health.check(site);
    }

    /// Whether instances may read a secret, by its name.
    pub(crate) fn allows_secret(&self, name: &str) -> bool {
        secrets::allow(&self.secrets, name)
    }

    /// Puts the defaults in that depend on the tier, so that each setting can be shown.
    pub(crate) fn complete(&mut self, tier: Tier, mode: Mode) {
        self.metadata_hops.get_or_insert(Whole(1));
        self.instances.complete(tier, mode);
        self.alarms.complete(tier, mode);
        if tier == Tier::Web && mode == Mode::HighlyAvailable {
            self.load_balancer.complete();
        }
        if tier == Tier::Worker {
            self.queue.complete();
        }
        if tier == Tier::Web {
            self.network.complete();
        }
        if let Some(database) = &mut self.database {
            database.complete();
        }
        if let Some(cache) = &mut self.cache {
            cache.complete();
        }
        self.deployment.complete(mode);
        self.health.complete();
    }
}
