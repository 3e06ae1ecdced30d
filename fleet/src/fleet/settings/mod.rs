//! Settings of an environment: one file per section, with its fields, defaults and rules.

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

/// Settings of an environment, or of `defaults:`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// What the environment processes: requests (`web`) or the messages of a queue (`worker`). Required.
    pub(crate) tier: Option<Tier>,
    /// A group in several zones, or one instance. Default: highly_available.
    pub(crate) mode: Mode,
    /// Golden image: `ami-…`, or `ssm:/NAME` for the SSM parameter that holds its ID, which is read once per
    /// deployment. Required.
    pub(crate) image: Option<Word<Image>>,
    /// Network of the environment. Required.
    pub(crate) network: Network,
    /// Boot document, as a path relative to fleet.yaml. It overrides the layers of the image. Required.
    pub(crate) document: Option<String>,
    /// Layers of the image, as paths relative to fleet.yaml: `check` reads them together with the document. `*` matches
    /// any characters of a name. Default: none.
    pub(crate) layers: Vec<String>,
    /// Strings for the application: `{{values.properties.NAME}}` in documents, and environment variables of its
    /// processes. Default: none.
    pub(crate) properties: BTreeMap<String, String>,
    /// The only secrets that the instances may read: names in Secrets Manager or, with a leading `/`, SSM parameters. A
    /// name may end with `*`. Default: none.
    pub(crate) secrets: Vec<String>,
    /// ARNs of the KMS keys of secrets, parameters and buckets, unless AWS manages the keys. Default: none.
    pub(crate) keys: Vec<Word<Key>>,
    /// Load balancer of a `web` environment that is `highly_available`.
    pub(crate) load_balancer: LoadBalancer,
    /// Type and number of the instances.
    pub(crate) instances: Instances,
    /// Times at which `min` changes, at most two. Default: never.
    pub(crate) schedule: Vec<Schedule>,
    /// Queue of a `worker` environment, with its dead-letter queue.
    pub(crate) queue: Queue,
    /// RDS database of the environment. Default: none.
    pub(crate) database: Option<Database>,
    /// ElastiCache cache of the environment, with TLS and a token. Default: none.
    pub(crate) cache: Option<Cache>,
    /// How a deployment replaces the running release.
    pub(crate) deployment: Deployment,
    /// Stopped instances that are started when the group scales out. Default: none.
    pub(crate) warm_pool: Option<WarmPool>,
    /// How often instances are replaced without a deployment, between 03:00 and 04:00 UTC: each day, on Tuesdays, or on
    /// the first of each month. Default: never.
    pub(crate) refresh: Option<Refresh>,
    /// What happens when a secret is rotated, by the name of the secret. Default: nothing.
    pub(crate) on_rotation: BTreeMap<String, OnRotation>,
    /// Hop limit of the metadata service: 2 only if containers use it. Default: 1.
    pub(crate) metadata_hops: Option<Whole<1, 2>>,
    /// Recipient and thresholds of alarms.
    pub(crate) alarms: Alarms,
    /// Thresholds at which `status` rates the environment as unhealthy.
    pub(crate) health: Health,
    /// Whether the stack is protected from deletion. Default: false.
    pub(crate) protect: bool,
}

/// Interval of replacements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Refresh {
    Daily,
    Weekly,
    Monthly,
}

impl Refresh {
    /// The schedule, as EventBridge Scheduler takes it. It starts within an hour.
    ///
    /// Source: <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based>
    pub(crate) fn expression(self) -> &'static str {
        match self {
            Self::Daily => "cron(0 3 * * ? *)",
            Self::Weekly => "cron(0 3 ? * TUE *)",
            Self::Monthly => "cron(0 3 1 * ? *)",
        }
    }
}

impl Settings {
    /// Adds the mistakes that only show once every field is readable.
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
                let hint = "use only letters, digits and _, and do not start with a digit";
                site.wrong_key(&format!("properties.{name}"), format!("`{name}` is not a valid name of an environment variable"), hint);
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

    /// Returns whether instances may read the secret of this name.
    pub(crate) fn allows_secret(&self, name: &str) -> bool {
        secrets::allow(&self.secrets, name)
    }

    /// Fills in the defaults that depend on the tier, so that each setting can be shown.
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
