//! `cache:` — an ElastiCache cache that belongs to the environment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::site::Site;
use crate::fleet::words::{CacheNode, Whole, Word};

/// Cache of an environment: TLS only, with a token in Secrets Manager.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cache {
    /// Engine. Default: valkey.
    pub(crate) engine: Engine,
    /// Node type. Required.
    pub(crate) node: Option<Word<CacheNode>>,
    /// Number of replicas to which the cache can fail over. Default: 0.
    pub(crate) replicas: Option<Whole<0, 5>>,
}

/// Engines of ElastiCache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Engine {
    #[default]
    Valkey,
}

impl Cache {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        if self.node.is_none() {
            site.missing("cache.node", "add `node: cache.t4g.small`, or another type, to `cache:`");
        }
    }

    pub(super) fn complete(&mut self) {
        self.replicas.get_or_insert(Whole(0));
    }
}
