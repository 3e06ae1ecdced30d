//! RDS's databases and their snapshots: instances, and Aurora's clusters.
//!
//! The types here hold what steps decide by, in AWS's own words where those are states.

pub(crate) mod codes;
pub(super) mod live;

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::aws::client::call::Call;
use crate::aws::client::error::{AwsError, Service};
use crate::text::SecretText;

/// The name of RDS in IAM, and what its errors mean.
pub(crate) const SERVICE: &Service = &Service { name: "rds", hint: codes::hint, is_transient: codes::is_transient };

/// RDS, as far as databases are restored and waited for. Every list is read to its last page.
#[async_trait(?Send)]
pub(crate) trait Rds {
    /// DescribeDBInstances or DescribeDBClusters, of one. `None` if there is none.
    async fn database(&self, name: &Name) -> Result<Option<Database>, AwsError>;

    /// DescribeDBSnapshots or DescribeDBClusterSnapshots.
    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError>;

    /// RestoreDBInstanceFromDBSnapshot or RestoreDBClusterFromSnapshot. A name that is taken is an error with the code
    /// `DBInstanceAlreadyExists` or `DBClusterAlreadyExistsFault`.
    async fn restore(&self, restore: &Restore) -> Result<(), AwsError>;

    /// CreateDBInstance: a first instance for a cluster. As with [`restore`](Rds::restore), its name may be taken.
    async fn add_member(&self, member: &Member) -> Result<(), AwsError>;

    /// ModifyDBInstance or ModifyDBCluster: another password for the master user, at once.
    async fn set_password(&self, name: &Name, password: &MasterPassword) -> Result<(), AwsError>;

    /// RemoveTagsFromResource. Those that are not there are no error.
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
    /// Whether whoever asks makes one where there is none. A rehearsal takes any other for being there.
    pub(crate) made: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) arn: String,
    /// `available`, `creating`, `backing-up` … <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>
    pub(crate) status: String,
    /// `postgres`, `aurora-mysql`, `sqlserver-ex` …
    pub(crate) engine: String,
    pub(crate) version: String,
    /// Host name and port; there is none as long as it is being made.
    pub(crate) endpoint: Option<(String, u16)>,
    pub(crate) reader_endpoint: Option<String>,
    pub(crate) resource_id: String,
    pub(crate) master_user: String,
    pub(crate) tags: BTreeMap<String, String>,
    /// Of a cluster: the instances in it.
    pub(crate) members: Vec<String>,
    /// Whether another master password is on its way.
    pub(crate) changes_password: bool,
    /// Where RDS itself keeps the master password, if it does.
    pub(crate) master_secret: Option<MasterSecret>,
}

/// A secret in Secrets Manager that RDS makes and rotates: a JSON object with `username` and `password`, and nothing else.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterSecret {
    /// Empty in a rehearsal: there is nothing to read.
    pub(crate) arn: String,
    /// `creating`, `active`, `rotating` or `impaired`: it can be read, and not be rotated.
    pub(crate) status: String,
}

/// The password that a master user is to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MasterPassword {
    Given(SecretText),
    /// One that RDS makes, and keeps in a [`MasterSecret`].
    Managed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotQuery {
    pub(crate) kind: Kind,
    /// One snapshot, by id or ARN; else every one of this account with these tags.
    pub(crate) id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    /// `available`, `creating`, `copying`, `failed`.
    pub(crate) status: String,
    /// As RDS writes it, in UTC: it sorts by time. Empty while it is being made.
    pub(crate) created: String,
    pub(crate) engine: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// What a restore is told; `None` leaves it to RDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) snapshot: String,
    /// Of the snapshot: a cluster's restore has to be told.
    pub(crate) engine: String,
    pub(crate) class: Option<String>,
    pub(crate) subnet_group: Option<String>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) parameter_group: Option<String>,
    /// Of a cluster with instances of the class `db.serverless`.
    pub(crate) scaling: Option<Scaling>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// The range in which the instances of an Aurora Serverless v2 cluster scale, in capacity units.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ServerlessV2ScalingConfiguration.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scaling {
    /// In decimals, such as `0.5`.
    pub(crate) least: String,
    pub(crate) most: String,
    /// After so many idle seconds an instance pauses.
    pub(crate) seconds_until_pause: Option<u64>,
}

/// An instance that a cluster is to have.
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

    /// Which are meant, for people.
    pub(crate) fn which(&self) -> String {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.id.clone().unwrap_or_else(|| format!("with {}", tags.join(", ")))
    }

    /// RDS does not look at tags: whoever asks does.
    pub(crate) fn takes(&self, tags: &BTreeMap<String, String>) -> bool {
        self.tags.iter().all(|(key, value)| tags.get(key) == Some(value))
    }
}

impl Restore {
    pub(crate) fn call(&self) -> Call {
        self.kind.call("RestoreDBInstanceFromDBSnapshot", "RestoreDBClusterFromSnapshot", &self.id)
    }
}
