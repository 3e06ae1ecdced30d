//! RDS: database instances and Aurora clusters, and their snapshots.
//!
//! The types here hold the values that steps decide by, with states spelled as AWS spells them.

pub(crate) mod codes;
pub(super) mod live;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::aws::client::call::Call;
use crate::aws::client::error::{AwsError, Service};
use crate::text::SecretText;

/// The name of RDS in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service { name: "rds", hint: codes::hint, is_transient: codes::is_transient };

/// The part of RDS that restores databases and shows their state. Every list is read to its last page.
#[async_trait(?Send)]
pub(crate) trait Rds {
    /// DescribeDBInstances or DescribeDBClusters for one database. `None` if it does not exist.
    async fn database(&self, name: &Name) -> Result<Option<Database>, AwsError>;

    /// DescribeDBSnapshots or DescribeDBClusterSnapshots.
    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError>;

    /// RestoreDBInstanceFromDBSnapshot or RestoreDBClusterFromSnapshot. An identifier that is in use is an error with
    /// the code `DBInstanceAlreadyExists` or `DBClusterAlreadyExistsFault`.
    async fn restore(&self, restore: &Restore) -> Result<(), AwsError>;

    /// CreateDBInstance: adds the first instance of a cluster. As with [`restore`](Rds::restore), its identifier may be
    /// in use.
    async fn add_member(&self, member: &Member) -> Result<(), AwsError>;

    /// ModifyDBInstance or ModifyDBCluster: changes the master user's password immediately.
    async fn set_password(&self, name: &Name, password: &MasterPassword) -> Result<(), AwsError>;

    /// RemoveTagsFromResource. A tag that does not exist is not an error.
    async fn remove_tag(&self, arn: &str, key: &str) -> Result<(), AwsError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Instance,
    Cluster,
}

/// A database by its identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    /// Whether the caller creates the database if it does not exist. A dry run assumes that any other database exists.
    pub(crate) made: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) arn: String,
    /// `available`, `creating`, `backing-up` …
    /// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>
    pub(crate) status: String,
    /// `postgres`, `aurora-mysql`, `sqlserver-ex` …
    pub(crate) engine: String,
    pub(crate) version: String,
    /// Host name and port. `None` while the database is being created.
    pub(crate) endpoint: Option<(String, u16)>,
    pub(crate) reader_endpoint: Option<String>,
    pub(crate) resource_id: String,
    pub(crate) master_user: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// For a cluster: its instances.
    pub(crate) members: Vec<String>,
    /// Whether a change of the master password is pending.
    pub(crate) changes_password: bool,
    /// The secret in which RDS itself keeps the master password, if it does.
    pub(crate) master_secret: Option<MasterSecret>,
}

/// A secret in Secrets Manager that RDS creates and rotates: a JSON object with only `username` and `password`.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterSecret {
    /// Empty in a dry run, which has nothing to read.
    pub(crate) arn: String,
    /// `creating`, `active`, `rotating`, or `impaired`: it can be read, but not rotated.
    pub(crate) status: String,
}

/// The password to set for the master user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MasterPassword {
    Given(SecretText),
    /// A password that RDS creates and keeps in a [`MasterSecret`].
    Managed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotQuery {
    pub(crate) kind: Kind,
    /// One snapshot, by id or ARN. `None` selects every snapshot of this account with `tags`.
    pub(crate) id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    /// `available`, `creating`, `copying`, `failed`.
    pub(crate) status: String,
    /// As RDS writes it, in UTC, so that it sorts by time. Empty while the snapshot is being created.
    pub(crate) created: String,
    pub(crate) engine: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// The parameters of a restore; a field that is `None` is left to RDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) snapshot: String,
    /// The engine of the snapshot, which the restore of a cluster requires.
    pub(crate) engine: String,
    pub(crate) class: Option<String>,
    pub(crate) subnet_group: Option<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) parameter_group: Option<String>,
    /// For a cluster with instances of the class `db.serverless`.
    pub(crate) scaling: Option<Scaling>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// The range in which the instances of an Aurora Serverless v2 cluster scale, in capacity units.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ServerlessV2ScalingConfiguration.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scaling {
    /// A decimal number, such as `0.5`.
    pub(crate) least: String,
    pub(crate) most: String,
    /// How long an instance must be idle, in seconds, before it pauses.
    pub(crate) seconds_until_pause: Option<u64>,
}

/// An instance to add to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) class: String,
    pub(crate) engine: String,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Name {
    pub(crate) fn call(&self, instance: &'static str, cluster: &'static str) -> Call {
        self.kind.call(instance, cluster, &self.id)
    }
}

impl Kind {
    pub(crate) fn call(self, instance: &'static str, cluster: &'static str, resource: &str) -> Call {
        let operation = match self {
            Self::Instance => instance,
            Self::Cluster => cluster,
        };
        Call::new(SERVICE, operation, resource)
    }
}

impl SnapshotQuery {
    pub(crate) fn call(&self) -> Call {
        self.kind.call("DescribeDBSnapshots", "DescribeDBClusterSnapshots", &self.which())
    }

    /// Describes the selected snapshots in readable form.
    pub(crate) fn which(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.id.clone().unwrap_or_else(|| format!("with {}", tags.join(", ")))
    }

    /// Whether a snapshot with these tags is selected. RDS cannot filter by tags, so callers do.
    pub(crate) fn takes(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

impl Restore {
    pub(crate) fn call(&self) -> Call {
        self.kind.call("RestoreDBInstanceFromDBSnapshot", "RestoreDBClusterFromSnapshot", &self.id)
    }
}
